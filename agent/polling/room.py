"""How many more runs may be claimed, so that all that can be begun here is begun soon. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from agent.polling.receipt import Receipt

_HELD_UP_AFTER_S = 2.0
"""What was handed over so long ago, and did not begin, waits for its route's limit or its key."""
_HELD_UP = 500
_HELD_UP_BYTES = 64 * 1024 * 1024
"""So many runs may do that, and be so large, before they count as what takes slots."""


def room(in_hand: Collection[Receipt], slots: int, now_s: float) -> int:
    """How many, where so many runs execute at once; not above 0: none. ``now_s`` is monotonic.

    What is held up by its route's limit or its key takes no slot, lest it keep all others out.
    """
    at_work = sum(run.is_at_work for run in in_hand)
    waiting = [run for run in in_hand if run.waits(now_s)]
    return slots - at_work - len(waiting) + _held_up(in_hand, waiting, now_s)


def _held_up(in_hand: Collection[Receipt], waiting: Sequence[Receipt], now_s: float) -> int:
    """How many of those that wait are; none where what is in hand would become too much."""
    too_early_s = now_s - _HELD_UP_AFTER_S
    held_up = sum(run.mark is None and run.was_given_before(too_early_s) for run in waiting)
    unbegun = [run for run in in_hand if not run.is_acknowledged]
    is_much = len(unbegun) >= _HELD_UP or sum(len(run.body) for run in unbegun) >= _HELD_UP_BYTES
    return 0 if is_much else held_up
