"""Asks Port how far a run is, for whoever has to decide over one that was delivered before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection

import structlog

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.retry import Backoff
from agent.domain.settlement import Refused, Undelivered
from agent.ports import Standing
from agent.runs_api.client import RunsClient
from agent.runs_api.wire import RunState

log = structlog.get_logger(__name__)

_BACKOFF = Backoff(first_s=1.0, cap_s=30.0)
_GONE = frozenset({404, 410, 422})
"""What Port says of a run that it does not know, or of an id that cannot be one."""

_NOT_TOLD = "Port does not tell how far this run is: asking again"
_REFUSALS = 5
"""So many answers that are none, but final ones, and nothing is known of a run."""
_QUESTIONS = 20
"""So many runs are asked about one by one, each time."""


class PortLookup:
    """Implements `agent.ports.RunLookup`. Borrows ``client``."""

    def __init__(self, client: RunsClient, backoff: Backoff = _BACKOFF) -> None:
        self._client = client
        self._backoff = backoff

    async def standing(self, run_id: RunId | None, kind: InvocationKind) -> Standing:
        """How far the run is. What names no run cannot be asked about.

        Nodes of workflows can only be found by their external id, which they have once we ended them: of one that
        is not found that way nothing is known.
        """
        if run_id is None or kind is InvocationKind.CHANGE_EVENT:
            return Standing.UNKNOWN
        ask = self._standing_of_node if kind is InvocationKind.NODE_RUN else self._standing_of_run
        attempt = 0
        while True:
            answer = await ask(run_id)
            if isinstance(answer, Standing):
                return answer
            attempt += 1
            if isinstance(answer, Refused):
                if attempt == 1:
                    log.warning(_NOT_TOLD, run_id=run_id, status_code=answer.status_code, reason=answer.message)
                if attempt >= _REFUSALS:
                    log.warning("Port refuses to tell how far this run is: taken for unknown", run_id=run_id)
                    return Standing.UNKNOWN
            else:  # the API's own trouble, which is told where it is asked
                log.debug(_NOT_TOLD, run_id=run_id, reason=answer.reason)
            await asyncio.sleep(self._backoff.wait_s(attempt, random.random()))  # noqa: S311 - jitter, no secret

    async def _standing_of_run(self, run_id: RunId) -> Standing | Refused | Undelivered:
        match await self._client.get_run(run_id):
            case Refused(status_code) if status_code in _GONE:
                return Standing.UNKNOWN
            case Refused() | Undelivered() as untold:
                return untold
            case run:
                return Standing.OVER if run.is_over else Standing.IN_PROGRESS

    async def _standing_of_node(self, run_id: RunId) -> Standing | Undelivered:
        match await self._client.completed_node_runs(run_id):
            case Refused():  # this way of asking is nowhere documented
                return Standing.UNKNOWN
            case Undelivered() as untold:
                return untold
            case completed:
                return Standing.OVER if run_id in completed else Standing.UNKNOWN

    async def closed(self, run_ids: Collection[RunId]) -> frozenset[RunId]:
        """Those that have ended: of one it asks itself, of many it asks for the list of the running ones.

        The list may be too long to hold all, so that one which is not in it is asked about before it is believed
        to have ended; a few of them, if there are many. Asks nothing while requests are scarce.
        """
        if self._client.budget_is_low():
            return frozenset()
        doubtful = frozenset(run_ids)
        if len(doubtful) > 1:
            running = await self._client.running_runs()
            if isinstance(running, Refused | Undelivered):
                return frozenset()
            doubtful -= running
        asked = random.sample(sorted(doubtful), min(len(doubtful), _QUESTIONS))
        answers = [(run_id, await self._client.get_run(run_id)) for run_id in asked]
        return frozenset(run_id for run_id, run in answers if isinstance(run, RunState) and run.is_over)
