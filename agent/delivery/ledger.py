"""The ledger of one partition under one assignment: what is open, started, done, and so what may be committed."""

from __future__ import annotations

from collections import deque
from enum import Enum

from agent.delivery.offset_map import MAX_SPAN, Mark, Note, OffsetMap, fit_name
from agent.delivery.positions import Commit
from agent.domain.earlier import Earlier, Ending
from agent.domain.settlement import Settlement


class State(Enum):
    """Where one message stands between being read and being forgotten."""

    OPEN = "open"
    STARTED = "started"
    ENDED = "ended"
    """Its work came to its end; Port has still to be told."""
    HELD = "held"
    """Given back: it must come again, so the committed offset never passes it in this epoch."""
    CLOSED = "closed"


class IllegalTransitionError(Exception):
    """A caller's mistake; the ledger is as it was before the call."""


_START = {State.OPEN: State.STARTED}
_WITHDRAW = {State.STARTED: State.OPEN}
_END = {State.STARTED: State.ENDED}
_CLOSE = dict.fromkeys((State.OPEN, State.STARTED, State.ENDED), State.CLOSED)
_HOLD = dict.fromkeys((State.OPEN, State.STARTED, State.ENDED), State.HELD)
_REPEAT = {State.STARTED: State.HELD}
_SETTLE = {
    Settlement.ACCEPT: _CLOSE,
    Settlement.REJECT: _CLOSE,
    Settlement.RELEASE: _HOLD,
    Settlement.REPEAT: _REPEAT,
}


