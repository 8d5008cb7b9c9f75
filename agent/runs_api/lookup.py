"""Asks Port how far a run is, for whoever has to decide over one that was delivered before."""

from __future__ import annotations

import asyncio
import random

import structlog

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.retry import Backoff
from agent.domain.settlement import Refused, Undelivered
from agent.ports import Standing
from agent.runs_api.client import RunsClient

log = structlog.get_logger(__name__)

_BACKOFF = Backoff(first_s=1.0, cap_s=30.0)
_GONE = frozenset({404, 410, 422})
"""What Port says of a run that it does not know, or of an id that cannot be one."""


class PortLookup:
    """Implements `agent.ports.RunLookup`. Borrows ``client``."""

    def __init__(self, client: RunsClient, backoff: Backoff = _BACKOFF) -> None:
        self._client = client
        self._backoff = backoff

    async def standing(self, run_id: RunId | None, kind: InvocationKind) -> Standing:
        """How far the run is. Nodes of workflows cannot be asked about; nor can what names no run."""
        if run_id is None or kind is not InvocationKind.ACTION_RUN:
            return Standing.UNKNOWN
        attempt = 0
        while True:
            match await self._client.get_run(run_id):
                case Refused(status_code, message):
                    if status_code in _GONE:
                        return Standing.UNKNOWN
                    reason = f"{status_code}: {message}"
                case Undelivered(said):
                    reason = said
                case run:
                    return Standing.OVER if run.is_over else Standing.IN_PROGRESS
            attempt += 1
            log.debug("Port does not tell how far this run is: asking again", run_id=run_id, reason=reason)
            await asyncio.sleep(self._backoff.wait_s(attempt, random.random()))  # noqa: S311 - jitter, no secret
