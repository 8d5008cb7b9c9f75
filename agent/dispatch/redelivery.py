"""What becomes of a message that was here before: begun, asked about in Port, waited for, or given up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakKeyDictionary

from agent.dispatch.claims import Claim
from agent.dispatch.job import Job
from agent.domain.earlier import Earlier, Ending, Past
from agent.domain.invocation import Invocation
from agent.domain.outcome import Failed, FailureKind, Succeeded
from agent.domain.route import OnInterrupted, Route
from agent.ports import Clock, Delivery, RunLookup, Standing

_LOOK_AGAIN_S = 10.0
_RETURN_S = 30.0
"""What an agent that had an outcome to tell gets to come back: it has the details in its journal."""
_MARGIN_S = 60.0
"""What an agent that still has a run gets beyond the route's time limit, to stop it and to say so."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Its work is to be done. ``attempt`` counts from 1; ``note`` is for the run's log."""

    attempt: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True)
class Over:
    """It has ended in Port: nothing is left to do or to say."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Another agent may be at it still: it is to be looked at again after so many seconds."""

    in_s: float


@dataclass(frozen=True, slots=True)
class Conclude:
    """Nothing is to be done for it, but Port is to be told that this is how it ended."""

    outcome: Succeeded | Failed


Decision: TypeAlias = Begin | Over | LookAgain | Conclude


class Redelivery:
    """Decides over jobs as they get their slot. New ones begin at once and cost no request."""

    def __init__(self, lookup: RunLookup, clock: Clock, look_again_s: float = _LOOK_AGAIN_S) -> None:
        self._lookup = lookup
        self._clock = clock
        self._look_again_s = look_again_s
        self._seen_at_s: WeakKeyDictionary[Claim, float] = WeakKeyDictionary()

    async def decide(self, job: Job) -> Decision:
        """What to do with ``job``; waits for Port where it must be asked. Cancelling it changes nothing."""
        earlier = job.delivery.earlier
        if earlier is None:
            return Begin()
        if earlier.past is Past.STOPPED:
            return Begin(earlier.begun + 1, f"attempt {earlier.begun + 1}: the one before was stopped in order")
        standing = await self._lookup.standing(job.invocation.run_id, job.invocation.kind)
        now_s = self._clock.monotonic()
        seen_s = now_s - self._seen_at_s.setdefault(job.claim, now_s)
        patience = Patience(now_s - job.delivery.received_at_s, seen_s, self._look_again_s)
        return decide(earlier, standing, job.routed.route, patience)

    async def has_ended_since(self, job: Job) -> bool:
        """Whether a run that is to be repeated has ended in Port meanwhile: its former agent may just have told it.

        For when the start of the repetition is marked.
        """
        earlier = job.delivery.earlier
        if earlier is None or earlier.past not in (Past.INTERRUPTED, Past.HANDED_OVER):
            return False
        return await self.is_over(job.delivery, job.invocation)

    async def is_over(self, delivery: Delivery, invocation: Invocation) -> bool:
        """Whether there is nothing left to say of a run that is not to be executed; waits for Port as `decide`."""
        if delivery.earlier is None:
            return False
        return await self._lookup.standing(invocation.run_id, invocation.kind) is Standing.OVER


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an agent that may be at a run still was given. Times in seconds.

    ``waited_s``: since the message was delivered here; ``seen_s``: since Port first told how far the run is, for
    after an outage of Port the other agent has yet to say what it could not say before.
    """

    waited_s: float
    seen_s: float
    look_again_s: float

    def is_over(self, route: Route) -> bool:
        """Whether the other agent must have told by now, if it were alive."""
        return self.waited_s >= route.timeout_s + _MARGIN_S and self.seen_s >= _MARGIN_S


def decide(earlier: Earlier, standing: Standing, route: Route, patience: Patience) -> Decision:
    """The rule for a message that Port was asked about."""
    if standing is Standing.OVER:
        return Over()
    if earlier.past is Past.ENDED:
        return _conclude_for_another(earlier, patience)
    if earlier.past is Past.UNKNOWN:
        return Begin()
    if earlier.past is Past.HANDED_OVER and not patience.is_over(route):
        return LookAgain(patience.look_again_s)
    interrupted = f"interrupted while running on {earlier.agent or 'another agent'}"
    if route.on_interrupted is not OnInterrupted.RERUN:
        return Conclude(Failed(interrupted, FailureKind.INTERRUPTED))
    if earlier.begun < route.max_attempts:
        attempt = earlier.begun + 1
        return Begin(attempt, f"attempt {attempt} of {route.max_attempts}: the one before was {interrupted}")
    return Conclude(Failed(f"{interrupted}, in the last of {route.max_attempts} attempts", FailureKind.INTERRUPTED))


def _conclude_for_another(earlier: Earlier, patience: Patience) -> Decision:
    if earlier.ending is Ending.ACCEPTED:
        return Over()
    if patience.seen_s < _RETURN_S:
        return LookAgain(patience.look_again_s)
    who = earlier.agent or "another agent"
    if earlier.ending is Ending.SUCCESS:
        return Conclude(Succeeded(f"succeeded on {who}, which could not tell Port; its links and outputs are lost"))
    return Conclude(Failed(f"failed on {who}, which could not tell Port why"))
