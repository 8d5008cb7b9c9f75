"""A run that has found its route, from then until it is executed."""

from __future__ import annotations

from dataclasses import replace

from agent.dispatch.admission import SMALL_BYTES
from agent.dispatch.claims import Claim
from agent.dispatch.decision import Begin, Decision
from agent.domain.invocation import Invocation
from agent.ports import Delivery, Intake, Routed, Subject


class Job:
    """A delivery with its route, and the claim under which its run is in hand.

    While thousands wait, most of what they would take is their messages, decoded: `shed` leaves the bytes alone.
    ``decision`` is ``None`` until it is known what became of it before. ``decoded_bytes`` belongs to whoever bounds
    what is kept decoded: for how much it counts there.
    """

    def __init__(
        self, delivery: Delivery, claim: Claim, invocation: Invocation, routed: Routed, intake: Intake
    ) -> None:
        self.delivery = delivery
        self.claim = claim
        self.routed = routed
        self.kind = invocation.kind
        self.run_id = invocation.run_id
        self.action = invocation.action
        self.subject = subject_of(delivery, invocation, routed.route.name)
        """What its report is about."""
        self.decoded_bytes = 0
        self.decision: Decision | None = Begin() if delivery.earlier is None else None
        self._invocation: Invocation | None = invocation
        self._effort = invocation.effort
        self._intake = intake

    @property
    def invocation(self) -> Invocation:
        """The message, decoded again if it was shed: its run stays, and so does what its expressions have cost."""
        if self._invocation is None:
            recalled = self._intake.recall(self.delivery.body, self.delivery.channel)
            self._invocation = replace(recalled, kind=self.kind, run_id=self.run_id, effort=self._effort)
        return self._invocation

    def hand_over(self) -> Invocation:
        """The message, for whoever executes its run; of a large one nothing is kept here from then on."""
        invocation = self.invocation
        if len(self.delivery.body) > SMALL_BYTES:
            self._invocation = None
            self.delivery = replace(self.delivery, body=b"")
        return invocation

    def shed(self) -> None:
        """It has to wait: forgets what can be had again."""
        self._invocation = None


def subject_of(delivery: Delivery, invocation: Invocation, route: str) -> Subject:
    """What the report of a run is about."""
    return Subject(invocation.run_id, invocation.kind, delivery.origin, route, delivery.trace)
