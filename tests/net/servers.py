"""Little servers on loopback for what no well-behaved one does, and clients with short patience."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trustme
from aiohttp import web

from agent.net.client import open_client
from agent.net.tls import tls_context

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


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
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that trusts ``authority``; further ``options`` are those of `open_client`."""
    tls = options.pop("tls", None) or tls_context()
    if authority is not None:
        authority.configure_trust(tls)
    timeout = options.pop("timeout", None) or httpx.Timeout(timeout_s)
    opened = open_client(tls=tls, max_connections=max_connections, timeout=timeout, user_agent="test", **options)
    async with opened:
        yield opened


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
