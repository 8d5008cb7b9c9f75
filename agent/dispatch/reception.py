"""From a delivery to a run that wants a slot: decoded, known already or not, routed. What is not ours ends here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import structlog

from agent.dispatch.admission import Ticket
from agent.dispatch.claims import Claim, Claims
from agent.dispatch.job import Job
from agent.dispatch.second_look import SecondLook
from agent.domain.errors import TemplateError
from agent.domain.events import MessageIgnored, MessageRejected, RunReceived, RunRedelivered
from agent.domain.invocation import Channel, Invocation, InvocationKind, RunId
from agent.domain.json import compact
from agent.domain.outcome import Failed, FailureKind
from agent.domain.route import Unrouted
from agent.domain.settlement import Settlement
from agent.ports import (
    Decoded,
    Delivery,
    Intake,
    NotOurs,
    Observer,
    Quarantine,
    Router,
    Source,
    Subject,
    Tracer,
    Unacceptable,
    Unexecutable,
    Verdict,
)

log = structlog.get_logger(__name__)

_DEFECT = "a defect of the agent: this message could not be read to its end; the agent's log says more"


IsForOthers: TypeAlias = Callable[[Invocation, Unrouted], bool]
"""Whether a message for agents that no route of ours takes is left to other agents, which filter the same topic."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A run of ours that no executor will ever see, and how it ends. ``route`` is for metrics."""

    delivery: Delivery
    claim: Claim
    invocation: Invocation
    outcome: Failed
    route: str


