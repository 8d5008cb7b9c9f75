"""The ledger of one partition under one assignment: what is open, started, done, and so what may be committed."""

from __future__ import annotations

from collections import deque
from enum import Enum

from agent.domain.settlement import Settlement


class State(Enum):
    """Where one message stands between being read and being forgotten."""

    OPEN = "open"
    STARTED = "started"
    HELD = "held"
    """Given back: it must come again, so nothing at or above it is ever committed in this epoch."""
    CLOSED = "closed"


class IllegalTransitionError(Exception):
    """A caller's mistake; the ledger is as it was before the call."""


_START = {State.OPEN: State.STARTED}
_CLOSE = {State.OPEN: State.CLOSED, State.STARTED: State.CLOSED}
_HOLD = {State.OPEN: State.HELD, State.STARTED: State.HELD}
_SETTLE = {Settlement.ACCEPT: _CLOSE, Settlement.REJECT: _CLOSE, Settlement.RELEASE: _HOLD}


class Ledger:
    """The states of one partition's messages, in one epoch.

    Offsets come in rising order, with gaps wherever the log has them (compaction, transaction markers).
    Guarantees: `committable` never passes a message that is not closed, never falls, and does not depend on
    the order in which messages are settled; once all are settled it is the last offset plus one.

    All operations but `unsettled` are O(1) amortised, whatever is open.
    """

    def __init__(self) -> None:
        self._states: dict[int, State] = {}
        self._order: deque[int] = deque()
        self._next: int | None = None

    def begin(self, offset: int) -> None:
        """A message was read. Raises `IllegalTransitionError` unless ``offset`` is above all before it."""
        if self._next is not None and offset < self._next:
            raise IllegalTransitionError(f"offset {offset} began after {self._next - 1}")
        self._states[offset] = State.OPEN
        self._order.append(offset)
        self._next = offset + 1

    def start(self, offset: int) -> None:
        """The work of a message begins. Raises `IllegalTransitionError` unless it is open."""
        self._move(offset, _START, "start")

    def settle(self, offset: int, settlement: Settlement) -> None:
        """Says what became of a message. Raises `IllegalTransitionError` unless it is open or started."""
        self._move(offset, _SETTLE[settlement], f"settle ({settlement})")
        while self._order and self._states[self._order[0]] is State.CLOSED:
            del self._states[self._order.popleft()]

    @property
    def committable(self) -> int | None:
        """The offset to commit, i.e. of the first message to read after a restart; ``None`` before the first."""
        return self._order[0] if self._order else self._next

    @property
    def next_offset(self) -> int | None:
        """The highest offset begun plus one; ``None`` before the first."""
        return self._next

    @property
    def span(self) -> int:
        """How many offsets lie between `committable` and the highest one begun, inclusive; 0 when all is done."""
        return self._next - self._order[0] if self._order and self._next is not None else 0

    @property
    def unsettled(self) -> int:
        """How many messages stand between `committable` and the end without being closed."""
        return sum(state is not State.CLOSED for state in self._states.values())

    def _move(self, offset: int, table: dict[State, State], verb: str) -> None:
        before = self._states.get(offset)
        after = table.get(before) if before is not None else None
        if after is None:
            was = before.value if before is not None else "not in the ledger"
            raise IllegalTransitionError(f"cannot {verb} offset {offset}: it is {was}")
        self._states[offset] = after
