"""Opens the reports of runs, and ends them in time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.redaction import Redactor
from agent.ports import Clock, Observer
from agent.runs_api.client import RunsClient
from agent.runs_api.details import ReportLimits
from agent.runs_api.run_report import PortRunReport
from agent.runs_api.targets import target_of


class PortReporter:
    """Reports to Port's API; implements `agent.ports.Reporter`. Belongs to the event loop's thread.

    A short run that says nothing costs one request, one with output two. ``secrets`` are masked in every report,
    beside each run's own (the agent's credentials, for example). Owns ``client`` from now on.
    """

    def __init__(
        self,
        client: RunsClient,
        observer: Observer,
        clock: Clock,
        limits: ReportLimits | None = None,
        secrets: Iterable[str] = (),
    ) -> None:
        self._client = client
        self._observer = observer
        self._clock = clock
        self._limits = limits or ReportLimits()
        self._redactor = Redactor(secrets)
        self._open: set[PortRunReport] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, run_id: RunId | None, kind: InvocationKind, secrets: Iterable[str]) -> PortRunReport:
        """A report for one run."""
        redactor = self._redactor.copy()
        for secret in secrets:
            redactor.add(secret)
        report = PortRunReport(
            target_of(run_id, kind),
            self._client,
            self._observer,
            self._clock,
            self._limits,
            redactor,
            spawn=self._spawn,
            on_end=self._open.discard,
        )
        self._open.add(report)
        return report

    def hurry(self, timeout_s: float) -> None:
        """Every report under way, and every later one, has this long from now."""
        self._client.hurry(timeout_s)
        for report in tuple(self._open):
            report.hurry(timeout_s)

    async def close(self) -> None:
        """Abandons what is still open, joins every task and closes the connections. Idempotent."""
        for report in tuple(self._open):
            report.abandon()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._client.close()

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
