"""Requests over aiohttp's connection pool, which keeps its pace when many run at once; also for httpx's clients."""

from __future__ import annotations

import asyncio
import contextlib
import io
import select
import ssl
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from aiohttp.client import ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from agent.net.direct import MAX_HEADER_BYTES, NO_TIMEOUT, DirectWay, is_small
from agent.net.errors import CONNECTION_FAILURES, connect_failure, exchange_failure
from agent.net.guard import GuardedResolver, check_host
from agent.net.incoming import BodyStream, Incoming
from agent.net.outgoing import Outgoing, Timeouts, request_problem, wire_url
from agent.net.proxy import ProxyRules
from agent.net.resolver import SystemResolver

_LARGE_BODY_BYTES = 1024 * 1024
"""Larger request bodies are written piece by piece, so that the loop goes on meanwhile."""
_TURNS_TO_HEAR = 3
"""One to find the socket readable, one to read the end of it, one for TLS to pass it on."""
_UNADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would make up; what is sent is what the request says."""
_KNOWN_WAYS = 1_000


@dataclass(frozen=True, slots=True)
class _Way:
    """How a server is reached; ``place`` is its ``host:port``, ``headers`` go with every request."""

    place: str
    direct: DirectWay | None = None
    proxy: URL | None = None
    proxy_headers: Mapping[str, str] | None = None
    headers: tuple[tuple[str, str], ...] = ()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends requests, httpx's too, through one pool of at most ``max_connections`` HTTP/1.1 connections.

    Guarantees: failures are those of `agent.net.errors`; a request is written at most once (aiohttp's own silent
    retry of idempotent requests is off); path and query go out byte for byte as httpx spells them; no header is
    added but what frames the body, and ``Host``; no redirect is followed and no cookie kept; cancelling a request
    closes its connection. Idle connections are kept for ``keepalive_s``. For time-outs see `Timeouts`; of httpx's
    ``pool`` is not read.

    ``resolver`` answers names instead of the system. May be made anywhere; belongs to the event loop of its
    first request.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        max_connections: int,
        keepalive_s: float,
        allow_link_local: bool = False,
        proxies: ProxyRules | None = None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._tls = tls
        self._max_connections = max_connections
        self._keepalive_s = keepalive_s
        self._allow_link_local = allow_link_local
        self._proxies = proxies
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._connector: _Connector | None = None
        self._ways: dict[tuple[str, str], _Way] = {}
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one of httpx's requests and returns with the head of the answer. Raises `httpx.TransportError`."""
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        outgoing = Outgoing(
            request.method.upper(),
            wire_url(request.url),
            _headers(request),
            _content(request),
            Timeouts(timeouts.get("connect"), timeouts.get("write"), timeouts.get("read")),
        )
        incoming = await self.exchange(outgoing)
        return httpx.Response(
            incoming.status,
            headers=list(incoming.raw_headers),
            stream=BodyStream(incoming),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": incoming.phrase.encode(),
            },
        )

    async def exchange(self, request: Outgoing) -> Incoming:
        """Sends one request and returns with the head of the answer. Raises `httpx.TransportError`.

        Does without httpx's own requests and answers, which cost several times what the exchange itself does.
        Raises `RuntimeError` after `aclose`.
        """
        way = self._way(request.url)
        names = {name.lower() for name, _ in request.headers}
        problem = request_problem(request, names)
        if problem is not None:
            raise httpx.LocalProtocolError(problem)
        if way.direct is not None and is_small(request.body):
            return await way.direct.exchange(request, request.body, names)
        try:
            async with asyncio.timeout(request.timeouts.answer_s):
                return await self._send(request, way)
        except TimeoutError:
            raise httpx.WriteTimeout(f"{way.place} did not take the request in time") from None

    async def aclose(self) -> None:
        """Closes every connection at once, for good. Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        self._ways.clear()
        if session is not None:
            await session.close()
        if self._connector is not None:
            await self._connector.abort_lingering()

    async def _send(self, request: Outgoing, way: _Way) -> Incoming:
        """The long way, for proxies and for bodies that are written piece by piece."""
        try:
            response = await self._open_session().request(
                request.method,
                request.url,
                headers=[*request.headers, *way.headers],
                data=_paced(request.body),
                allow_redirects=False,
                timeout=ClientTimeout(
                    total=None, connect=request.timeouts.connect_s, sock_read=request.timeouts.read_s
                ),
                proxy=way.proxy,
                proxy_headers=way.proxy_headers,
            )
        except (aiohttp.ClientError, ValueError) as error:
            # What remains here was found out before there was a connection: a method or length that can't be sent.
            raise httpx.LocalProtocolError(f"the request cannot be sent: {error}") from error
        return Incoming(
            response.status,
            response.reason,
            response.headers,
            response.raw_headers,
            content=response.content,
            close=response.close,
            place=way.place,
            read_s=request.timeouts.read_s,
        )

    def _way(self, url: URL) -> _Way:
        """How ``url`` is reached: worked out once for each server.

        Raises `AddressRefusedError`, and `httpx.UnsupportedProtocol` for other schemes.
        """
        server = (url.scheme, url.raw_authority)
        way = self._ways.get(server)
        if way is None:
            if self._closed:
                raise RuntimeError("the client is closed")
            if url.scheme not in ("http", "https"):
                raise httpx.UnsupportedProtocol("only http:// and https:// URLs can be called")
            if not url.raw_host:
                raise httpx.LocalProtocolError("the request cannot be sent: its url names no host")
            if not self._allow_link_local:
                check_host(url.raw_host)
            if len(self._ways) >= _KNOWN_WAYS:
                self._ways.clear()
            way = _way_to(url, self._proxies)
            if way.proxy is None:
                self._open_session()
                assert self._connector is not None  # noqa: S101 - it was just made
                way = replace(way, direct=DirectWay(url, way.place, self._connector))
            self._ways[server] = way
        return way

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = self._resolver or SystemResolver()
            self._connector = _Connector(
                resolver=resolver if self._allow_link_local else GuardedResolver(resolver),
                ssl=self._tls,
                limit=self._max_connections,
                keepalive_timeout=self._keepalive_s,
            )
            self._session = aiohttp.ClientSession(
                connector=self._connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_UNADDED,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
                middlewares=(_exchange,),
            )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """Tells failures to connect from all later ones: only what `connect` raises was certainly never sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._open: dict[ResponseHandler, asyncio.Transport] = {}
        """Connections from their first request to their very end, also where they were closed before; uvloop's
        transports could not be in a set of weak references."""

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> Connection:
        try:
            if timeout.connect is None:
                return await self._usable(req, traces)
            async with asyncio.timeout(timeout.connect):  # aiohttp's own may take up to a second longer
                return await self._usable(req, traces)
        except CONNECTION_FAILURES as error:
            raise connect_failure(error, f"{req.host}:{req.port}") from error

    async def abort_lingering(self) -> None:
        """Ends TLS connections that were closed but still wait for the other side's farewell (up to 30 s)."""
        for transport in list(self._open.values()):
            transport.abort()
        await asyncio.sleep(0)

    async def _usable(self, req: ClientRequest, traces: list[Trace]) -> Connection:
        while True:
            connection = await super().connect(req, traces, NO_TIMEOUT)
            if await self._is_usable(connection):
                return connection

    async def _is_usable(self, connection: Connection) -> bool:
        """Looks twice at a connection that was idle; closes it if it is not open any more, or has said anything.

        Where the server closed it while the loop was busy, the news lies in the socket, unread: writing a request
        now would fail it as maybe executed. A few turns of the loop are enough to hear it. What a server says that
        nobody has asked would be taken for the answer.
        """
        transport, protocol = connection.transport, connection.protocol
        if transport is not None and protocol is not None and protocol not in self._open:
            self._note_new(protocol, transport)
            return True
        try:
            if transport is None or _has_news(transport):
                for _ in range(_TURNS_TO_HEAR):
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            connection.close()
            raise
        if transport is None or transport.is_closing() or protocol is None or protocol.should_close:
            connection.close()
            return False
        return True

    def _note_new(self, protocol: ResponseHandler, transport: asyncio.Transport) -> None:
        ended = protocol.closed
        if ended is None:  # it is gone already; using it will tell
            return

        def forget(ended: asyncio.Future[None]) -> None:
            self._open.pop(protocol, None)
            if not ended.cancelled():
                ended.exception()  # is told to whoever uses it, if anybody does

        self._open[protocol] = transport
        ended.add_done_callback(forget)


