"""What the measured HTTP routes call, as a process of its own: ``python -m tests.bench.target``.

It prints its URL in one line and serves until it is ended. ``POST /quick`` is answered at once, ``POST /slow``
after a second, ``POST /held`` once somebody asks for ``POST /release``; ``GET /held`` says how many wait for that.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
from aiohttp import web

from tests.broker.child import Child
from tests.broker.waiting import wait_until

SLOW_S = 1.0


class Target:
    """The target as a child process. `end` must be called at the end."""

    def __init__(self, home: Path) -> None:
        self._child = Child(
            [sys.executable, "-m", "tests.bench.target"], home / "target.log", {"LC_ALL": "C.UTF-8"}
        )
        self._child.start()
        wait_until(lambda: "\n" in self._child.output(), timeout_s=30, what="the target of HTTP routes")
        self.url = self._child.output().splitlines()[0]
        self._http = httpx.Client(base_url=self.url, trust_env=False)

    def held(self) -> int:
        """How many requests wait to be released."""
        return int(self._http.get("/held").raise_for_status().text)

    def release(self) -> None:
        """Answers all that wait."""
        self._http.post("/release").raise_for_status()

    def end(self) -> None:
        """Ends it. Idempotent."""
        self._http.close()
        self._child.end()


class _Service:
    def __init__(self) -> None:
        self._released = asyncio.Event()
        self._held = 0

    @classmethod
    def application(cls) -> web.Application:
        service, application = cls(), web.Application()
        application.add_routes(
            [
                web.post("/quick", service.quick),
                web.post("/slow", service.slow),
                web.post("/held", service.hold),
                web.get("/held", service.count),
                web.post("/release", service.release),
            ]
        )
        return application

    async def quick(self, request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"ok": True})

    async def slow(self, request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(SLOW_S)
        return web.json_response({"ok": True})

    async def hold(self, request: web.Request) -> web.Response:
        await request.read()
        self._held += 1
        try:
            await self._released.wait()
        finally:
            self._held -= 1
        return web.json_response({"ok": True})

    async def count(self, _request: web.Request) -> web.Response:
        return web.Response(text=str(self._held))

    async def release(self, _request: web.Request) -> web.Response:
        self._released.set()
        self._released = asyncio.Event()
        return web.Response()


async def _serve() -> None:
    runner = web.AppRunner(_Service.application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