class Ledger:
    """The states of one partition's messages, in one epoch.

    ``known`` is what the last owner of the partition left in its commit: the messages that it marks as done are
    closed as soon as they begin, and what it says of others is kept until they have ended here. ``agent`` is who we
    are, for whoever reads our marks; what others have begun stays theirs. Offsets come in rising order, with gaps
    wherever the log has them (compaction, transaction markers).

    Guarantees: `committable` never passes a message that is not closed, never falls, and does not depend on
    the order in which messages are settled; once all are settled it is the last offset plus one.

    All operations but `unsettled` and `commit` are O(1) amortised, whatever is open.
    """

    def __init__(self, known: OffsetMap | None = None, agent: str = "") -> None:
        self._known = known or OffsetMap(0)
        self._agent = fit_name(agent)
        self._states: dict[int, State] = {}
        self._marks = bytearray()  # from `committable` on
        self._notes: dict[int, Note] = {}
        self._inherited: set[int] = set()  # those of the notes that somebody else made
        self._before: dict[int, tuple[Mark, Note]] = {}
        self._order: deque[int] = deque()
        self._open = 0
        self._held = 0
        self._next: int | None = None
        self._commit: Commit | None = None

    def begin(self, offset: int) -> Mark:
        """A message was read; returns what was known of it, and `Ledger.earlier` tells more.

        Raises `IllegalTransitionError` unless ``offset`` is above all before it, and not further above
        `committable` than `has_room_for` allows.
        """
        if self._next is not None and offset < self._next:
            raise IllegalTransitionError(f"offset {offset} began after {self._next - 1}")
        if not self.has_room_for(offset):
            raise IllegalTransitionError(f"offset {offset} is too far above {self.committable} to be remembered")
        if self._next is None and offset < self._known.base:
            self._known = OffsetMap(0)  # the log was made anew: what was known is of other messages
        mark, note = self._known.mark(offset), self._known.note(offset)
        if self._order and self._next is not None:
            self._marks += bytes([Mark.DONE]) * (offset - self._next)  # a gap in the log
        self._order.append(offset)
        self._marks.append(mark)
        self._next = offset + 1
        if mark is Mark.DONE:
            self._states[offset] = State.CLOSED
        else:
            self._states[offset] = State.OPEN
            self._open += 1
            if note != Note(0):
                self._notes[offset] = note
                self._inherited.add(offset)
        self._trim()
        return mark

    def earlier(self, offset: int) -> Earlier | None:
        """What was known of the message when it began; see `OffsetMap.earlier`."""
        return self._known.earlier(offset)

    def has_room_for(self, offset: int) -> bool:
        """Whether an offset map can still cover ``offset`` beside the lowest message that is not closed, if any."""
        return not self._order or offset - self._order[0] < MAX_SPAN

    def start(self, offset: int) -> None:
        """The work of a message begins. Raises `IllegalTransitionError` unless it is open."""
        self._move(offset, _START, "start")
        self._begun(offset, self._note(offset).begun + 1)

    def resume(self, offset: int) -> None:
        """The work of a message goes on, which began here before it was read again: that counts no second time.

        Raises `IllegalTransitionError` unless it is open.
        """
        self._move(offset, _START, "resume")
        self._begun(offset, max(1, self._note(offset).begun))

    def withdraw(self, offset: int) -> None:
        """The work did not begin after all: all is as before `start` or `resume`.

        Raises `IllegalTransitionError` unless it is started.
        """
        self._move(offset, _WITHDRAW, "withdraw")
        self._restore(offset)

    def end(self, offset: int, ending: Ending) -> None:
        """The work came to its end, and Port has still to be told. Raises `IllegalTransitionError` unless started.

        Whoever reads it next need not begin it again, and can tell Port in our place.
        """
        self._move(offset, _END, "end")
        del self._before[offset]
        self._notes[offset] = Note(1, ended=ending)

    def settle(self, offset: int, settlement: Settlement) -> None:
        """Says what became of a message. Raises `IllegalTransitionError` unless it is open, started or ended.

        `Settlement.REPEAT` is for started ones only: open again for whoever reads it next, as begun once more.
        """
        self._move(offset, _SETTLE[settlement], f"settle ({settlement})")
        self._before.pop(offset, None)
        if settlement is Settlement.REPEAT:
            self._mark(offset, Mark.OPEN)
        elif self._states[offset] is State.CLOSED:
            self._notes.pop(offset, None)
            self._inherited.discard(offset)
            self._mark(offset, Mark.DONE)
            self._trim()

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
        if self._commit is None:
            self._commit = self._commit_with(self._notes)
        return self._commit

    @property
    def commit_handing_over(self) -> Commit | None:
        """As `commit`, for the moment at which the partition goes while this agent lives on.

        What it has begun and not ended will go on here, and its next owner must not take it for interrupted.
        """
        going_on = {offset: Note(self._notes[offset].begun, goes_on=True) for offset in self._before}
        return self._commit_with({**self._notes, **going_on}) if going_on else self.commit

    @property
    def next_offset(self) -> int | None:
        """The highest offset begun plus one; ``None`` before the first."""
        return self._next

    @property
    def span(self) -> int:
        """How many offsets lie between `committable` and the highest one begun, inclusive; 0 when all is done."""
        return self._next - self._order[0] if self._order and self._next is not None else 0

    @property
    def open(self) -> int:
        """How many messages are open: their work may be begun at any moment."""
        return self._open

    @property
    def held(self) -> int:
        """How many messages were given back here: nothing becomes of them before they are read anew."""
        return self._held

    @property
    def unsettled(self) -> int:
        """How many messages stand between `committable` and the end without being closed."""
        return sum(state is not State.CLOSED for state in self._states.values())

    def _commit_with(self, notes: dict[int, Note]) -> Commit | None:
        base, end = self.committable, self._next
        if base is None or end is None:
            return None
        known = self._known
        beyond = known.beyond(end)
        told = {offset: note for offset, note in notes.items() if note != self._rule(offset)}
        told.update((offset, note) for offset, note in known.notes.items() if offset >= end)
        unsure = known.unsure_below if base < known.unsure_below else 0
        marks = bytes(self._marks) + beyond
        crowded = known.crowded and bool(beyond)
        return Commit(base, OffsetMap(base, marks, told, crowded, unsure, self._maker(end)).encode())

    def _maker(self, end: int) -> str:
        """Who made the marks; nobody is named where several did. Of what is not read yet the last owner did."""
        known = self._known
        ours = len(self._notes) > len(self._inherited)
        theirs = self._inherited or Mark.STARTED in known.beyond(end) or any(o >= end for o in known.notes)
        if not theirs:
            return self._agent
        return "" if ours and known.agent != self._agent else known.agent

    def _rule(self, offset: int) -> Note:
        """What a mark says by itself, in a map that is not crowded."""
        return Note(1) if self._marked(offset) is Mark.STARTED else Note(0)

    def _move(self, offset: int, table: dict[State, State], verb: str) -> None:
        before = self._states.get(offset)
        after = table.get(before) if before is not None else None
        if before is None or after is None:
            was = before.value if before is not None else "not in the ledger"
            raise IllegalTransitionError(f"cannot {verb} offset {offset}: it is {was}")
        self._states[offset] = after
        self._open += (after is State.OPEN) - (before is State.OPEN)
        self._held += after is State.HELD
        self._commit = None

    def _begun(self, offset: int, times: int) -> None:
        self._before[offset] = (self._marked(offset), self._note(offset))
        self._inherited.discard(offset)
        self._notes[offset] = Note(times)
        self._mark(offset, Mark.STARTED)

    def _note(self, offset: int) -> Note:
        return self._notes.get(offset, Note(0))

    def _restore(self, offset: int) -> None:
        mark, note = self._before.pop(offset)
        self._mark(offset, mark)
        if note == Note(0):
            del self._notes[offset]
        else:
            self._notes[offset] = note
            self._inherited.add(offset)

    def _mark(self, offset: int, mark: Mark) -> None:
        self._marks[offset - self._order[0]] = mark

    def _marked(self, offset: int) -> Mark:
        return Mark(self._marks[offset - self._order[0]])

    def _trim(self) -> None:
        """Forgets what is closed at the lower end, and the commit that says so no more."""
        self._commit = None
        order, states = self._order, self._states
        if not order or states[order[0]] is not State.CLOSED:
            return
        first = order[0]
        while order and states[order[0]] is State.CLOSED:
            del states[order.popleft()]
        del self._marks[: order[0] - first if order else len(self._marks)]
