"""The http executor under contract: one small server per kind of work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

from agent.domain.json import JsonObject
from agent.executors.http import HttpFactory
from agent.ports import ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_services
from tests.contract.executor_rig import FLOOD_BYTES, KILL_GRACE_S, SECRET, Prepared, Work

_MAX_RESPONSE_BYTES = 1000
_QUOTED_CHARS = 300
"""So much of an answer stands in a reason."""


def _secret_across(end: int) -> str:
    """`SECRET` in full, and once more across the ``end``."""
    return f"told {SECRET} ".ljust(end - len(SECRET) // 2, ".") + SECRET


_ANSWERS = {
    Work.SUCCEED: (200, "done"),
    Work.FAIL: (500, "all is broken"),
    Work.LEAK: (500, _secret_across(_QUOTED_CHARS)),
    Work.SPILL: (500, _secret_across(_MAX_RESPONSE_BYTES)),
    Work.TELL: (201, '{"id": 7}'),
}


class HttpRig:
    """`Rig` of the http executor."""

    name = "http"

    def prepare(self, work: Work, tmp_path: Path) -> AbstractAsyncContextManager[Prepared]:
        """A route that calls a server which does ``work``."""
        del tmp_path
        return _prepare(work)

    def check_flooded(self, run: FakeRun) -> None:
        """No more was read than the route wants."""
        ((_, response),) = run.exchanges
        assert (response["text"], response["truncated"]) == ("x" * _MAX_RESPONSE_BYTES, True)

    def check_told(self, run: FakeRun) -> None:
        """The exchange is there for report templates."""
        ((request, response),) = run.exchanges
        assert (request["method"], request["body"]) == ("POST", {"told": True})
        assert (response["statusCode"], response["json"]) == (201, {"id": 7})


class _Server:
    """Serves one kind of work; counts the requests that it is busy with."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests = 0
        self.busy = 0
        self.drops = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            self.busy += 1
            try:
                await self._answer(reader, writer)
            finally:
                self.busy -= 1
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._work is Work.HANG:
            await reader.read()  # until the other side is gone
        elif self._work is Work.RESIST:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not writer.transport.is_closing():  # which a mere farewell of the other side does not do
                writer.write(b"x")
                self.drops += 1
                await asyncio.sleep(0.005)
        elif self._work is Work.FLOOD:
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {FLOOD_BYTES}\r\n\r\n".encode())
            piece = b"x" * 1024 * 1024
            for _ in range(FLOOD_BYTES // len(piece)):
                writer.write(piece)
                await writer.drain()
        else:
            status, body = _ANSWERS[self._work]
            writer.write(f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()
            await reader.read()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)


@asynccontextmanager
async def _prepare(work: Work) -> AsyncIterator[Prepared]:
    server = _Server(work)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    factory = HttpFactory(fake_services(ExecutorSettings(kill_grace_s=KILL_GRACE_S)))
    options: JsonObject = {
        "url": f"http://127.0.0.1:{port}/?token={SECRET}",
        "body": {"told": True},
        "max_response_bytes": _MAX_RESPONSE_BYTES,
    }

    def started() -> bool:
        return server.drops > 1 if work is Work.RESIST else server.requests > 0

    try:
        executor = factory.prepare(options, "routes[0].http", FakeTemplates())
        yield Prepared(executor, started, lambda: server.busy > 0)
    finally:
        await factory.close()
        listener.close()
        await server.close()
