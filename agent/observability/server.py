"""The one small HTTP server of the agent: metrics, probes and the status page; read-only, for the inside.

It shares the event loop with the runs, so nothing a client does may hold it up: one request per connection,
a bounded number of connections, and a bounded life for each.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import structlog

# Not by way of aiohttp.web: its routers, files and sockets take a MiB, and nothing here needs them.
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from agent.domain.errors import ConfigurationError, Problem
from agent.ports import HealthCheck

log = structlog.get_logger(__name__)

_EVERYWHERE = "::"
_EVERYWHERE_IPV4 = "0.0.0.0"  # noqa: S104 - probes come from outside
_TEXT = "text/plain; charset=utf-8"
_HEADERS = {
    "Server": "action-agent",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says. ``headers`` come on top of those that every answer has, and win over them."""

    status: int
    body: bytes
    content_type: str = _TEXT
    headers: Mapping[str, str] = field(default_factory=dict)


Page = Callable[[str], Answer]
"""Renders one page; it is given the request's Accept header. Called on the event loop: must be quick."""


def probe(check: HealthCheck) -> Page:
    """The page of a probe: 200 or 503, with the reason as text."""

    def page(_accept: str) -> Answer:
        health = check()
        return Answer(200 if health.ok else 503, f"{health.reason or 'ok'}\n".encode("utf-8", "replace"))

    return page


class HttpServer:
    """Serves ``pages`` by exact path, to GET and HEAD. The host ``::`` is every address of the machine, IPv4 too.

    At most ``max_connections`` at once, and each for at most ``max_connection_s``: when there are too many, the
    oldest is cut off, so that a probe gets through a crowd of idle ones. Belongs to the event loop's thread.
    ``insists``: where the port is taken, there is no start; else it takes another one.
    """

    def __init__(
        self,
        host: str,
        port: int,
        pages: Mapping[str, Page],
        *,
        insists: bool = True,
        max_connections: int = 64,
        max_connection_s: float = 10.0,
    ) -> None:
        self._host = host
        self._insists = insists
        self._port = port
        self._pages = dict(pages)
        self._gate = _Gate(max_connections, max_connection_s)
        self._web: Server | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> int:
        """Listens, and returns the port: a free one where 0 was asked for, or where the port is only a suggestion.

        Raises `ConfigurationError` where the address can't be had.
        """
        protocol = Server(self._serve, access_log=None, lingering_time=0)

        def connection() -> asyncio.Protocol:
            return _Connection(protocol(), self._gate)

        try:
            try:
                self._listener = await self._listen(connection)
            except OSError as error:
                if self._insists or error.errno != errno.EADDRINUSE:
                    raise
                taken, self._port = self._port, 0
                self._listener = await self._listen(connection)
                log.warning(
                    "port taken: probes and metrics have another one", port=taken, setting="AGENT_HTTP_PORT"
                )
        except OSError as error:
            raise ConfigurationError(
                Problem(
                    "AGENT_HTTP_HOST, AGENT_HTTP_PORT",
                    f"cannot listen on {self._host} port {self._port}: {error.strerror or error}",
                    hint="choose another port, or 0 for any free one",
                )
            ) from error
        self._web = protocol
        return int(self._listener.sockets[0].getsockname()[1])

    async def _listen(self, connection: Callable[[], asyncio.Protocol]) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        host = self._host
        if host == _EVERYWHERE:
            both = _socket_of_both_families(self._port)
            if both is not None:
                return await loop.create_server(connection, sock=both)
            host = _EVERYWHERE_IPV4
        return await loop.create_server(connection, host, self._port)

    async def stop(self) -> None:
        """Stops listening and cuts off whoever is connected. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self._gate.close()
        protocol, self._web = self._web, None
        if protocol is not None:
            await protocol.shutdown(timeout=1.0)
        if listener is not None:
            await listener.wait_closed()

    async def _serve(self, request: BaseRequest) -> StreamResponse:
        answer = self._answer(request.method, request.path, request.headers.get("Accept", ""))
        response = Response(
            status=answer.status,
            body=answer.body,
            headers={**_HEADERS, "Content-Type": answer.content_type, **answer.headers},
        )
        response.force_close()
        return response

    def _answer(self, method: str, path: str, accept: str) -> Answer:
        page = self._pages.get(path)
        if page is None:
            known = " ".join(sorted(self._pages))
            return Answer(404, f"nothing here; there is: {known}\n".encode())
        if method not in ("GET", "HEAD"):
            return Answer(405, b"read-only: use GET\n", headers={"Allow": "GET, HEAD"})
        return page(accept)


def _socket_of_both_families(port: int) -> socket.socket | None:
    """One that IPv6 and IPv4 arrive at; asyncio's own would take IPv6 alone. None: this machine has no IPv6."""
    if not socket.has_dualstack_ipv6():
        return None
    try:
        return socket.create_server((_EVERYWHERE, port), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return None
        raise


class _Gate:
    """Who is connected, in the order in which they came."""

    def __init__(self, most: int, max_s: float) -> None:
        self.max_s = max_s
        self._most = most
        self._open: dict[asyncio.Transport, asyncio.TimerHandle] = {}

    def enter(self, transport: asyncio.Transport) -> None:
        while len(self._open) >= self._most:
            self._cut_off(next(iter(self._open)))
        self._open[transport] = asyncio.get_running_loop().call_later(self.max_s, self._cut_off, transport)

    def leave(self, transport: asyncio.Transport) -> None:
        timer = self._open.pop(transport, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        for transport in list(self._open):
            self._cut_off(transport)

    def _cut_off(self, transport: asyncio.Transport) -> None:
        self.leave(transport)
        transport.abort()


class _Connection(asyncio.Protocol):
    """Passes everything on to the protocol that speaks HTTP, by way of the gate."""

    _transport: asyncio.Transport

    def __init__(self, http: asyncio.Protocol, gate: _Gate) -> None:
        self._http = http
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._gate.enter(self._transport)
        self._http.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.leave(self._transport)
        self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._http.data_received(data)

    def eof_received(self) -> bool | None:
        return self._http.eof_received()

    def pause_writing(self) -> None:
        self._http.pause_writing()

    def resume_writing(self) -> None:
        self._http.resume_writing()
