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
from agent.sandbox.actions import Invoker, SandboxAction
from agent.sandbox.agent_log import AgentLog
from agent.sandbox.ledger import Ledger
from agent.sandbox.orders import OrderError, read_order
from agent.sandbox.records import RunRecord
from agent.sandbox.routes_file import RoutesFile
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
_PASSED_OVER = "passed over: no route takes it"
_WHY_PASSED_OVER = (
    "The agent has passed this message over: {}. A message of type KAFKA may be meant for another consumer of the "
    "topic, so its run is left alone; in Port it would stay in progress."
)
_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """The page and the example HTTP targets behind one address on loopback.

    Run content reaches the browser as JSON and is put into the document as text only. Other sites cannot start
    actions: requests must name this machine as their host, and invocations must be JSON. ``actions`` are the
    examples that it offers, beside an action of the visitor's own.
    """

    def __init__(self, ledger: Ledger, actions: Sequence[SandboxAction]) -> None:
        self._ledger = ledger
        self._actions = {action.identifier: action for action in actions}
        self._closing = False
        self._opened = asyncio.Event()
        self._html = ""
        self._invoker: Invoker
        self._routes: RoutesFile
        self._log: AgentLog
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
                web.get("/message", self._message),
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

    def open(self, invoker: Invoker, *, agent_url: str, routes: RoutesFile, log: AgentLog) -> None:
        """Says who starts runs, where the agent is and who knows of it: known only after `listening` has begun."""
        self._invoker, self._routes, self._log = invoker, routes, log
        self._html = page_view.page(tuple(self._actions.values()), agent_url=agent_url, routes=routes)
        self._opened.set()

    async def _index(self, _request: web.Request) -> web.Response:
        await self._opened.wait()
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
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        await self._opened.wait()
        try:
            action, inputs = read_order(await request.json(), self._actions)
        except OrderError as error:
            return web.json_response({"problem": str(error)}, status=422)
        except ValueError:
            return web.json_response({"problem": "This is not JSON."}, status=422)
        return web.json_response({"run": self._invoker.invoke(action, inputs)})

    async def _message(self, request: web.Request) -> web.Response:
        """The message that began a run, as it was put on the topic."""
        await self._opened.wait()
        text = self._invoker.messages.get(request.query.get("run", ""))
        if text is None:
            raise web.HTTPNotFound
        headers = {"Content-Disposition": 'attachment; filename="message.json"'}
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: ``runs`` with all rows, and ``run`` with the chosen run and its new log lines."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        with contextlib.suppress(ConnectionResetError):  # the browser has gone to another run, or away
            await self._opened.wait()
            await response.prepare(request)
            await self._tell(response, request.query.get("run", ""))
        return response

    async def _tell(self, response: web.StreamResponse, chosen: str) -> None:
        sent_lines, sent_routes = 0, None
        while not self._closing:
            seen = self._ledger.version
            if (routes := self._about_routes()) != sent_routes:
                await _send(response, "routes", routes)
                sent_routes = routes
            await _send(
                response, "runs", [self._row(run) for run in list(self._ledger.runs.values())[-_SHOWN_RUNS:]]
            )
            run = self._ledger.runs.get(chosen)
            if run is not None:
                await _send(response, "run", self._detail(run, sent_lines))
                sent_lines = len(run.logs)
            await asyncio.sleep(_PACE_S)
            await self._ledger.changed(seen)

    def _about_routes(self) -> dict[str, Any]:
        return {
            "problems": list(self._routes.problems),
            "suggestions": [one.to_json() for one in self._routes.suggestions],
        }

    def _row(self, run: RunRecord) -> dict[str, Any]:
        action = self._invoker.invoked.get(run.id)
        _, executor = self._log.takers.get(run.id, ("", action.executor if action is not None else ""))
        ended = bool(run.terminal_statuses)
        passed_over = run.id in self._log.passed_over and not ended
        return {
            "id": run.id,
            "title": action.title if action is not None else run.action,
            "executor": executor,
            "status": run.terminal_statuses[-1] if ended else run.status,
            "passedOver": _PASSED_OVER if passed_over else "",
            "going": not ended and not passed_over,
            "label": run.status_label,
            "createdAt": run.created_at,
            "seconds": run.duration_s,
            "logLines": run.log_line_count,
            "requests": self._ledger.requests_of(run.id),
        }

    def _detail(self, run: RunRecord, from_line: int) -> dict[str, Any]:
        row = self._row(run)
        return row | {
            "summary": _WHY_PASSED_OVER.format(self._log.passed_over[run.id]) if row["passedOver"] else run.summary,
            "route": self._log.takers.get(run.id, ("", ""))[0],
            "entity": run.entity,
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