class Reception:
    """Receives deliveries. Settles at once those that are no run of ours, or a run that is taken care of.

    ``quarantine`` is given what cannot be acted on, ``second_look`` what perhaps can be later. ``is_for_others``
    says what is left to others; what is not ends its run. ``tracer`` gives runs their traces, if they shall have
    any.
    """

    def __init__(
        self,
        source: Source,
        intake: Intake,
        router: Router,
        observer: Observer,
        quarantine: Quarantine,
        second_look: SecondLook,
        *,
        is_for_others: IsForOthers,
        tracer: Tracer | None = None,
    ) -> None:
        self._source = source
        self._intake = intake
        self._router = router
        self._observer = observer
        self._quarantine = quarantine
        self._second_look = second_look
        self._is_for_others = is_for_others
        self._tracer = tracer
        self._claims = Claims(source)

    @property
    def kept(self) -> int:
        """How many messages are kept for another look."""
        return len(self._second_look)

    def take_again(self) -> list[Delivery]:
        """Those, as far as they are ours still, to be received once more."""
        return [delivery for delivery in self._second_look.take() if self._source.is_ours(delivery.receipt)]

    def claim_left_over(self, subject: Subject) -> Claim:
        """Takes a run in hand that ended in an earlier life of this agent; its message may be delivered again."""
        return self._claims.open_left_over(subject)

    def receive(self, delivery: Delivery) -> Ticket[Job] | Refusal | None:
        """What is to be done for ``delivery``. ``None``: nothing, it is settled, or will be with its run.

        Never raises: a defect of ours costs this message, told loudly, and not the agent.
        """
        verdict: Verdict | None = None
        try:
            verdict = self._intake.decode(delivery.body, delivery.channel)
            return self._act(delivery, verdict)
        except Exception:
            log.exception("a defect of the agent: this message was not read", origin=delivery.origin)
            return self._after_defect(delivery, verdict)

    def _act(self, delivery: Delivery, verdict: Verdict) -> Ticket[Job] | Refusal | None:
        match verdict:
            case NotOurs(reason):
                self._pass_over(delivery, reason)
            case Unacceptable(_, _, run_id, True) if self._second_look.keep(delivery):
                log.debug("a signature does not fit: it is looked at again", run_id=run_id, origin=delivery.origin)
            case Unacceptable(reason, detail, run_id):
                self._reject(delivery, reason, detail, run_id)
            case Decoded(invocation) | Unexecutable(invocation):
                if self._claims.has(invocation.run_id, delivery):
                    log.info("a run was delivered again and is not begun again", run_id=invocation.run_id)
                    self._observer.notify(RunRedelivered(invocation.run_id, "in_hand"))
                elif isinstance(verdict, Unexecutable):
                    return self._unexecutable(delivery, invocation, verdict.detail)
                else:
                    return self._route(delivery, invocation)
        return None

    def _reject(self, delivery: Delivery, reason: str, detail: str, run_id: RunId | None = None) -> None:
        self._observer.notify(MessageRejected(self._source.name, reason, f"{delivery.origin}: {detail}", run_id))
        self._quarantine.keep(delivery.body, delivery.origin, reason, detail)
        self._source.settle(delivery.receipt, Settlement.REJECT)

    def _after_defect(self, delivery: Delivery, verdict: Verdict | None) -> Refusal | None:
        """Only of a message for agents it is known, without its route, that nobody else will end its run."""
        if isinstance(verdict, Decoded | Unexecutable) and verdict.invocation.for_agents:
            self._quarantine.keep(delivery.body, delivery.origin, "defect", _DEFECT)
            return self._refuse(delivery, verdict.invocation, Failed(_DEFECT, FailureKind.EXCEPTION), "unrouted")
        self._reject(delivery, "defect", _DEFECT)
        return None

    def _unexecutable(self, delivery: Delivery, invocation: Invocation, detail: str) -> Refusal | None:
        """Ends a run whose message cannot be read in full, if it is ours by the rules for those that can."""
        routed = self._router.resolve(invocation)
        if isinstance(routed, Unrouted):
            if not invocation.for_agents:
                self._reject(delivery, "undecodable", detail, invocation.run_id)
                return None
            if self._is_for_others(invocation, routed):
                self._pass_over(delivery, "unrouted")
                return None
        route = "unrouted" if isinstance(routed, Unrouted) else routed.route.name
        self._observer.notify(RunReceived(self._source.name, route, invocation.run_id))
        self._quarantine.keep(delivery.body, delivery.origin, "unexecutable", detail)
        failed = Failed(f"the run cannot be executed: {detail}", FailureKind.UNREADABLE)
        return self._refuse(delivery, invocation, failed, route)

    def _refuse(self, delivery: Delivery, invocation: Invocation, failed: Failed, route: str) -> Refusal:
        claim = self._claims.open(invocation.run_id, delivery)
        return _refusal(self._traced(delivery, invocation), claim, invocation, failed, route)

    def _traced(self, delivery: Delivery, invocation: Invocation) -> Delivery:
        """It is a run of ours: from here on it is followed, if any are."""
        if self._tracer is None:
            return delivery
        return replace(delivery, trace=self._tracer.begin(delivery, invocation))

    def _pass_over(self, delivery: Delivery, reason: str) -> None:
        self._observer.notify(MessageIgnored(self._source.name, reason))
        self._source.settle(delivery.receipt, Settlement.ACCEPT)

    def _route(self, delivery: Delivery, invocation: Invocation) -> Ticket[Job] | Refusal | None:
        routed = self._router.resolve(invocation)
        if isinstance(routed, Unrouted):
            return self._unrouted(delivery, invocation, routed)
        claim = self._claims.open(invocation.run_id, delivery)
        delivery = self._traced(delivery, invocation)
        route = routed.route.name
        self._observer.notify(RunReceived(self._source.name, route, invocation.run_id))
        try:
            return _ticket(Job(delivery, claim, invocation, routed, self._intake))
        except TemplateError as error:
            failed = Failed(f"the route's key: {error}", FailureKind.BAD_TEMPLATE)
            return _refusal(delivery, claim, invocation, failed, route)

    def _unrouted(self, delivery: Delivery, invocation: Invocation, unrouted: Unrouted) -> Refusal | None:
        """A message for agents ends its run; any other is meant for somebody else."""
        if invocation.kind is InvocationKind.CHANGE_EVENT or not invocation.for_agents:
            reason = "change_event" if delivery.channel is Channel.CHANGE_LOG else "not_for_agents"
        elif self._is_for_others(invocation, unrouted):
            reason = "unrouted"
            if unrouted.failed:
                # It may have been for us, and then nobody ends its run: who wrote the condition must hear of it.
                hint = "if the run is for this agent, mend the condition; if not, let it give false"
                log.warning("a condition failed", run_id=invocation.run_id, reason=unrouted.reason, hint=hint)
        else:
            self._observer.notify(RunReceived(self._source.name, "unrouted", invocation.run_id))
            failed = Failed(unrouted.reason, FailureKind.NO_ROUTE)
            return self._refuse(delivery, invocation, failed, "unrouted")
        log.debug("no route takes this message", run_id=invocation.run_id, reason=unrouted.reason)
        self._pass_over(delivery, "undecided" if unrouted.undecided else reason)
        return None


def _refusal(delivery: Delivery, claim: Claim, invocation: Invocation, failed: Failed, route: str) -> Refusal:
    """The body of the message, which may be large, is not kept while the report waits for Port."""
    return Refusal(replace(delivery, body=b""), claim, invocation, failed, route)


def _ticket(job: Job) -> Ticket[Job]:
    """Raises `TemplateError` where the route's key fails on this message."""
    route, invocation = job.routed.route, job.invocation
    value = route.key.render(invocation.view) if route.key is not None else None
    return Ticket(
        item=job,
        lane=(route.name, invocation.action),
        route=route.name,
        limit=route.max_concurrent,
        key=None if value is None else compact(value),
        size_bytes=len(job.delivery.body),
    )
