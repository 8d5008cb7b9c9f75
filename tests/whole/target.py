"""What the agents' requests go to: it keeps them as they came, and answers as their path says."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from tests.broker.waiting import wait_until


@dataclass(frozen=True)
class Received:
    """One request. ``headers`` have lower-case names, ``peer_port`` tells connections apart."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    peer_port: int
    raw_path: str


@dataclass
class Target:
    """An HTTP server on loopback. Its paths:

    ``/status/N`` answers N, ``/echo/N`` too, with the body that came; ``/flaky/NAME`` 503 at first and 200 after
    it; ``/gate/NAME`` as soon as the gate is opened; ``/big`` a million bytes; ``/gitlab`` a
    pipeline; everything else 200 with a link and
    numbers.
    """

    url: str = ""
    received: list[Received] = field(default_factory=list)
    at_gate: Counter[str] = field(default_factory=Counter)
    most_at_gate: Counter[str] = field(default_factory=Counter)
    _gates: dict[str, asyncio.Event] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    @classmethod
    @asynccontextmanager
    async def serve(cls) -> AsyncIterator[Self]:
        """The target, listening until the block ends."""
        target = cls()
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.add_routes([web.route("*", "/{path:.*}", target._take)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            target.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
            yield target
        finally:
            for gate in target._gates.values():
                gate.set()
            await runner.cleanup()

    def requests(self, path: str) -> list[Received]:
        """Those to this path, in their order."""
        return [request for request in self.received if request.path == path]

    def request(self, path: str, timeout_s: float = 30) -> Received:
        """The only request to this path, once it has come."""
        wait_until(lambda: self.requests(path), timeout_s=timeout_s, what=f"a request to {path}", pause_s=0.01)
        (request,) = self.requests(path)
        return request

    def wait_at_gate(self, name: str, count: int = 1) -> None:
        """Returns once so many requests wait there at the same time."""
        wait_until(
            lambda: self.at_gate[name] >= count,
            timeout_s=30,
            what=lambda: f"{count} requests at the gate {name}, there are {self.at_gate[name]}",
            pause_s=0.01,
        )

    def open_gate(self, name: str) -> None:
        """Lets everybody pass, now and later."""
        self._loop.call_soon_threadsafe(lambda: self._gate(name).set())

    def _gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    async def _take(self, request: web.Request) -> web.Response:
        peer = request.transport.get_extra_info("peername") if request.transport else ("", 0)
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        self.received.append(
            Received(
                request.method, request.path, dict(request.query), headers, body, int(peer[1]), request.raw_path
            )
        )
        return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.Response:
        match request.path.strip("/").split("/"):
            case ["status", code]:
                return web.json_response({"error": f"scripted {code}"}, status=int(code))
            case ["echo", code]:
                return web.Response(body=await request.read(), status=int(code))
            case ["flaky", _] if len(self.requests(request.path)) == 1:
                return web.json_response({}, status=503, headers={"Retry-After": "0"})
            case ["gate", name]:
                self.at_gate[name] += 1
                self.most_at_gate[name] = max(self.most_at_gate[name], self.at_gate[name])
                try:
                    await self._gate(name).wait()
                finally:
                    self.at_gate[name] -= 1
            case ["gitlab", *_]:
                return web.json_response({"id": 17, "web_url": "https://gitlab.example/pipelines/17"}, status=201)
            case ["big"]:
                return web.Response(text="x" * 1_000_000)
            case _:
                pass
        return web.json_response(
            {"ok": True, "url": "https://target.example/made", "number": 4711, "nothing": None}
        )
