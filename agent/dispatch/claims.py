"""The runs that this agent has in hand or has ended lately, so that one that is delivered again is not begun again.

A partition that was lost and came back (a pause of the machine, an outage of the brokers) delivers what was not
committed once more, while its runs still go on here, or have just ended here.
"""

from __future__ import annotations

from collections import OrderedDict

from agent.domain.invocation import RunId
from agent.domain.settlement import Settlement
from agent.ports import Delivery, Source


class Claim:
    """A run in hand, with every receipt under which it was delivered. Made by `Claims`."""

    def __init__(self, claims: Claims, run_id: RunId | None, receipt: object) -> None:
        self._claims = claims
        self._run_id = run_id
        self._receipts = [receipt]
        self._begun = False

    def begin(self) -> bool:
        """Notes that the work begins. ``False``: no receipt is ours any more, and nothing may begin."""
        for receipt in self._receipts:
            self._begun |= self._claims.source.started(receipt)
        if not self._begun:
            self._claims.forget(self._run_id)
        return self._begun

    def add(self, receipt: object) -> None:
        """The run was delivered once more: what becomes of it counts for this receipt, too."""
        self._receipts.append(receipt)
        if self._begun:
            self._claims.source.started(receipt)

    def settle(self, settlement: Settlement) -> None:
        """Says what became of the run, for all its receipts; its last call."""
        for receipt in self._receipts:
            self._claims.source.settle(receipt, settlement)
        self._claims.forget(self._run_id, ended=settlement is not Settlement.RELEASE)


class Claims:
    """All claims of one agent. Belongs to the event loop's thread.

    Of runs that have ended, the last ``remembered`` are known. Messages without a run (change events) are not.
    """

    def __init__(self, source: Source, remembered: int = 10_000) -> None:
        self.source = source
        self._remembered = remembered
        self._in_hand: dict[RunId, Claim] = {}
        self._ended: OrderedDict[RunId, None] = OrderedDict()

    def has(self, run_id: RunId | None, delivery: Delivery) -> bool:
        """Whether the run is in hand, or ended here; then this delivery of it is taken care of."""
        if run_id is None:
            return False
        if run_id in self._ended:
            self.source.settle(delivery.receipt, Settlement.ACCEPT)
            return True
        claim = self._in_hand.get(run_id)
        if claim is not None:
            claim.add(delivery.receipt)
        return claim is not None

    def open(self, run_id: RunId | None, delivery: Delivery) -> Claim:
        """Takes a run in hand that `has` does not know."""
        claim = Claim(self, run_id, delivery.receipt)
        if run_id is not None:
            self._in_hand[run_id] = claim
        return claim

    def forget(self, run_id: RunId | None, *, ended: bool = False) -> None:
        """For claims: the run is in hand no more."""
        if run_id is None:
            return
        self._in_hand.pop(run_id, None)
        if ended:
            self._ended[run_id] = None
            if len(self._ended) > self._remembered:
                self._ended.popitem(last=False)
