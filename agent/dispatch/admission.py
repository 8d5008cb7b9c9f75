"""Which waiting run may start next: slots, limits of routes, order of keys, fairness. Pure; no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_ENOUGH = 4
SMALL_BYTES = 16 * 1024
"""Runs of messages up to this size are bounded by slots alone; those of larger ones by their bytes as well."""


@dataclass(frozen=True, slots=True)
class Ticket(Generic[T]):
    """One run that wants a slot.

    ``lane`` groups runs that share a fair turn (a route's action); ``route`` and ``limit`` bound how many of a
    route run at once (``None``: no bound of its own); runs with equal ``key`` go one after another (``None``: no
    key). ``size_bytes`` is the size of its message: what it keeps in memory while it waits, and a part of what it
    takes while it runs.
    """

    item: T
    lane: Hashable
    route: str
    limit: int | None = None
    key: str | None = None
    size_bytes: int = 0


class Admission(Generic[T]):
    """Waiting runs and free slots.

    Guarantees: never more than ``slots`` runs at once, nor more of a route than its limit; runs of one key
    start in the order in which they came, each after the one before has ended; lanes take turns, so that a
    flood of one action delays another's by at most one turn each; a run that may start is never left waiting.
    Where there has been more than one lane, none alone takes the last tenth of the slots: a flood of runs that
    last, or hang, leaves others a way. With fewer than `_ENOUGH` slots all are for everybody.

    The messages of running runs have no more than ``max_running_bytes``, those of up to `SMALL_BYTES` aside; one
    that is larger than that has them to itself. Of the lanes whose next message is large the first in turn gets the
    bytes that become free, before any other, and small ones pass it.
    """

    def __init__(self, slots: int, *, max_waiting: int, max_waiting_bytes: int, max_running_bytes: int) -> None:
        self._slots = slots
        self._max_running_bytes = max_running_bytes
        self._running_bytes = 0
        self._next_large: Hashable = None
        self._slots_of_one = slots - max(1, slots // 10) if slots >= _ENOUGH else slots
        self._only_lane: Hashable = None
        self._many_lanes = False
        self._running_in: dict[Hashable, int] = {}
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._lanes: dict[Hashable, deque[Ticket[T]]] = {}
        self._turns: deque[Hashable] = deque()
        self._behind_key: dict[str, deque[Ticket[T]]] = {}
        self._parked: dict[int, Ticket[T]] = {}
        self._running: dict[Hashable, int] = {}
        self._running_total = 0
        self._waiting = 0
        self._waiting_bytes = 0

    @property
    def waiting(self) -> int:
        """How many runs wait for a slot, a limit or a key, or are parked."""
        return self._waiting

    def waiting_for_slot(self, is_ready: Callable[[T], bool] = lambda _item: True) -> int:
        """How many of them would start if there were slots for all, here or elsewhere.

        Not those that wait for another of their key, for the limit of their route, or parked; nor a lane whose
        next run is not ready.
        """
        count = 0
        room: dict[str, int] = {}
        for queue in self._lanes.values():
            first, wanted = queue[0], len(queue)
            if not is_ready(first.item):
                continue
            if first.limit is not None:
                left = room.get(first.route, first.limit - self._running.get(first.route, 0))
                wanted = min(wanted, max(0, left))
                room[first.route] = left - wanted
            count += wanted
        return count

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return self._running_total

    @property
    def has_room(self) -> bool:
        """Whether another run may be taken in; one that is large may pass the byte bound, the next may not."""
        return self._waiting < self._max_waiting and self._waiting_bytes < self._max_waiting_bytes

    def offer(self, ticket: Ticket[T]) -> None:
        """Takes a run in, to wait for its turn."""
        self._waiting += 1
        self._waiting_bytes += ticket.size_bytes
        if self._only_lane is None:
            self._only_lane = ticket.lane
        self._many_lanes = self._many_lanes or ticket.lane != self._only_lane
        if ticket.key is not None:
            behind = self._behind_key.get(ticket.key)
            if behind is not None:
                behind.append(ticket)
                return
            self._behind_key[ticket.key] = deque()
        self._enqueue(ticket)

    def admit(self, is_ready: Callable[[T], bool] = lambda _item: True) -> Ticket[T] | None:
        """The run that starts now, with a slot taken for it; ``None`` if none may start.

        A lane whose next run is not ready for its turn is passed over.
        """
        if self._running_total >= self._slots:
            return None
        if self._next_large is not None and self._is_held_up(self._next_large, is_ready):
            self._next_large = None
        for _ in range(len(self._turns)):
            lane = self._turns[0]
            queue = self._lanes[lane]
            if self._is_held_up(lane, is_ready) or not self._fits(queue[0]):
                self._turns.rotate(-1)
                continue
            ticket = queue.popleft()
            self._turns.popleft()
            if queue:
                self._turns.append(lane)
            else:
                del self._lanes[lane]
            self._take_slot(ticket)
            return ticket
        return None

    def park(self, ticket: Ticket[T]) -> None:
        """A run that was admitted cannot begin yet: its slot is free, but the next of its key waits on."""
        self._free_slot(ticket)
        self._parked[id(ticket)] = ticket
        self._waiting += 1
        self._waiting_bytes += ticket.size_bytes

    def unpark(self, ticket: Ticket[T]) -> bool:
        """A parked run wants a slot again. ``False``: it was withdrawn meanwhile, or waits already."""
        if self._parked.pop(id(ticket), None) is None:
            return False
        self._enqueue(ticket)
        return True

    def release(self, ticket: Ticket[T]) -> None:
        """A run that was admitted has ended: its slot is free, and the next of its key may take its turn."""
        self._free_slot(ticket)
        self._pass_key_on(ticket)

    def withdraw(self) -> list[Ticket[T]]:
        """Takes all out of the waiting room, in no particular order."""
        in_turn = [*self._parked.values(), *(t for queue in self._lanes.values() for t in queue)]
        withdrawn = [*in_turn, *(t for queue in self._behind_key.values() for t in queue)]
        self._behind_key = {key: deque() for key in self._behind_key.keys() - {t.key for t in in_turn}}
        self._parked.clear()
        self._lanes.clear()
        self._turns.clear()
        self._next_large = None
        self._waiting = self._waiting_bytes = 0
        return withdrawn

    def _enqueue(self, ticket: Ticket[T]) -> None:
        queue = self._lanes.get(ticket.lane)
        if queue is None:
            queue = self._lanes[ticket.lane] = deque()
            self._turns.append(ticket.lane)
        queue.append(ticket)

    def _pass_key_on(self, ticket: Ticket[T]) -> None:
        if ticket.key is None:
            return
        behind = self._behind_key[ticket.key]
        if behind:
            self._enqueue(behind.popleft())
        else:
            del self._behind_key[ticket.key]

    def _is_held_up(self, lane: Hashable, is_ready: Callable[[T], bool]) -> bool:
        """Whether the next run of a lane may not start, whatever slots and bytes are free."""
        first = self._lanes[lane][0]
        return (self._many_lanes and self._has_its_share(lane)) or self._at_limit(first) or not is_ready(first.item)

    def _fits(self, ticket: Ticket[T]) -> bool:
        """Whether there are bytes for it now. If not, none but its lane gets those that become free."""
        if ticket.size_bytes <= SMALL_BYTES:
            return True
        if self._next_large not in (None, ticket.lane):
            return False
        fits = not self._running_bytes or self._running_bytes + ticket.size_bytes <= self._max_running_bytes
        self._next_large = None if fits else ticket.lane
        return fits

    def _free_slot(self, ticket: Ticket[T]) -> None:
        self._running_total -= 1
        if ticket.size_bytes > SMALL_BYTES:
            self._running_bytes -= ticket.size_bytes
        for running, what in ((self._running, ticket.route), (self._running_in, ticket.lane)):
            running[what] -= 1
            if not running[what]:
                del running[what]

    def _at_limit(self, ticket: Ticket[T]) -> bool:
        return ticket.limit is not None and self._running.get(ticket.route, 0) >= ticket.limit

    def _has_its_share(self, lane: Hashable) -> bool:
        return self._running_in.get(lane, 0) >= self._slots_of_one

    def _take_slot(self, ticket: Ticket[T]) -> None:
        self._waiting -= 1
        self._waiting_bytes -= ticket.size_bytes
        self._running_total += 1
        if ticket.size_bytes > SMALL_BYTES:
            self._running_bytes += ticket.size_bytes
        self._running[ticket.route] = self._running.get(ticket.route, 0) + 1
        self._running_in[ticket.lane] = self._running_in.get(ticket.lane, 0) + 1
