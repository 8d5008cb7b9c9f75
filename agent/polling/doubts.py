"""Runs whose acknowledgement was sent, and perhaps taken: Port is asked until it says whose they are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from agent.domain.events import ClaimAcknowledged
from agent.domain.invocation import RunId
from agent.polling.api import ClaimsApi, Verdict
from agent.polling.claims_file import Kept
from agent.polling.pace import Pace
from agent.ports import Clock, Observer

_QUESTIONS = 20
_QUESTION_S = 10.0
_MOST_WAIT_S = 60.0


class Doubts:
    """Those runs. Belongs to the event loop's thread.

    ``ours`` is called with each that is ours for sure, ``perhaps_ours`` with each that was acknowledged by us or by
    another agent, ``refused`` with each that is not ours.
    """

    def __init__(
        self,
        api: ClaimsApi,
        observer: Observer,
        clock: Clock,
        pace: Pace,
        *,
        ours: Callable[[Kept], None],
        perhaps_ours: Callable[[Kept], None],
        refused: Callable[[RunId], None],
    ) -> None:
        self._api = api
        self._observer = observer
        self._clock = clock
        self._pace = pace
        self._ours = ours
        self._perhaps_ours = perhaps_ours
        self._refused = refused
        self._kept: dict[RunId, Kept] = {}
        self._unanswered = 0
        self._ask_again_at_s = 0.0
        """When it is asked about them next, after a question that Port left unanswered."""

    def add(self, kept: Kept) -> None:
        """Nobody knows yet whether this run is ours."""
        self._kept[kept.run_id] = kept

    def end(self, run_id: RunId) -> bool:
        """That run is pending, so that it was not acknowledged. Whether it was in doubt."""
        return self._kept.pop(run_id, None) is not None

    async def resolve(self) -> None:
        """Acknowledges some of them anew; what Port does not answer stays in doubt.

        That goes to the back, and the waits grow: it must hold up neither the others nor the claims.
        """
        if self._clock.monotonic() < self._ask_again_at_s:
            return
        for run_id, kept in [*islice(self._kept.items(), _QUESTIONS)]:
            answer = await self._api.acknowledge(kept.kind, run_id, _QUESTION_S)
            self._observer.notify(ClaimAcknowledged(str(kept.kind), str(answer.verdict), answer.detail))
            match answer.verdict:
                case Verdict.UNANSWERED:
                    self._kept[run_id] = self._kept.pop(run_id)
                    self._unanswered += 1
                    wait_s = min(self._pace.backoff_s(self._unanswered, 0.0), _MOST_WAIT_S)
                    self._ask_again_at_s = self._clock.monotonic() + wait_s
                    return
                case Verdict.OURS:
                    self._ours(kept)
                case Verdict.TAKEN | Verdict.PERHAPS if self._clock.epoch() < kept.until_epoch_s:
                    self._ours(kept)  # nobody else was given it meanwhile
                case Verdict.TAKEN | Verdict.PERHAPS:
                    self._perhaps_ours(kept)
                case Verdict.REFUSED:
                    self._refused(run_id)
            self._kept.pop(run_id, None)
            self._unanswered = 0
