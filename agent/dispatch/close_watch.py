"""Runs that somebody closes in Port while they are executed here: they are stopped, and say nothing more."""

from __future__ import annotations

import asyncio

import structlog

from agent.dispatch.life import Lives
from agent.domain.outcome import CancelReason
from agent.ports import RunLookup

log = structlog.get_logger(__name__)


class CloseWatch:
    """Looks after the runs that have been executed for longer than ``cycle_s``, all of them together.

    Short runs, and an agent without runs, cost no request. Nodes of workflows cannot be asked about.
    """

    def __init__(self, lives: Lives, lookup: RunLookup, cycle_s: float) -> None:
        self._lives = lives
        self._lookup = lookup
        self._cycle_s = cycle_s

    async def keep_watching(self) -> None:
        """Watches until it is cancelled."""
        while True:
            await asyncio.sleep(self._cycle_s)
            run_ids = self._lives.executing_for(self._cycle_s)
            if not run_ids:
                continue
            for run_id in await self._lookup.closed(run_ids):
                log.info("the run was closed in Port: stopping it", run_id=run_id)
                self._lives.stop(run_id, CancelReason.CLOSED_IN_PORT)
