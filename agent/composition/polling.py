"""The polling source, built from the settings, and Port's API as it sees it."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from functools import partial
from urllib.parse import quote

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.json import JsonObject
from agent.domain.settlement import Refused
from agent.intake.decode import read_run_id
from agent.polling.api import Acknowledged, Claimed, ClaimedRun, NotClaimed, Verdict
from agent.polling.claims_file import ClaimsFile
from agent.polling.pace import Pace
from agent.polling.source import PollingSettings, PollingSource
from agent.ports import Clock, Observer
from agent.runs_api.client import RunsClient
from agent.runs_api.connection import Answer, Unanswered
from agent.runs_api.wire import excerpt, read_acknowledged
from agent.settings import Settings

_CLAIMS_BYTES = 256 * 1024 * 1024
_BATCH = 1_000
"""The official agent takes any number: a larger one is no reason not to start."""


class PortClaims:
    """Implements `agent.polling.api.ClaimsApi`. Borrows ``client``."""

    def __init__(self, client: RunsClient) -> None:
        self._client = client

    async def claim(
        self, kind: InvocationKind, limit: int, visibility_s: float, exclude: Collection[RunId]
    ) -> Claimed | NotClaimed:
        """Pending runs; see there."""
        if kind is InvocationKind.NODE_RUN:
            answer = await self._client.claim_node_runs(limit, visibility_s)
        else:
            answer = await self._client.claim_runs(limit, visibility_s, [*exclude])
        match answer:
            case Unanswered(reason, wait_s):
                return NotClaimed(excerpt(reason), wait_s)
            case Refused(status_code, message):
                return NotClaimed(f"{status_code}: {message}", is_absent=status_code == 404)
            case runs:
                return _claimed(kind, runs)

    async def acknowledge(self, kind: InvocationKind, run_id: RunId, timeout_s: float) -> Acknowledged:
        """Takes a run; see there."""
        ask = self._client.acknowledge_node_run if kind is InvocationKind.NODE_RUN else self._client.acknowledge_run
        return _acknowledged(await ask(run_id, timeout_s))


def _claimed(kind: InvocationKind, runs: Sequence[JsonObject]) -> Claimed:
    name = "identifier" if kind is InvocationKind.NODE_RUN else "id"
    named = [(read_run_id(run.get(name)), run) for run in runs]
    fit = tuple(ClaimedRun(kind, run_id, run) for run_id, run in named if run_id is not None)
    return Claimed(fit, unnamed=len(runs) - len(fit))


def _acknowledged(answer: Answer) -> Acknowledged:
    """Of a request that was sent more than once each attempt may have been taken whose answer did not come."""
    if isinstance(answer, Unanswered):
        return Acknowledged(Verdict.UNANSWERED, excerpt(answer.reason))
    detail = f"{answer.status_code}: {excerpt(answer.message) or 'it took none'}"
    is_taken = read_acknowledged(answer.body) if answer.ok else False
    if is_taken is None:
        return Acknowledged(Verdict.UNANSWERED, "Port's answer does not have the documented form")
    if is_taken:
        return Acknowledged(Verdict.OURS)
    if answer.status_code in (401, 403):
        return Acknowledged(Verdict.UNANSWERED, detail)  # of the agent, not of the run: it may be right again
    if answer.ok or answer.status_code in (404, 409):
        return Acknowledged(Verdict.PERHAPS if answer.maybe_repeated else Verdict.TAKEN, detail)
    return Acknowledged(Verdict.UNANSWERED if answer.maybe_repeated else Verdict.REFUSED, detail)


def open_claims_file(settings: Settings) -> ClaimsFile:
    """The runs that were acknowledged and are not settled. Raises `OSError` and `sqlite3.Error`."""
    organisation = quote(settings.PORT_ORG_ID, safe="")
    return ClaimsFile.open_first_free(settings.AGENT_STATE_DIR / "claims" / organisation, _CLAIMS_BYTES)


def polling_settings(settings: Settings) -> PollingSettings:
    """The polling part of the settings."""
    pace = Pace(
        interval_s=settings.POLLING_INTERVAL_SECONDS,
        first_backoff_s=settings.POLLING_INITIAL_BACKOFF_SECONDS,
        backoff_factor=settings.POLLING_BACKOFF_FACTOR,
        max_backoff_s=settings.POLLING_MAX_BACKOFF_SECONDS,
        jitter=settings.POLLING_BACKOFF_JITTER_FACTOR,
    )
    return PollingSettings(
        pace=pace,
        batch_size=min(settings.POLLING_RUNS_BATCH_SIZE, _BATCH),
        slots=settings.AGENT_MAX_CONCURRENT_RUNS,
        max_failure_s=settings.POLLING_MAX_FAILURE_DURATION_SECONDS,
        agent_name=socket.gethostname(),
    )


def open_polling_source(settings: Settings, client: RunsClient, observer: Observer, clock: Clock) -> PollingSource:
    """The source. Borrows ``client``."""
    open_file = partial(open_claims_file, settings)
    return PollingSource(polling_settings(settings), PortClaims(client), open_file, observer, clock)
