"""A server that answers as it is told and remembers what it got; and executors that call it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from agent.domain.invocation import Invocation, InvocationMethod
from agent.domain.json import Json, JsonObject
from agent.domain.retry import Backoff
from agent.executors.http import HttpExecutor, HttpFactory
from agent.ports import ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_invocation, fake_services

SECRET = "client-secret-0123456789"


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    names: tuple[str, ...] = ()
    """Of all headers, in lower case, repeated as they came."""


@dataclass
class Target:
    """The server: gives its answers in their order, the last one for ever."""

    url: str = ""
    answers: list[Callable[[], web.StreamResponse]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        names = tuple(name.lower() for name in request.headers)
        self.seen.append(Seen(request.method, request.raw_path, headers, await request.read(), names))
        make = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return make()


def answer(status: int = 200, body: str | bytes = "", **headers: str) -> Callable[[], web.Response]:
    raw = body.encode() if isinstance(body, str) else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: web.Response(status=status, body=raw, headers=named)


@asynccontextmanager
async def target(*answers: Callable[[], web.StreamResponse]) -> AsyncIterator[Target]:
    server = Target(answers=list(answers or (answer(),)))
    async with serving(server.handle) as url:
        server.url = url
        yield server


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def executor(options: JsonObject | None = None, **settings: Any) -> AsyncIterator[HttpExecutor]:
    environment = settings.pop("environment", {})
    services = fake_services(ExecutorSettings(client_secret=lambda: SECRET, **settings), environment=environment)
    factory = HttpFactory(services, backoff=Backoff(first_s=0.001))
    try:
        yield factory.prepare(options or {}, "routes[0].http", FakeTemplates())
    finally:
        await factory.close()


def invocation(
    url: Json = None, *, document: Json = None, inputs: JsonObject | None = None, **method: Json
) -> Invocation:
    """A webhook for agents, as intake hands it on."""
    raw: dict[str, Json] = {"type": "WEBHOOK", "agent": True, **method}
    if url is not None:
        raw["url"] = url
    made = fake_invocation(
        inputs,
        method=InvocationMethod("WEBHOOK", agent=True, synchronized=method.get("synchronized") is True, raw=raw),
    )
    return made if document is None else replace(made, document=document)


def run_of(url: Json = None, *, timeout_s: float = 60.0, **parts: Any) -> FakeRun:
    return FakeRun(invocation=invocation(url, **parts), timeout_s=timeout_s)
