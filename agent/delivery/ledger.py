"""The ledger of one partition under one assignment: what is open, started, done, and so what may be committed."""

from __future__ import annotations

from collections import deque
from enum import Enum

from agent.delivery.offset_map import MAX_SPAN, Mark, OffsetMap
from agent.delivery.positions import Commit
from agent.domain.settlement import Settlement


class State(Enum):
    """Where one message stands between being read and being forgotten."""

    OPEN = "open"
    STARTED = "started"
    HELD = "held"
    """Given back: it must come again, so the committed offset never passes it in this epoch."""
    CLOSED = "closed"


class IllegalTransitionError(Exception):
    """A caller's mistake; the ledger is as it was before the call."""


_START = {State.OPEN: State.STARTED}
_CLOSE = {State.OPEN: State.CLOSED, State.STARTED: State.CLOSED}
_HOLD = {State.OPEN: State.HELD, State.STARTED: State.HELD}
_SETTLE = {Settlement.ACCEPT: _CLOSE, Settlement.REJECT: _CLOSE, Settlement.RELEASE: _HOLD}


class Ledger:
    """The states of one partition's messages, in one epoch.

    ``known`` is what the last owner of the partition left in its commit: the messages that it marks as done are
    closed as soon as they begin, and what it says of others is kept until they have ended here. Offsets come in
    rising order, with gaps wherever the log has them (compaction, transaction markers).

    Guarantees: `committable` never passes a message that is not closed, never falls, and does not depend on
    the order in which messages are settled; once all are settled it is the last offset plus one.

    All operations but `unsettled` and `commit` are O(1) amortised, whatever is open.
    """

    def __init__(self, known: OffsetMap | None = None) -> None:
        self._known = known or OffsetMap(0)
        self._states: dict[int, State] = {}
        self._begun_work: set[int] = set()
        self._order: deque[int] = deque()
        self._next: int | None = None
        self._commit: Commit | None = None

    def begin(self, offset: int) -> Mark:
        """A message was read; returns what was known of it.

        Raises `IllegalTransitionError` unless ``offset`` is above all before it, and not further above
        `committable` than `has_room_for` allows.
        """
        if self._next is not None and offset < self._next:
            raise IllegalTransitionError(f"offset {offset} began after {self._next - 1}")
        if not self.has_room_for(offset):
            raise IllegalTransitionError(f"offset {offset} is too far above {self.committable} to be remembered")
        if self._next is None and offset < self._known.base:
            self._known = OffsetMap(0)  # the log was made anew: what was known is of other messages
        mark = self._known.mark(offset)
        self._states[offset] = State.CLOSED if mark is Mark.DONE else State.OPEN
        if mark is Mark.STARTED:
            self._begun_work.add(offset)
        self._order.append(offset)
        self._next = offset + 1
        self._changed()
        return mark

    def has_room_for(self, offset: int) -> bool:
        """Whether an offset map can still cover ``offset`` beside the lowest message that is not closed, if any."""
        return not self._order or offset - self._order[0] < MAX_SPAN

    def start(self, offset: int) -> None:
        """The work of a message begins. Raises `IllegalTransitionError` unless it is open."""
        self._move(offset, _START, "start")
        self._begun_work.add(offset)

    def settle(self, offset: int, settlement: Settlement) -> None:
        """Says what became of a message. Raises `IllegalTransitionError` unless it is open or started."""
        self._move(offset, _SETTLE[settlement], f"settle ({settlement})")
        if self._states[offset] is State.CLOSED:
            self._begun_work.discard(offset)
        self._changed()

    @property
    def committable(self) -> int | None:
        """The offset to commit, i.e. of the first message to read after a restart; ``None`` before the first."""
        return self._order[0] if self._order else self._next

    @property
    def commit(self) -> Commit | None:
        """`committable` and the offset map beside it, from one look at both; ``None`` before the first message.

        Offsets at which there was no message count as done; what was known of messages that have not been read yet
        is passed on. Computed anew only after a change.
        """
        base, end = self.committable, self._next
        if base is None or end is None:
            return None
        if self._commit is None:
            marks = bytes(self._mark(offset) for offset in range(base, end))
            self._commit = Commit(base, OffsetMap(base, marks + self._known.beyond(end)).encode())
        return self._commit

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
        self._commit = None

    def _changed(self) -> None:
        """Forgets what is closed at the lower end, and the commit that says so no more."""
        self._commit = None
        while self._order and self._states[self._order[0]] is State.CLOSED:
            del self._states[self._order.popleft()]

    def _mark(self, offset: int) -> Mark:
        if self._states.get(offset, State.CLOSED) is State.CLOSED:
            return Mark.DONE
        return Mark.STARTED if offset in self._begun_work else Mark.OPEN
