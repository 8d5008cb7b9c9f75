"""Requests over aiohttp's connection pool, which keeps its pace when many run at once; also for httpx's clients."""

from __future__ import annotations

import asyncio
import contextlib
import io
import select
import ssl
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from aiohttp.client import ClientTimeout
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from agent.net.errors import CONNECTION_FAILURES, UnreadableError, connect_failure, exchange_failure
from agent.net.guard import GuardedResolver, check_host
from agent.net.headers import header_problem
from agent.net.proxy import ProxyRules
from agent.net.resolver import SystemResolver

_CHUNK_BYTES = 16 * 1024
"""Answers are handed on in pieces of this size: what httpx inflates at once stays small, whatever the answer is."""
_LARGE_BODY_BYTES = 1024 * 1024
"""Larger request bodies are written piece by piece, so that the loop goes on meanwhile."""
_MAX_HEADER_BYTES = 64 * 1024
_TURNS_TO_HEAR = 3
"""One to find the socket readable, one to read the end of it, one for TLS to pass it on."""
_UNADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would make up; what is sent is what the request says."""
_KNOWN_WAYS = 1_000


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Of one request, in seconds; ``None`` is no end. ``connect_s`` covers waiting for a free connection, too.

    ``read_s`` bounds each silence from the end of the request on; ``connect_s + write_s + read_s`` the time until
    the answer begins.
    """

    connect_s: float | None
    write_s: float | None
    read_s: float | None

    @property
    def answer_s(self) -> float | None:
        """For how long the beginning of the answer is waited for."""
        if self.connect_s is None or self.write_s is None or self.read_s is None:
            return None
        return self.connect_s + self.write_s + self.read_s


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request as it is written: nothing is added to ``headers`` but what frames the body, and ``Host``."""

    method: str
    url: URL
    headers: Sequence[tuple[str, str]]
    body: bytes | AsyncIterable[bytes] | None
    timeouts: Timeouts


@dataclass(frozen=True, slots=True)
class _Way:
    """How a server is reached; ``place`` is its ``host:port``, ``headers`` go with every request."""

    place: str
    proxy: URL | None = None
    proxy_headers: Mapping[str, str] | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Incoming:
    """The head of an answer. `read` it, or `close` it: until then it has its connection for itself."""

    def __init__(self, response: aiohttp.ClientResponse, place: str) -> None:
        self._response = response
        self._place = place
        self.status = response.status
        self.phrase = response.reason or ""
        self.headers = response.headers
        self.raw_headers = response.raw_headers

    async def read(self, max_bytes: int | None = None) -> tuple[bytes, bool]:
        """The body, decoded, ``max_bytes`` of it at most, and whether there was more; closes the answer.

        Raises `httpx.TransportError`, also for a body that is not in the encoding that it claims.
        """
        try:
            if "Content-Encoding" in self.headers:
                return await self._read_inflated(max_bytes)
            length = self._response.content_length
            if max_bytes is None or (length is not None and length <= max_bytes):
                return await self._response.read(), False
            return await self._read_at_most(max_bytes)
        except CONNECTION_FAILURES as error:
            raise exchange_failure(error, self._place) from error
        finally:
            self._response.close()

    async def _read_at_most(self, max_bytes: int) -> tuple[bytes, bool]:
        body = bytearray()
        async for chunk in self._response.content.iter_any():
            body += chunk
            if len(body) > max_bytes:
                break
        return bytes(body[:max_bytes]), len(body) > max_bytes

    async def _read_inflated(self, max_bytes: int | None) -> tuple[bytes, bool]:
        """By httpx, which knows every encoding that is asked for."""
        response = httpx.Response(
            self.status, headers=list(self.raw_headers), stream=_Body(self._response, self._place)
        )
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if max_bytes is not None and len(body) > max_bytes:
                    await response.aclose()  # which ends the iteration
        except httpx.DecodingError as error:
            raise UnreadableError(f"the answer is not in the encoding that it claims: {error}") from error
        cut = max_bytes is not None and len(body) > max_bytes
        return bytes(body[:max_bytes]), cut

    def close(self) -> None:
        """Closes the answer, and its connection unless it was read to its end. Idempotent."""
        self._response.close()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests through one pool of at most ``max_connections`` HTTP/1.1 connections.

    Guarantees: failures are those of `agent.net.errors`; a request is written at most once (aiohttp's own silent
    retry of idempotent requests is off); path and query go out byte for byte as httpx spells them; no header is
    added but ``Content-Length: 0``; no redirect is followed and no cookie kept; cancelling a request closes its
    connection. Idle connections are kept for ``keepalive_s``. Time-outs: ``connect`` covers waiting for a free
    connection, too (``pool`` is not read); ``read`` runs from the end of the request; ``connect + write + read``
    bounds the time until the answer begins.

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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one of httpx's requests and returns with the head of the answer. Raises `httpx.TransportError`."""
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        if request.url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol("only http:// and https:// URLs can be called")
        outgoing = Outgoing(
            request.method,
            wire_url(request.url),
            _headers(request),
            _content(request),
            Timeouts(timeouts.get("connect"), timeouts.get("write"), timeouts.get("read")),
        )
        response, place = await self._answered(outgoing)
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response, place),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (response.reason or "").encode("ascii", "ignore"),
            },
        )

    async def exchange(self, request: Outgoing) -> Incoming:
        """Sends one request and returns with the head of the answer. Raises `httpx.TransportError`.

        Does without httpx's own requests and answers, which cost several times what the exchange itself does.
        """
        return Incoming(*await self._answered(request))

    async def aclose(self) -> None:
        """Closes every connection at once. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._connector is not None:
            await self._connector.abort_lingering()

    async def _answered(self, request: Outgoing) -> tuple[aiohttp.ClientResponse, str]:
        way = self._way(request.url)
        for name, value in request.headers:
            problem = header_problem(name, value)
            if problem is not None:
                raise httpx.LocalProtocolError(problem)
        try:
            async with asyncio.timeout(request.timeouts.answer_s):
                return await self._send(request, way), way.place
        except TimeoutError:
            raise httpx.WriteTimeout(f"{way.place} did not take the request in time") from None

    async def _send(self, request: Outgoing, way: _Way) -> aiohttp.ClientResponse:
        try:
            return await self._open_session().request(
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

    def _way(self, url: URL) -> _Way:
        """How ``url`` is reached: worked out once for each server. Raises `AddressRefusedError`."""
        server = (url.scheme, url.raw_authority)
        way = self._ways.get(server)
        if way is None:
            if not self._allow_link_local:
                check_host(url.raw_host or "")
            if len(self._ways) >= _KNOWN_WAYS:
                self._ways.clear()
            way = self._ways[server] = _way_to(url, self._proxies)
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
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
                middlewares=(_exchange,),
            )
        return self._session


class _Connector(aiohttp.TCPConnector):
    """Tells failures to connect from all later ones: only what `connect` raises was certainly never sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._transports: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109  # aiohttp's signature
    ) -> Connection:
        try:
            async with asyncio.timeout(timeout.connect):  # aiohttp's own may take up to a second longer
                while True:
                    connection = await super().connect(req, traces, ClientTimeout(total=None))
                    if await self._is_usable(connection):
                        return connection
        except CONNECTION_FAILURES as error:
            raise connect_failure(error, f"{req.host}:{req.port}") from error

    async def abort_lingering(self) -> None:
        """Ends TLS connections that were closed but still wait for the other side's farewell (up to 30 s)."""
        for transport in list(self._transports):
            transport.abort()
        await asyncio.sleep(0)

    async def _is_usable(self, connection: Connection) -> bool:
        """Looks twice at a connection that was idle; closes it if it is not open any more.

        Where the server closed it while the loop was busy, the news lies in the socket, unread: writing a request
        now would fail it as maybe executed. A few turns of the loop are enough to hear it.
        """
        transport = connection.transport
        if transport is not None and transport not in self._transports:
            self._transports.add(transport)
            return True
        if transport is not None and not transport.is_closing() and not _has_news(transport):
            return True
        try:
            for _ in range(_TURNS_TO_HEAR):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            connection.close()
            raise
        if transport is None or transport.is_closing():
            connection.close()
            return False
        return True


