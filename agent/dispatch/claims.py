"""The runs that this agent has in hand or has ended lately, so that one that is delivered again is not begun again.

A partition that was lost and came back (a pause of the machine, an outage of the brokers) delivers what was not
committed once more, while its runs still go on here, or have just ended here. A message is taken for one that was
here before by its run and its origin together: several messages may concern one run, and a topic that was made anew
has the same origins again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TypeAlias
from zlib import crc32

from agent.domain.earlier import Ending
from agent.domain.invocation import RunId
from agent.domain.settlement import Settlement
from agent.ports import Delivery, Source, Subject

Key: TypeAlias = tuple[str, str]


class Claim:
    """A run in hand, with every receipt under which it was delivered. Made by `Claims`."""

    def __init__(self, claims: Claims, key: Key, *receipts: object) -> None:
        self._claims = claims
        self._key = key
        self._receipts = [*receipts]
        self._waits = bool(receipts)
        self._begun = False
        self._ending: Ending | None = None

    @property
    def is_ours(self) -> bool:
        """Whether any receipt is still ours."""
        return any(map(self._claims.source.is_ours, self._receipts))

    @property
    def is_stale(self) -> bool:
        """Whether nothing was done for the run, nor may be any more, until its message comes again."""
        return self._waits and not self.is_ours

    def take_up(self) -> bool:
        """From here on something is done for the run; ``False`` if it is not ours any more, and nothing may be."""
        if not self.is_ours:
            return False
        self._waits = False
        return True

    async def begin(self) -> bool:
        """Makes it known that the work begins. ``False``: no receipt is ours any more, and nothing may begin.

        Cancelled, the work did not begin.

        What went before this was called is not asked for, nor waited for: else it might begin by a receipt that
        comes meanwhile, ahead of those of its key that stood before it and come again as well.
        """
        if not self.take_up():
            return False
        source = self._claims.source
        asked: list[object] = []
        try:
            while not self._begun and (coming := self._receipts[len(asked) :]):  # more may be added meanwhile
                asked += coming
                if len(coming) == 1:  # nearly always
                    self._begun = await source.begin(coming[0])
                else:
                    self._begun = any(await asyncio.gather(*map(source.begin, coming)))
        except asyncio.CancelledError:
            for receipt in asked:
                source.withdraw(receipt)
            raise
        if self._begun:
            for receipt in self._receipts[len(asked) :]:
                source.resume(receipt)
        return self._begun

    async def secure(self) -> bool:
        """Makes sure that nobody else gets the run, for Port is to be told its end, and no work begins.

        ``False`` if it is not ours any more.
        """
        if not self.take_up():
            return False
        return any(await asyncio.gather(*map(self._claims.source.secure, self._receipts)))

    def take_back(self) -> None:
        """The work did not begin after all. Of no effect where `begin` was not called, or cancelled."""
        if self._begun:
            self._begun = False
            for receipt in self._receipts:
                self._claims.source.withdraw(receipt)

    def add(self, receipt: object) -> None:
        """The run was delivered once more: what becomes of it counts for this receipt, too."""
        self._receipts.append(receipt)
        if self._begun:
            self._claims.source.resume(receipt)
        if self._ending is not None:
            self._claims.source.end(receipt, self._ending)

    def end(self, ending: Ending) -> None:
        """The work came to its end, and Port has still to be told. Of no effect where none was begun here."""
        if not self._begun:
            return
        self._ending = ending
        for receipt in self._receipts:
            self._claims.source.end(receipt, ending)

    def drop(self) -> None:
        """The run is not ours any more: whoever has its message now decides over it."""
        self._claims.forget(self._key, self)

    def settle(self, settlement: Settlement) -> None:
        """Says what became of the run, for all its receipts; its last call."""
        for receipt in self._receipts:
            self._claims.source.settle(receipt, settlement)
        self._claims.forget(self._key, self, ended=settlement in (Settlement.ACCEPT, Settlement.REJECT))


class Claims:
    """All claims of one agent. Belongs to the event loop's thread.

    Of those that have ended, the last ``remembered`` are known.
    """

    def __init__(self, source: Source, remembered: int = 10_000) -> None:
        self.source = source
        self._remembered = remembered
        self._in_hand: dict[Key, Claim] = {}
        self._ended: OrderedDict[Key, None] = OrderedDict()

    def has(self, run_id: RunId | None, delivery: Delivery) -> bool:
        """Whether this message's run is in hand, or ended here; then this delivery of it is taken care of.

        One that only waited while its partition went and came back is taken in anew, like all that come again with
        it: so they keep the order in which they stand in their partition.
        """
        key = _key(run_id, delivery)
        if key in self._ended:
            self.source.settle(delivery.receipt, Settlement.ACCEPT)
            return True
        claim = self._in_hand.get(key)
        if claim is None or claim.is_stale:
            return False
        claim.add(delivery.receipt)
        return True

    def open(self, run_id: RunId | None, delivery: Delivery) -> Claim:
        """Takes a run in hand that `has` does not know."""
        key = _key(run_id, delivery)
        claim = self._in_hand[key] = Claim(self, key, delivery.receipt)
        return claim

    def open_left_over(self, subject: Subject) -> Claim:
        """Takes a run in hand that ended in an earlier life of this agent; its message may be delivered again."""
        key = (subject.run_id or "", subject.origin)
        claim = self._in_hand[key] = Claim(self, key)
        return claim

    def forget(self, key: Key, claim: Claim, *, ended: bool = False) -> None:
        """For claims: the run is in hand no more, unless another claim has it by now."""
        if self._in_hand.get(key) is claim:
            del self._in_hand[key]
        if ended:
            self._ended[key] = None
            if len(self._ended) > self._remembered:
                self._ended.popitem(last=False)


def _key(run_id: RunId | None, delivery: Delivery) -> Key:
    """A message that names no run is known by what it says."""
    return run_id or f"#{crc32(delivery.body):08x}", delivery.origin
