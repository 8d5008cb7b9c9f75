"""Opens the reports of runs, and ends them in time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial

from agent.domain.redaction import Redactor
from agent.ports import Clock, Observer, RunLookup, Subject
from agent.runs_api.client import RunsClient
from agent.runs_api.details import ReportLimits
from agent.runs_api.journal import Journal
from agent.runs_api.left_over import LeftOverReport
from agent.runs_api.lookup import PortLookup
from agent.runs_api.run_report import PortRunReport, Shared
from agent.threads import in_thread

_LAST_WORDS_S = 1.0
"""What a slow disk gets at the end."""
_REDACTORS = 256
"""So many sets of secrets are kept ready for the next report: more than there are routes, as a rule."""


class PortReporter:
    """Reports to Port's API; implements `agent.ports.Reporter`. Belongs to the event loop's thread.

    A short run that says nothing costs one request, one with output two. ``secrets`` are masked in every report,
    beside each run's own (the agent's credentials, for example). Owns ``client`` and ``journal`` from now on;
    without a journal outcomes do not outlive the process.
    """

    def __init__(
        self,
        client: RunsClient,
        observer: Observer,
        clock: Clock,
        limits: ReportLimits | None = None,
        secrets: Iterable[str] = (),
        journal: Journal | None = None,
    ) -> None:
        self._client = client
        self._shared = Shared(client, observer, clock, limits or ReportLimits(), journal, self._spawn)
        self._redactor = Redactor(secrets)
        self._redactors: dict[tuple[str, ...], Redactor] = {}
        self._open: set[PortRunReport] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, subject: Subject, secrets: Iterable[str]) -> PortRunReport:
        """A report for one run."""
        redactor = self._redactor_for(tuple(secrets)).copy()
        report = PortRunReport(subject, redactor, self._shared, on_end=self._open.discard)
        self._open.add(report)
        return report

    def left_over(self) -> Sequence[LeftOverReport]:
        """What was found in the journal since the last call: all of it at once, unless the disk failed."""
        journal = self._shared.journal
        if journal is None:
            return ()
        lookup: RunLookup = PortLookup(self._client)
        return [LeftOverReport(entry, self._client, lookup, journal) for entry in journal.take_left_over()]

    def learn(self, secret: str) -> None:
        """Masks ``secret`` from now on, also in the reports that are under way."""
        self._redactor.add(secret)
        self._redactors.clear()
        for report in self._open:
            report.mask(secret)

    def hurry(self, timeout_s: float) -> None:
        """Every report under way, and every later one, has this long from now."""
        self._client.hurry(timeout_s)
        for report in tuple(self._open):
            report.hurry(timeout_s)

    async def close(self) -> None:
        """Abandons what is still open, joins every task, closes the connections and the journal. Idempotent."""
        for report in tuple(self._open):
            report.abandon()
        if self._tasks:
            await asyncio.wait(self._tasks)
        try:
            await self._client.close()
        finally:
            if self._shared.journal is not None:
                await in_thread(partial(self._shared.journal.close, _LAST_WORDS_S), "close journal")

    def _redactor_for(self, secrets: tuple[str, ...]) -> Redactor:
        """Who begins with ``secrets``: the settings' and a route's, of which there are few, and the same each time.

        What only one run knows is added to its own copy, and is gone with it.
        """
        redactor = self._redactors.get(secrets)
        if redactor is None:
            if len(self._redactors) >= _REDACTORS:
                self._redactors.clear()
            redactor = self._redactors[secrets] = self._redactor.copy()
            for secret in secrets:
                redactor.add(secret)
        return redactor

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