def _has_news(transport: asyncio.Transport) -> bool:
    """Whether something lies in its socket, unread, be it the end."""
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


class _Body(httpx.AsyncByteStream):
    """The body of an answer, still encoded. Read to its end it gives the connection back, else it closes it."""

    def __init__(self, response: aiohttp.ClientResponse, place: str) -> None:
        self._response = response
        self._place = place
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_chunked(_CHUNK_BYTES):
                yield chunk
                if self._closed:
                    return
        except CONNECTION_FAILURES as error:
            raise exchange_failure(error, self._place) from error

    async def aclose(self) -> None:
        # Closed by its own reader, the iteration ends instead of failing: whoever has read enough closes and reads
        # on to the end, for breaking off would leave httpx's nested generators to the garbage collector.
        self._closed = True
        self._response.close()


def wire_url(url: httpx.URL) -> URL:
    """The URL without credentials and fragment, in httpx's own spelling.

    The query stays part of the path: split off, an empty one would be lost.
    """
    return URL.build(
        scheme=url.scheme, authority=url.netloc.decode("ascii"), path=url.raw_path.decode("ascii"), encoded=True
    )


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
        return _Way(place, URL(proxy.url))
    credentials = ("Proxy-Authorization", proxy.authorization)
    if url.scheme == "https":
        return _Way(place, URL(proxy.url), proxy_headers=dict([credentials]))
    return _Way(place, URL(proxy.url), headers=(credentials,))
