"""Little servers on loopback for what no well-behaved one does, and clients with short patience."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trustme
from aiohttp import web
from yarl import URL

from agent.net.client import Client, open_client
from agent.net.outgoing import Outgoing, Timeouts
from agent.net.tls import _made, tls_context

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


SHORT = Timeouts(connect_s=5.0, write_s=5.0, read_s=5.0)


class RawServer:
    """What a raw server saw: connections made and still open, and whatever its talk notes down."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.open = 0
        self.heads: list[bytes] = []

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    async def read_head(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head

    async def read_request(self, reader: asyncio.StreamReader) -> bytes:
        """The body of the next request, which has one as far as Content-Length says."""
        lines = (await self.read_head(reader)).lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        return await reader.readexactly(length)


@asynccontextmanager
async def raw_server(
    talk: Callable[[RawServer], Talk], tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Serves every connection with ``talk``; when the block ends, connections still open are cut."""
    seen = RawServer()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        seen.connections += 1
        seen.open += 1
        try:
            await talk(seen)(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass
        finally:
            seen.open -= 1
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    seen.port = server.sockets[0].getsockname()[1]
    try:
        yield seen
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)


def answers(*replies: bytes) -> Callable[[RawServer], Talk]:
    """On every connection: reads a head and sends a reply, one after another; then closes."""

    def for_server(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for reply in replies:
                await seen.read_head(reader)
                writer.write(reply)
                await writer.drain()

        return talk

    return for_server


def keeps_answering(reply: bytes = OK) -> Callable[[RawServer], Talk]:
    """On every connection: answers every head, until the client goes away."""

    def for_server(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await seen.read_head(reader)
                writer.write(reply)
                await writer.drain()

        return talk

    return for_server


def whole_requests(reply: bytes = OK) -> Callable[[RawServer], Talk]:
    """As `keeps_answering`, but each body is read first, as far as Content-Length says."""

    def for_server(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await seen.read_request(reader)
                writer.write(reply)
                await writer.drain()

        return talk

    return for_server


def silent() -> Callable[[RawServer], Talk]:
    """Reads and never says anything; ends with the client."""

    def for_server(_: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        return talk

    return for_server


@asynccontextmanager
async def web_server(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A well-behaved server; yields its URL without a slash at the end."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(
    *, authority: trustme.CA | None = None, timeout_s: float = 5.0, max_connections: int = 10, **options: Any
) -> AsyncIterator[Client]:
    """A client that trusts ``authority``; further ``options`` are those of `open_client`."""
    tls = options.pop("tls", None)
    if authority is not None:
        tls = tls or _made(True, None, None, None)  # one of its own, for others share theirs
        authority.configure_trust(tls)
    timeout = options.pop("timeout", None) or httpx.Timeout(timeout_s)
    opened = open_client(
        tls=tls or tls_context(), max_connections=max_connections, timeout=timeout, user_agent="test", **options
    )
    async with opened:
        yield opened


def outgoing(
    url: str,
    method: str = "GET",
    *,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
    timeouts: Timeouts = SHORT,
) -> Outgoing:
    """A request whose url is taken as it is, however wrong it may be."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    built = URL.build(scheme=scheme, authority=authority, path=slash + path, encoded=True)
    return Outgoing(method, built, headers, body, timeouts)


def server_tls(authority: trustme.CA, *names: str, demand_client: bool = False) -> ssl.SSLContext:
    """A server's context with a certificate for ``names`` (default: 127.0.0.1)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    if demand_client:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Waits until ``condition`` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)
