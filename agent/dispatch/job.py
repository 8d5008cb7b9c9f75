"""A run that has found its route, from then until it is executed."""

from __future__ import annotations

from dataclasses import replace

from agent.dispatch.claims import Claim
from agent.domain.invocation import Invocation
from agent.ports import Delivery, Intake, Routed, Subject


class Job:
    """A delivery with its route, and the claim under which its run is in hand.

    While thousands wait, most of what they would take is their messages, decoded: `shed` leaves the bytes alone.
    """

    def __init__(
        self, delivery: Delivery, claim: Claim, invocation: Invocation, routed: Routed, intake: Intake
    ) -> None:
        self.delivery = delivery
        self.claim = claim
        self.routed = routed
        self._invocation: Invocation | None = invocation
        self._decided = (invocation.kind, invocation.run_id, invocation.effort)
        self._intake = intake

    @property
    def invocation(self) -> Invocation:
        """The message, decoded again if it was shed: its run stays, and so does what its expressions have cost."""
        if self._invocation is None:
            recalled = self._intake.recall(self.delivery.body, self.delivery.channel)
            kind, run_id, effort = self._decided
            self._invocation = replace(recalled, kind=kind, run_id=run_id, effort=effort)
        return self._invocation

    @property
    def subject(self) -> Subject:
        """What its report is about."""
        return subject_of(self.delivery, self.invocation, self.routed.route.name)

    def shed(self) -> None:
        """It has to wait: forgets what can be had again."""
        self._invocation = None


def subject_of(delivery: Delivery, invocation: Invocation, route: str) -> Subject:
    """What the report of a run is about."""
    return Subject(invocation.run_id, invocation.kind, delivery.origin, route)
