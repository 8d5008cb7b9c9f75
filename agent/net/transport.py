"""An httpx transport over aiohttp's connection pool, which keeps its pace when many requests run at once."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ssl
import weakref
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from aiohttp.client import ClientTimeout
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from agent.net.errors import CONNECTION_FAILURES, connect_failure, exchange_failure
from agent.net.guard import GuardedResolver, check_host
from agent.net.headers import header_problem
from agent.net.proxy import Proxy, ProxyRules
from agent.net.resolver import SystemResolver
from agent.net.shown import shown_place

_CHUNK_BYTES = 16 * 1024
"""Answers are handed on in pieces of this size: what httpx inflates at once stays small, whatever the answer is."""
_LARGE_BODY_BYTES = 1024 * 1024
"""Larger request bodies are written piece by piece, so that the loop goes on meanwhile."""
_MAX_HEADER_BYTES = 64 * 1024
_TURNS_TO_HEAR = 3
"""One to find the socket readable, one to read the end of it, one for TLS to pass it on."""
_UNADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""Headers that aiohttp would make up; what is sent is what httpx's request says."""


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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends one request and returns with the head of the answer. Raises `httpx.TransportError`."""
        if request.url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol("only http:// and https:// URLs can be called")
        if not self._allow_link_local:
            check_host(request.url.raw_host.decode("ascii"))
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        try:
            async with asyncio.timeout(_answer_bound_s(timeouts)):
                response = await self._send(request, timeouts)
        except TimeoutError:
            raise httpx.WriteTimeout(f"{shown_place(request.url)} did not take the request in time") from None
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response, shown_place(request.url)),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (response.reason or "").encode("ascii", "ignore"),
            },
        )

    async def aclose(self) -> None:
        """Closes every connection at once. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._connector is not None:
            await self._connector.abort_lingering()

    async def _send(self, request: httpx.Request, timeouts: dict[str, float | None]) -> aiohttp.ClientResponse:
        proxy = self._proxies.proxy_for(request.url) if self._proxies else None
        headers = _headers(request)
        options: dict[str, Any] = {}
        if proxy is not None:
            options = _proxy_options(proxy, tunnelled=request.url.scheme == "https")
            headers += options.pop("headers", [])
        try:
            return await self._open_session().request(
                request.method,
                _target(request.url),
                headers=headers,
                data=_body(request),
                allow_redirects=False,
                timeout=ClientTimeout(total=None, connect=timeouts.get("connect"), sock_read=timeouts.get("read")),
                **options,
            )
        except (aiohttp.ClientError, ValueError) as error:
            # What remains here was found out before there was a connection: a method or length that can't be sent.
            raise httpx.LocalProtocolError(f"the request cannot be sent: {error}") from error

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


def _answer_bound_s(timeouts: dict[str, float | None]) -> float | None:
    parts = [timeouts.get(name) for name in ("connect", "write", "read")]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _target(url: httpx.URL) -> URL:
    """The URL without credentials (httpx made a header of them) and fragment, in httpx's own spelling.

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
    for name, value in pairs:
        problem = header_problem(name, value)
        if problem is not None:
            raise httpx.LocalProtocolError(problem)
    return [(name, value) for name, value in pairs if name.lower() != "transfer-encoding"]


def _body(request: httpx.Request) -> bytes | io.BytesIO | AsyncIterable[bytes] | None:
    with contextlib.suppress(httpx.RequestNotRead):
        content = request.content
        return io.BytesIO(content) if len(content) > _LARGE_BODY_BYTES else content or None
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise httpx.LocalProtocolError("the request's body is a synchronous stream, which would block the loop")
    return request.stream


def _proxy_options(proxy: Proxy, *, tunnelled: bool) -> dict[str, Any]:
    """The credentials go to the proxy with the CONNECT of a tunnel, else with the request itself."""
    options: dict[str, Any] = {"proxy": URL(proxy.url)}
    if proxy.authorization is not None:
        name = "Proxy-Authorization"
        if tunnelled:
            options["proxy_headers"] = {name: proxy.authorization}
        else:
            options["headers"] = [(name, proxy.authorization)]
    return options
