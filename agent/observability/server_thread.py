"""The HTTP server on a thread of its own: probes are answered also while the agent's loop stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from agent.observability.server import HttpServer
from agent.threads import in_thread

_END_S = 3.0


class ServerThread:
    """Keeps ``server`` on an event loop of its own. `start` and `stop` belong to the agent's loop.

    Its pages are rendered on that thread, so they must be thread-safe.
    """

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._port = 0
        self._ended: asyncio.Future[None] | None = None

    async def start(self) -> int:
        """Listens, and returns the port. Raises `ConfigurationError` where the address can't be had."""
        caller = asyncio.get_running_loop()
        listening: asyncio.Future[None] = caller.create_future()
        tell = partial(caller.call_soon_threadsafe, listening.set_result, None)
        ended = in_thread(lambda: asyncio.run(self._serve(tell)), "http-server")
        await asyncio.wait([listening, ended], return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            await ended  # raises why
        self._ended = ended
        return self._port

    async def stop(self) -> None:
        """Stops listening and cuts off whoever is connected, within a few seconds. Idempotent."""
        ended, self._ended = self._ended, None
        if ended is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            await asyncio.wait([ended], timeout=_END_S)

    async def _serve(self, tell: Callable[[], object]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._port = await self._server.start()
        tell()
        await self._stopping.wait()
        await self._server.stop()