def _has_news(transport: asyncio.Transport) -> bool:
    """Whether something lies in its socket, unread, be it the end."""
    if transport.is_closing():
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _exchange(req: ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Translates what goes wrong from the first byte of the request to the head of the answer.

    As this is none of aiohttp's errors any more, its silent retry of idempotent requests never sets in: a request
    that may have been executed is repeated by nobody but our callers.
    """
    try:
        return await handler(req)
    except CONNECTION_FAILURES as error:
        raise exchange_failure(error, f"{req.host}:{req.port}") from error


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    """The request's headers; ``Transfer-Encoding`` is left to aiohttp, which frames the body."""
    pairs = [
        (name.decode("ascii", "replace"), value.decode("utf-8", "replace")) for name, value in request.headers.raw
    ]
    return [(name, value) for name, value in pairs if name.lower() != "transfer-encoding"]


def _content(request: httpx.Request) -> bytes | AsyncIterable[bytes] | None:
    with contextlib.suppress(httpx.RequestNotRead):
        return request.content or None
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise httpx.LocalProtocolError("the request's body is a synchronous stream, which would block the loop")
    return request.stream


def _paced(body: bytes | AsyncIterable[bytes] | None) -> bytes | io.BytesIO | AsyncIterable[bytes] | None:
    return io.BytesIO(body) if isinstance(body, bytes) and len(body) > _LARGE_BODY_BYTES else body


def _way_to(url: URL, proxies: ProxyRules | None) -> _Way:
    """Through a proxy, if there is one, whose credentials go with the CONNECT of a tunnel, or with the request."""
    place = url.raw_authority if url.explicit_port else f"{url.raw_authority}:{url.port}"
    proxy = proxies.proxy_for(httpx.URL(f"{url.scheme}://{url.raw_authority}")) if proxies else None
    if proxy is None:
        return _Way(place)
    if proxy.authorization is None:
        return _Way(place, proxy=URL(proxy.url))
    credentials = ("Proxy-Authorization", proxy.authorization)
    if url.scheme == "https":
        return _Way(place, proxy=URL(proxy.url), proxy_headers=dict([credentials]))
    return _Way(place, proxy=URL(proxy.url), headers=(credentials,))
