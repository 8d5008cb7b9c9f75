"""The runs that this agent has in hand or has ended lately, so that one that is delivered again is not begun again.

A partition that was lost and came back (a pause of the machine, an outage of the brokers) delivers what was not
committed once more, while its runs still go on here, or have just ended here. A message is taken for one that was
here before by its run and its origin together: several messages may concern one run, and a topic that was made anew
has the same origins again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from agent.domain.invocation import RunId
from agent.domain.settlement import Settlement
from agent.ports import Delivery, Source

Key: TypeAlias = tuple[RunId, str]


class Claim:
    """A run in hand, with every receipt under which it was delivered. Made by `Claims`."""

    def __init__(self, claims: Claims, key: Key | None, receipt: object) -> None:
        self._claims = claims
        self._key = key
        self._receipts = [receipt]
        self._begun = False

    def begin(self) -> bool:
        """Notes that the work begins. ``False``: no receipt is ours any more, and nothing may begin."""
        for receipt in self._receipts:
            self._begun |= self._claims.source.started(receipt)
        if not self._begun:
            self._claims.forget(self._key)
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
        self._claims.forget(self._key, ended=settlement is not Settlement.RELEASE)


class Claims:
    """All claims of one agent. Belongs to the event loop's thread.

    Of runs that have ended, the last ``remembered`` are known. Messages without a run (change events) are not.
    """

    def __init__(self, source: Source, remembered: int = 10_000) -> None:
        self.source = source
        self._remembered = remembered
        self._in_hand: dict[Key, Claim] = {}
        self._ended: OrderedDict[Key, None] = OrderedDict()

    def has(self, run_id: RunId | None, delivery: Delivery) -> bool:
        """Whether this message's run is in hand, or ended here; then this delivery of it is taken care of."""
        key = _key(run_id, delivery)
        if key is None:
            return False
        if key in self._ended:
            self.source.settle(delivery.receipt, Settlement.ACCEPT)
            return True
        claim = self._in_hand.get(key)
        if claim is not None:
            claim.add(delivery.receipt)
        return claim is not None

    def open(self, run_id: RunId | None, delivery: Delivery) -> Claim:
        """Takes a run in hand that `has` does not know."""
        key = _key(run_id, delivery)
        claim = Claim(self, key, delivery.receipt)
        if key is not None:
            self._in_hand[key] = claim
        return claim

    def forget(self, key: Key | None, *, ended: bool = False) -> None:
        """For claims: the run is in hand no more."""
        if key is None:
            return
        self._in_hand.pop(key, None)
        if ended:
            self._ended[key] = None
            if len(self._ended) > self._remembered:
                self._ended.popitem(last=False)


def _key(run_id: RunId | None, delivery: Delivery) -> Key | None:
    return None if run_id is None else (run_id, delivery.origin)
