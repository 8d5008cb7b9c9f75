"""The stand-in for Port's API: strict where Port is, scriptable where tests need trouble.

In a test's own loop::

    async with PortApi.serve() as api:
        run_id = api.ledger.create_run("create_vm", {"cpu": 2})
        api.script.add(Fault(path="*/logs", status=503))
        ...                                  # PORT_API_BASE_URL=api.url, api.client_id, api.client_secret
        await api.ledger.wait_until(lambda ledger: not ledger.unfinished())

As a process of its own, ``python -m agent.sandbox.port_api --port N`` prints one line of JSON (``url``,
``client_id``, ``client_secret``) and serves until SIGTERM. Then tests use ``GET /_ledger``,
``GET /_ledger/counts``, ``POST /_runs`` and ``POST /_faults`` beside Port's own routes; these are neither
recorded nor guarded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self

from aiohttp import web

from agent.domain.json import Json, JsonObject
from agent.sandbox.faults import Effect, Fault, RateLimit, Script
from agent.sandbox.ledger import Ledger, Refusal
from agent.sandbox.port_routes import MAX_BODY_BYTES, TOKEN_PATH, Credentials, PortRoutes
from agent.sandbox.records import RequestRecord

__all__ = ["Credentials", "Effect", "Fault", "Ledger", "PortApi", "RateLimit", "Refusal", "RequestRecord", "Script"]

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PortApi:
    """Port's API on loopback: its memory (`ledger`), its misbehaviour (`script`), its budget (`rate_limit`).

    Belongs to the event loop that serves it. ``kafka`` is what ``/v1/kafka-credentials`` gives:
    ``{"brokers": […], "username": …, "password": …}``, or ``None`` where no topic was provisioned.
    `organization` is what ``/v1/organization`` gives, and may be changed meanwhile.
    """

    def __init__(
        self,
        *,
        org_id: str = "org_sandbox",
        credentials: Credentials | None = None,
        ledger: Ledger | None = None,
        kafka: JsonObject | None = None,
    ) -> None:
        self.organization: dict[str, Json] = {"id": org_id, "name": org_id, "featureFlags": [], "settings": {}}
        self.credentials = credentials or Credentials()
        self.ledger = ledger or Ledger()
        self.script = Script()
        self.rate_limit = RateLimit()
        self.url = ""
        self._closing = asyncio.Event()
        self._routes = PortRoutes(self.ledger, self.credentials, self.organization, kafka)

    @property
    def org_id(self) -> str:
        """Whose credentials these are."""
        return str(self.organization["id"])

    @property
    def client_id(self) -> str:
        """What PORT_CLIENT_ID must be."""
        return self.credentials.client_id

    @property
    def client_secret(self) -> str:
        """What PORT_CLIENT_SECRET must be; messages are signed and inputs encrypted with it."""
        return self.credentials.client_secret

    @classmethod
    @asynccontextmanager
    async def serve(
        cls,
        port: int = 0,
        *,
        org_id: str = "org_sandbox",
        credentials: Credentials | None = None,
        ledger: Ledger | None = None,
        kafka: JsonObject | None = None,
    ) -> AsyncIterator[Self]:
        """The stand-in, listening on 127.0.0.1 until the block ends; ``url`` is its address without ``/v1``."""
        api = cls(org_id=org_id, credentials=credentials, ledger=ledger, kafka=kafka)
        async with api.listening(port):
            yield api

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[None]:
        """Serves until the block ends. Open requests, also hanging ones, are then cut off."""
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
            yield
        finally:
            self._closing.set()
            await runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._front], client_max_size=MAX_BODY_BYTES)
        app.add_routes(self._routes.table())
        app.add_routes(
            [
                web.get("/_ledger", self._show_ledger),
                web.get("/_ledger/counts", self._show_counts),
                web.post("/_faults", self._take_faults),
                web.post("/_runs", self._create_run),
            ]
        )
        return app

    # ── every request passes here ────────────────────────────────────────────────────────────────────

    @web.middleware
    async def _front(self, request: web.Request, handler: _Next) -> web.StreamResponse:
        """Records the request, lets faults have it, keeps the budget, checks the token, and words refusals."""
        if request.path.startswith("/_"):
            return await handler(request)
        record = await _recorded(request)
        self.ledger.record(record)
        fault = self.script.take(request.method, request.path)
        within_budget = self.rate_limit.spend()
        if fault is not None and (answer := await self._misbehave(fault, request)) is not None:
            response: web.StreamResponse = answer
        elif fault is not None and fault.effect in (Effect.HANG, Effect.RESET):
            return _nobody_reads_this()
        else:
            response = await self._answer(request, handler, record, within_budget=within_budget)
            if fault is not None and fault.effect is Effect.DROP_REPLY:
                _cut(request)
                return _nobody_reads_this()
        record.status = response.status
        for name, value in self.rate_limit.headers().items():
            response.headers.setdefault(name, value)
        response.headers["x-trace-id"] = secrets.token_hex(16)
        self.ledger.touch()
        return response

    async def _misbehave(self, fault: Fault, request: web.Request) -> web.Response | None:
        """Waits and does what the fault says, as far as it comes before the rules; its answer, if it has one."""
        if fault.delay_s > 0:
            await self._pause(fault.delay_s)
        match fault.effect:
            case Effect.ANSWER:
                body = fault.body if fault.body is not None else _error_body("scripted", f"scripted {fault.status}")
                return web.json_response(body, status=fault.status, headers=dict(fault.headers))
            case Effect.HANG:
                await self._closing.wait()
            case Effect.RESET:
                _cut(request)
            case Effect.DELAY | Effect.DROP_REPLY:
                pass
        return None

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _answer(
        self, request: web.Request, handler: _Next, record: RequestRecord, *, within_budget: bool
    ) -> web.StreamResponse:
        try:
            self._admit(request, record, within_budget=within_budget)
            record.applied = not record.stray
            return await handler(request)
        except Refusal as refusal:
            return web.json_response(_error_body(refusal.code, refusal.message), status=refusal.status)
        except web.HTTPException as error:
            return web.json_response(
                _error_body("not_found", f"{request.method} {request.path}"), status=error.status
            )

    def _admit(self, request: web.Request, record: RequestRecord, *, within_budget: bool) -> None:
        if not within_budget:
            raise Refusal(429, "rate_limit_exceeded", "Too many requests")
        if request.path != TOKEN_PATH:
            self.credentials.check(request.headers.get("Authorization"))
        if record.oversized:
            raise Refusal(413, "payload_too_large", "Request body is too large (limit is 1MiB)")

    # ── for tests in other processes ─────────────────────────────────────────────────────────────────

    async def _show_ledger(self, _request: web.Request) -> web.Response:
        return web.json_response(self.ledger.to_json())

    async def _show_counts(self, _request: web.Request) -> web.Response:
        return web.json_response(self.ledger.counts())

    async def _create_run(self, request: web.Request) -> web.Response:
        """Arguments of `Ledger.create_run` as a JSON object; answers ``{"run_id": …}``, 400 to others."""
        try:
            return web.json_response({"run_id": self.ledger.create_run(**await request.json())})
        except (ValueError, TypeError) as error:
            return _wrong_order(error)

    async def _take_faults(self, request: web.Request) -> web.Response:
        """Takes ``{"clear": true, "faults": [{…}], "expire_tokens": true, "rate_limit": {…}}``, all optional.

        Faults and the rate limit have the fields of `Fault` and `RateLimit`. An order that makes no sense is
        answered with 400 and what is wrong with it, and changes nothing.
        """
        try:
            order = dict(await request.json())
            faults = [Fault(**fault) for fault in order.get("faults", [])]
            rate_limit = RateLimit(**order["rate_limit"]) if "rate_limit" in order else self.rate_limit
        except (ValueError, TypeError) as error:
            return _wrong_order(error)
        if order.get("clear"):
            self.script.clear()
        self.script.add(*faults)
        if order.get("expire_tokens"):
            self.credentials.expire_tokens()
        self.rate_limit = rate_limit
        return web.json_response({"faults": len(self.script.faults)})


def _wrong_order(error: Exception) -> web.Response:
    return web.json_response(_error_body("bad_request", f"The order makes no sense: {error}"), status=400)


async def _recorded(request: web.Request) -> RequestRecord:
    record = RequestRecord(
        method=request.method,
        path=request.path,
        query=dict(request.query),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=None,
        at_s=time.time(),
        run_id=request.match_info.get("run_id") or request.query.get("run_id"),
        stray=request.match_info.http_exception is not None,
    )
    try:
        record.body = _parsed(await request.read())
    except web.HTTPRequestEntityTooLarge:
        record.oversized = True
    return record


def _parsed(raw: bytes) -> Json:
    try:
        parsed: Json = json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")
    return parsed


def _error_body(code: str, message: str) -> dict[str, Json]:
    return {"ok": False, "error": code, "message": message}


def _cut(request: web.Request) -> None:
    """Resets the connection under the request."""
    if request.transport is not None:
        request.transport.abort()


def _nobody_reads_this() -> web.Response:
    """What must be returned where the connection is gone."""
    return web.Response(status=503)


# ── as a process of its own ──────────────────────────────────────────────────────────────────────────


async def _serve_until_stopped(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    credentials = Credentials(client_id=arguments.client_id)
    if arguments.client_secret:
        credentials.client_secret = arguments.client_secret
    ledger = Ledger(create_on_first_touch=arguments.create_on_first_touch)
    kafka = json.loads(arguments.kafka) if arguments.kafka else None
    async with PortApi.serve(
        arguments.port, org_id=arguments.org_id, credentials=credentials, ledger=ledger, kafka=kafka
    ) as api:
        line = {"url": api.url, "client_id": api.client_id, "client_secret": api.client_secret}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        await stopped.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m agent.sandbox.port_api", description="A stand-in for Port's API."
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--org-id", default="org_sandbox")
    parser.add_argument("--client-id", default="sandbox-client")
    parser.add_argument("--client-secret", default="", help="made up if not given")
    parser.add_argument("--kafka", default="", help="JSON for /v1/kafka-credentials")
    parser.add_argument(
        "--create-on-first-touch", action="store_true", help="unknown runs begin when first named, in place of 404"
    )
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_serve_until_stopped(_arguments()))
