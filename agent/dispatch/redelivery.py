"""What becomes of a message that was here before: begun, asked about in Port, waited for, or given up."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from agent.dispatch.claims import Claim
from agent.dispatch.decision import Begin, Conclude, Decision, DecisionOnRefused, LookAgain, Over
from agent.dispatch.job import Job
from agent.dispatch.reception import Refusal
from agent.domain.earlier import Earlier, Ending, Past
from agent.domain.outcome import Failed, FailureKind, Succeeded
from agent.domain.route import OnInterrupted, Route
from agent.ports import Clock, RunLookup, Standing


@dataclass(frozen=True, slots=True)
class Waits:
    """How long other agents are waited for, in seconds.

    ``margin_s``: what one that still has a run gets beyond the route's time limit, to stop it, to write its
    entities and to say so. ``return_s``: what one gets to come back that had an outcome to tell, with its details.
    ``timeout_s``: the time limit of a run that has no route here. ``look_again_s``: from one look to the next, at
    first; later ones are up to six times as far apart.
    """

    margin_s: float = 75.0
    return_s: float = 30.0
    timeout_s: float = 3600.0
    look_again_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an agent that may be at a run still was given already. Times in seconds.

    ``waited_s``: since the message was delivered here; ``seen_s``: since Port first answered, for after an outage
    of Port the other agent has yet to say what it could not say before.
    """

    waited_s: float
    seen_s: float
    waits: Waits

    def is_over(self, timeout_s: float) -> bool:
        """Whether the other agent must have told by now, if it were alive."""
        return self.waited_s >= timeout_s + self.waits.margin_s and self.seen_s >= self.waits.margin_s

    def look_again(self) -> LookAgain:
        """When to look next."""
        first_s = self.waits.look_again_s
        return LookAgain(min(max(first_s, self.waited_s / 6), 6 * first_s), is_first=self.seen_s == 0)


class Redelivery:
    """Decides over what was delivered before. What is new begins at once, and costs no request."""

    def __init__(self, lookup: RunLookup, clock: Clock, waits: Waits) -> None:
        self._lookup = lookup
        self._clock = clock
        self._waits = waits
        self._seen_at_s: WeakKeyDictionary[Claim, float] = WeakKeyDictionary()

    async def decide(self, job: Job) -> Decision:
        """What to do with ``job``; waits for Port where it must be asked. Cancelling it changes nothing."""
        earlier = job.delivery.earlier
        if earlier is None:
            return Begin()
        standing = await self._lookup.standing(job.run_id, job.kind)
        return decide(earlier, standing, job.routed.route, self._patience(job.claim, job.delivery.received_at_s))

    async def decide_on_refused(self, refusal: Refusal) -> DecisionOnRefused:
        """How a run ends that no executor of ours will see: perhaps one of another agent's does, or did."""
        earlier = refusal.delivery.earlier
        if earlier is None:
            return Conclude(refusal.outcome)
        standing = await self._lookup.standing(refusal.invocation.run_id, refusal.invocation.kind)
        patience = self._patience(refusal.claim, refusal.delivery.received_at_s)
        return decide_on_refused(earlier, standing, refusal.outcome, patience)

    async def has_ended_since(self, job: Job) -> bool:
        """Whether a run that is to be repeated has ended in Port meanwhile: its former agent may just have told it.

        For when the start of the repetition is marked.
        """
        earlier = job.delivery.earlier
        if earlier is None or earlier.past not in (Past.INTERRUPTED, Past.HANDED_OVER):
            return False
        return await self._lookup.standing(job.run_id, job.kind) is Standing.OVER

    def _patience(self, claim: Claim, received_at_s: float) -> Patience:
        now_s = self._clock.monotonic()
        return Patience(now_s - received_at_s, now_s - self._seen_at_s.setdefault(claim, now_s), self._waits)


def redelivery_word(earlier: Earlier, decision: Begin | Over | Conclude) -> str:
    """What became of a message that was delivered before, as `RunRedelivered` says it."""
    match decision:
        case Begin():
            return "unsure" if earlier.past is Past.UNKNOWN else "begun"
        case Over():
            return "over"
        case Conclude(Failed(kind=FailureKind.INTERRUPTED)):
            return "interrupted"
        case Conclude():
            return "concluded"


_IN_PART = ": that agent is gone, and the work may be done in part"


def decide(earlier: Earlier, standing: Standing, route: Route, patience: Patience) -> Decision:
    """The rule for a message that Port was asked about."""
    if standing is Standing.OVER:
        return Over()
    match earlier.past:
        case Past.UNKNOWN:
            return Begin()
        case Past.STOPPED:
            return Begin(earlier.begun + 1, f"attempt {earlier.begun + 1}: the one before was stopped in order")
        case Past.ENDED:
            return _conclude_for_another(earlier, patience)
        case Past.HANDED_OVER if not patience.is_over(route.timeout_s):
            return patience.look_again()
        case _:
            return _interrupted(earlier, standing, route)


def decide_on_refused(
    earlier: Earlier, standing: Standing, refused: Failed, patience: Patience
) -> DecisionOnRefused:
    """The rule for a message that we cannot do anything for, though somebody else perhaps could."""
    if standing is Standing.OVER:
        return Over()
    if earlier.past is Past.ENDED:
        return _conclude_for_another(earlier, patience)
    if earlier.past is Past.HANDED_OVER and not patience.is_over(patience.waits.timeout_s):
        return patience.look_again()
    return Conclude(refused)


def _interrupted(earlier: Earlier, standing: Standing, route: Route) -> Decision:
    """Whoever was at it is gone. One that was handed over, and that Port does not tell of, may well have ended."""
    interrupted = f"interrupted while running on {earlier.agent or 'another agent'}"
    may_have_ended = earlier.past is Past.HANDED_OVER and standing is Standing.UNKNOWN
    if route.on_interrupted is not OnInterrupted.RERUN or may_have_ended:
        return Conclude(Failed(f"{interrupted}{_IN_PART}", FailureKind.INTERRUPTED))
    if earlier.begun < route.max_attempts:
        attempt = earlier.begun + 1
        return Begin(attempt, f"attempt {attempt} of {route.max_attempts}: the one before was {interrupted}")
    last = f"{interrupted}, in the last of {route.max_attempts} attempts{_IN_PART}"
    return Conclude(Failed(last, FailureKind.INTERRUPTED))


def _conclude_for_another(earlier: Earlier, patience: Patience) -> DecisionOnRefused:
    if earlier.ending is Ending.ACCEPTED:
        return Over()
    if patience.seen_s < patience.waits.return_s:
        return patience.look_again()
    who = earlier.agent or "another agent"
    if earlier.ending is Ending.SUCCESS:
        return Conclude(Succeeded(f"succeeded on {who}, which could not tell Port; its links and outputs are lost"))
    return Conclude(Failed(f"failed on {who}, which could not tell Port why"))
