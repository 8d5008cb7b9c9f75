"""An HTTP server that misbehaves as the path of each request says, and keeps what it got."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_HUGE_BYTES = 64 * 1024 * 1024
_TLS_HANDSHAKE = b"\x16"
_CLOSING = "Connection: close\r\n"
_OK = f"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{_CLOSING}\r\nok".encode()


@dataclass(frozen=True)
class Got:
    """One request: who it is for by its path, and its idempotency key."""

    method: str
    run_id: str
    key: str


@dataclass
class Misfit:
    """The server. Its paths, each ending with ``/RUN_ID``:

    ``/status/N`` answers N; ``/silent`` never; ``/broken`` closes instead; ``/broken-once`` does at the first
    request of a run; ``/drops`` gives its answer drop by drop, without end; ``/huge`` gives 64 MiB.
    """

    got: list[Got] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def listening(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Listens on loopback until the block ends; yields the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=tls)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def requests_of(self, run_id: str) -> list[Got]:
        """Those that a run made, in their order."""
        return [got for got in self.got if got.run_id == run_id]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == _TLS_HANDSHAKE:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            return
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = request.split(" ")
        *fault, run_id = path.strip("/").split("/")
        self.got.append(Got(method, run_id, headers.get("idempotency-key", "")))
        await self._misbehave(fault, run_id, reader, writer)

    async def _misbehave(
        self, fault: list[str], run_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match fault:
            case ["status", code]:
                where = "Location: https://elsewhere.example/\r\n" if code.startswith("3") else ""
                writer.write(
                    f"HTTP/1.1 {code} Scripted\r\n{where}Content-Length: 6\r\n{_CLOSING}\r\nbecaus".encode()
                )
                await writer.drain()
            case ["silent"]:
                await reader.read()
            case ["drops"]:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not writer.transport.is_closing():
                    writer.write(b"x")
                    await asyncio.sleep(0.05)
            case ["huge"]:
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {_HUGE_BYTES}\r\n\r\n".encode())
                for _ in range(_HUGE_BYTES // 65536):
                    writer.write(b"x" * 65536)
                    await writer.drain()
            case ["broken"]:
                pass
            case ["broken-once"] if len(self.requests_of(run_id)) == 1:
                pass
            case _:
                writer.write(_OK)
                await writer.drain()
