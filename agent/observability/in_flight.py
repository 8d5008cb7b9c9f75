"""Which runs are being executed right now, as told by the facts of their starts and ends."""

from __future__ import annotations

from dataclasses import dataclass

from agent.domain.events import RunFinished, RunStarted
from agent.domain.invocation import RunId


@dataclass(frozen=True, slots=True)
class RunInFlight:
    """One run that has started and not finished. ``since_s`` is monotonic."""

    executor: str
    route: str
    run_id: RunId | None
    action: str | None
    since_s: float


class RunsInFlight:
    """Pairs starts with ends. Not thread-safe: each observer keeps its own, under its own lock.

    Runs without an id are told apart by route and executor only; among equals the oldest is taken to end first.
    """

    def __init__(self) -> None:
        self._runs: dict[tuple[str, str, RunId | None], list[RunInFlight]] = {}

    def start(self, event: RunStarted, now_s: float) -> None:
        """Notes a start."""
        run = RunInFlight(event.executor, event.route, event.run_id, event.action, now_s)
        self._runs.setdefault((event.executor, event.route, event.run_id), []).append(run)

    def finish(self, event: RunFinished) -> None:
        """Notes an end; also of a run that never started (no route, bad template)."""
        key = (event.executor, event.route, event.run_id)
        runs = self._runs.get(key)
        if runs is None:
            return
        runs.pop(0)
        if not runs:
            del self._runs[key]

    def all(self) -> list[RunInFlight]:
        """Every run in flight, the oldest first."""
        return sorted((run for runs in self._runs.values() for run in runs), key=lambda run: run.since_s)
