"""Pending runs, as Port keeps them for whoever polls: claimed for a while, acknowledged once. No network here."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from agent.domain.invocation import NODE_RUN_PREFIX
from agent.domain.json import JsonObject

DEFAULT_VISIBILITY_S = 60.0


@dataclass(slots=True)
class PendingRun:
    """One run that was not begun when it was triggered. ``claims``: how often it was given out."""

    run_id: str
    document: JsonObject = field(repr=False)
    hidden_until_s: float = 0.0
    claims: int = 0
    is_acknowledged: bool = False


class PendingRuns:
    """All of them. ``now_s`` is a clock that only goes forward."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self.runs: dict[str, PendingRun] = {}

    def add(self, run_id: str, invocation: JsonObject) -> None:
        """From now on the run may be claimed; ``invocation`` is its rendered method, with its body."""
        self.runs[run_id] = PendingRun(run_id, _document(run_id, invocation))

    def claim(
        self,
        limit: int,
        visibility_s: float,
        is_open: Callable[[str], bool],
        *,
        nodes: bool = False,
        exclude: Collection[str] = (),
    ) -> list[dict[str, Any]]:
        """Gives out up to ``limit`` runs that nobody has, the oldest first, and hides them for ``visibility_s``."""
        now_s = self._now_s()
        free = [
            run
            for run in self.runs.values()
            if run.run_id.startswith(NODE_RUN_PREFIX) == nodes
            and not run.is_acknowledged
            and run.hidden_until_s <= now_s
            and run.run_id not in exclude
            and is_open(run.run_id)
        ][:limit]
        for run in free:
            run.hidden_until_s = now_s + visibility_s
            run.claims += 1
        return [dict(run.document) for run in free]

    def acknowledge(self, run_id: str) -> bool | None:
        """Takes it for good. ``False``: somebody has; ``None``: there is no such run."""
        run = self.runs.get(run_id)
        if run is None:
            return None
        before, run.is_acknowledged = run.is_acknowledged, True
        return not before

    def show(self, run_id: str) -> None:
        """Ends the claim of a run now, as if its time were over."""
        self.runs[run_id].hidden_until_s = 0.0


def _document(run_id: str, invocation: JsonObject) -> JsonObject:
    if run_id.startswith(NODE_RUN_PREFIX):
        return {
            "identifier": run_id,
            "status": "IN_PROGRESS",
            "config": invocation,
            "pendingExecution": True,
            "installationId": "_PORT_EXEC_AGENT",
        }
    return {"_id": run_id, "id": run_id, "status": "IN_PROGRESS", "payload": invocation}
