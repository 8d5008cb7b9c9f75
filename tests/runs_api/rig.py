"""The room under test over real HTTP, against the stand-in of Port's API."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import httpx

from agent.domain.events import Event
from agent.domain.invocation import InvocationKind, RunId
from agent.domain.retry import Backoff
from agent.net.client import open_client
from agent.ports import Subject
from agent.runs_api.client import RunsClient
from agent.runs_api.connection import RequestLimits
from agent.runs_api.details import ReportLimits
from agent.runs_api.log_buffer import LogLimits
from agent.runs_api.reporter import PortReporter
from agent.runs_api.run_report import PortRunReport
from agent.sandbox.port_api import Credentials, Fault, PortApi

E = TypeVar("E")

QUICK = RequestLimits(
    backoff=Backoff(first_s=0.01, cap_s=0.05),
    token_backoff=Backoff(first_s=0.01, cap_s=0.05),
    yield_s=0.3,
)
"""Limits that spare tests the waiting."""

HASTY = replace(QUICK, attempt_timeout_s=0.25)
"""For tests where Port does not answer at all."""

BRISK_LOG = LogLimits(interval_s=0.05, later_interval_s=0.1, flush_timeout_s=5.0)


@dataclass
class Facts:
    """An observer that remembers."""

    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class ShiftedClock:
    """The machine's clock, or one that is ahead of it."""

    ahead_s: float = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def epoch(self) -> float:
        return time.time() + self.ahead_s


@dataclass
class Rig:
    api: PortApi
    client: RunsClient
    reporter: PortReporter
    facts: Facts
    clock: ShiftedClock

    def action_run(self, *secrets: str) -> tuple[str, PortRunReport]:
        run_id = self.api.ledger.create_run("act")
        return run_id, self.reporter.open(Subject(RunId(run_id), InvocationKind.ACTION_RUN), secrets)

    def node_run(self, *secrets: str) -> tuple[str, PortRunReport]:
        run_id = self.api.ledger.create_run("act", run_id=f"wfnr_{len(self.api.ledger.runs)}")
        return run_id, self.reporter.open(Subject(RunId(run_id), InvocationKind.NODE_RUN), secrets)

    def faults(self, *faults: Fault) -> None:
        self.api.script.add(*faults)

    def bodies(self, path: str, method: str = "*") -> list[Any]:
        return [request.body for request in self.api.ledger.requests_to(path, method)]

    def requests_of(self, run_id: str) -> list[str]:
        return [f"{r.method} {r.path}" for r in self.api.ledger.requests if r.run_id == run_id]


def with_rig(
    scenario: Callable[[Rig], Awaitable[None]],
    *,
    limits: RequestLimits = QUICK,
    report: ReportLimits | None = None,
    credentials: Credentials | None = None,
    base: Callable[[str], str] = str,
    kafka: dict[str, Any] | None = None,
) -> None:
    """Runs the scenario; then everything is closed, and no task may be left over."""

    async def run() -> None:
        async with PortApi.serve(credentials=credentials, kafka=kafka) as api:
            facts, clock = Facts(), ShiftedClock()
            client = RunsClient(
                open_client(
                    tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                    max_connections=100,
                    timeout=httpx.Timeout(5.0),
                    user_agent="test",
                ),
                base_url=base(api.url),
                client_id=lambda: api.client_id,
                client_secret=lambda: api.client_secret,
                observer=facts,
                clock=clock,
                limits=limits,
            )
            reporter = PortReporter(client, facts, clock, report or ReportLimits(log=BRISK_LOG))
            try:
                await scenario(Rig(api, client, reporter, facts, clock))
                assert api.ledger.strays == []
            finally:
                await reporter.close()
                await reporter.close()

    asyncio.run(run())


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Returns when the condition holds."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come true"
        await asyncio.sleep(0.005)
