"""The sandbox's web page: start actions, watch their runs live. For this machine's browser only."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from agent.sandbox import page_view
from agent.sandbox.actions import Invoker, SandboxAction, Shape, own_action
from agent.sandbox.ledger import Ledger
from agent.sandbox.records import RunRecord
from agent.sandbox.target import target_routes

_SHOWN_RUNS = 200
_PACE_S = 0.1
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_STATIC = {
    "status.css": ("agent.observability", "text/css"),
    "sandbox.css": ("agent.sandbox", "text/css"),
    "sandbox.js": ("agent.sandbox", "text/javascript"),
}
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """The page and the example HTTP targets behind one address on loopback.

    Run content reaches the browser as JSON and is put into the document as text only. Other sites cannot start
    actions: requests must name this machine as their host, and invocations must be JSON.
    """

    def __init__(self, ledger: Ledger, actions: Sequence[SandboxAction]) -> None:
        self._ledger = ledger
        self._actions = {action.identifier: action for action in actions}
        self._closing = False
        self._html = ""
        self._invoker: Invoker | None = None
        self.url = ""

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[None]:
        """Serves on 127.0.0.1 until the block ends; raises ``OSError`` where the port can't be had."""
        app = web.Application(middlewares=[_guarded])
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/static/{name}", self._static),
                web.get("/events", self._events),
                web.post("/invoke", self._invoke),
                *target_routes(),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
            yield
        finally:
            self._closing = True
            self._ledger.touch()
            await runner.cleanup()

    def open(self, invoker: Invoker, *, agent_url: str, routes_path: str) -> None:
        """Says who starts runs and where the agent is: known only after `listening` has begun."""
        self._invoker = invoker
        self._html = page_view.page(tuple(self._actions.values()), agent_url=agent_url, routes_path=routes_path)

    async def _index(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._html, content_type="text/html")

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _STATIC:
            raise web.HTTPNotFound
        package, content_type = _STATIC[name]
        text = files(package).joinpath("static", name).read_text("utf-8")
        return web.Response(text=text, content_type=content_type)

    async def _invoke(self, request: web.Request) -> web.Response:
        """Starts a run of an example, or of an action of the visitor's own; answers ``{"run": id}``."""
        if request.content_type != "application/json" or self._invoker is None:
            raise web.HTTPUnsupportedMediaType
        try:
            action, inputs = self._asked(await request.json())
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"problem": str(error)}, status=422)
        return web.json_response({"run": self._invoker.invoke(action, inputs)})

    def _asked(self, order: dict[str, Any]) -> tuple[SandboxAction, dict[str, Any]]:
        inputs = order["inputs"]
        if not isinstance(inputs, dict):
            raise TypeError("the inputs must be a JSON object")
        if order.get("own"):
            shape = Shape(order["shape"])
            return own_action(str(order["action"]), str(order["blueprint"]), shape, inputs), inputs
        action = self._actions[order["action"]]
        numbers = {one.name for one in action.inputs if one.kind == "number"}
        return action, {name: int(value) if name in numbers else value for name, value in inputs.items()}

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: ``runs`` with all rows, and ``run`` with the chosen run and its new log lines."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        with contextlib.suppress(ConnectionResetError):  # the browser has gone to another run, or away
            await response.prepare(request)
            await self._tell(response, request.query.get("run", ""))
        return response

    async def _tell(self, response: web.StreamResponse, chosen: str) -> None:
        sent_lines = 0
        while not self._closing:
            seen = self._ledger.version
            await _send(
                response, "runs", [self._row(run) for run in list(self._ledger.runs.values())[-_SHOWN_RUNS:]]
            )
            run = self._ledger.runs.get(chosen)
            if run is not None:
                await _send(response, "run", self._detail(run, sent_lines))
                sent_lines = len(run.logs)
            await asyncio.sleep(_PACE_S)
            await self._ledger.changed(seen)

    def _row(self, run: RunRecord) -> dict[str, Any]:
        action = self._invoker.invoked.get(run.id) if self._invoker is not None else None
        return {
            "id": run.id,
            "title": action.title if action is not None else run.action,
            "executor": action.executor if action is not None else "",
            "status": run.terminal_statuses[-1] if run.terminal_statuses else run.status,
            "ended": bool(run.terminal_statuses),
            "label": run.status_label,
            "createdAt": run.created_at,
            "seconds": run.duration_s,
            "logLines": run.log_line_count,
            "requests": self._ledger.requests_of(run.id),
        }

    def _detail(self, run: RunRecord, from_line: int) -> dict[str, Any]:
        return self._row(run) | {
            "summary": run.summary,
            "inputs": dict(run.inputs),
            "links": run.links,
            "externalRunId": run.external_run_id,
            "output": run.output,
            "response": run.response,
            "entities": [
                {"verb": one.verb, "blueprint": one.blueprint, "identifier": one.identifier, "body": one.body}
                for one in run.entities
            ],
            "fromLine": from_line,
            "log": [{"text": line.message, "level": line.level} for line in run.logs[from_line:]],
        }


@web.middleware
async def _guarded(request: web.Request, handler: _Next) -> web.StreamResponse:
    """Lets in only who addresses this machine by its own name (no rebound DNS), and only from our own page."""
    origin = request.headers.get("Origin")
    if urlsplit(f"//{request.host}").hostname not in _LOCAL_NAMES:
        raise web.HTTPForbidden
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden
    response = await handler(request)
    if not response.prepared:
        response.headers.update(_HEADERS)
    return response


async def _send(response: web.StreamResponse, event: str, content: Any) -> None:
    await response.write(f"event: {event}\ndata: {json.dumps(content)}\n\n".encode())
