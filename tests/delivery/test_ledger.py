import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.delivery.ledger import IllegalTransitionError, Ledger, State
from agent.delivery.offset_map import MAX_CHARS, MAX_SPAN, Mark, OffsetMap
from agent.delivery.positions import Commit
from agent.domain.settlement import Settlement

offsets = st.lists(st.integers(0, 500), min_size=1, max_size=60, unique=True).map(sorted)
closing = st.sampled_from([Settlement.ACCEPT, Settlement.REJECT])


def ledger_of(begun: list[int]) -> Ledger:
    ledger = Ledger()
    for offset in begun:
        ledger.begin(offset)
    return ledger


def test_nothing_is_committable_before_the_first_message() -> None:
    assert Ledger().committable is None
    assert Ledger(OffsetMap(3, bytes([Mark.DONE]))).commit is None
    assert Ledger().span == 0


@given(offsets, st.randoms(use_true_random=False), closing)
def test_order_of_completion_is_irrelevant(begun: list[int], random: object, verdict: Settlement) -> None:
    shuffled = list(begun)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis types its Random as object here
    ledger = ledger_of(begun)
    for done, offset in enumerate(shuffled, 1):
        ledger.settle(offset, verdict)
        remaining = sorted(set(begun) - set(shuffled[:done]))
        assert ledger.committable == (remaining[0] if remaining else begun[-1] + 1)
    assert ledger.span == ledger.unsettled == 0


@given(offsets, st.data())
def test_a_released_message_holds_the_watermark_for_ever(begun: list[int], data: st.DataObject) -> None:
    held = data.draw(st.sampled_from(begun))
    ledger = ledger_of(begun)
    for offset in begun:
        ledger.settle(offset, Settlement.RELEASE if offset == held else Settlement.ACCEPT)
    assert ledger.committable == held
    with pytest.raises(IllegalTransitionError):
        ledger.settle(held, Settlement.ACCEPT)


TABLE = {
    ("absent", "start"): None,
    ("absent", "accept"): None,
    ("absent", "release"): None,
    (State.OPEN, "start"): State.STARTED,
    (State.OPEN, "accept"): State.CLOSED,
    (State.OPEN, "reject"): State.CLOSED,
    (State.OPEN, "release"): State.HELD,
    (State.STARTED, "start"): None,
    (State.STARTED, "accept"): State.CLOSED,
    (State.STARTED, "reject"): State.CLOSED,
    (State.STARTED, "release"): State.HELD,
    (State.HELD, "start"): None,
    (State.HELD, "accept"): None,
    (State.HELD, "release"): None,
    (State.CLOSED, "start"): None,
    (State.CLOSED, "accept"): None,
    (State.CLOSED, "reject"): None,
    (State.CLOSED, "release"): None,
}


@pytest.mark.parametrize(("before", "verb"), list(TABLE), ids=str)
def test_transition_table(before: State | str, verb: str) -> None:
    ledger = ledger_of([1, 2])
    target = 7 if before == "absent" else 2  # 1 stays open, so that 2 is kept when it is closed
    if before is State.STARTED:
        ledger.start(target)
    elif before is State.HELD:
        ledger.settle(target, Settlement.RELEASE)
    elif before is State.CLOSED:
        ledger.settle(target, Settlement.ACCEPT)
    states_before = dict(ledger._states)

    def act() -> None:
        ledger.start(target) if verb == "start" else ledger.settle(target, Settlement(verb))

    expected = TABLE[before, verb]
    if expected is None:
        with pytest.raises(IllegalTransitionError, match=f"offset {target}"):
            act()
        assert ledger._states == states_before
    else:
        act()
        assert ledger._states == states_before | {target: expected}


def test_offsets_only_rise() -> None:
    ledger = ledger_of([5])
    with pytest.raises(IllegalTransitionError, match="offset 5 began after 5"):
        ledger.begin(5)
    assert ledger.next_offset == 6


def test_a_log_that_was_made_anew_has_nothing_to_do_with_what_was_known() -> None:
    ledger = Ledger(OffsetMap(50, bytes([Mark.DONE] * 9)))
    assert [ledger.begin(offset) for offset in (7, 50, 51)] == [Mark.OPEN] * 3
    assert ledger.committable == 7


def test_an_offset_beyond_the_maps_reach_is_refused() -> None:
    ledger = ledger_of([3])
    with pytest.raises(IllegalTransitionError, match="too far above 3"):
        ledger.begin(3 + MAX_SPAN)
    ledger.begin(3 + MAX_SPAN - 1)
    assert ledger.commit is not None
    assert len(ledger.commit.metadata) < MAX_CHARS


@pytest.mark.parametrize("settled_first", [True, False])
def test_a_gap_wider_than_the_map_is_no_end(settled_first: bool) -> None:  # noqa: FBT001 - pytest gives it by name
    """As retention or compaction leave it."""
    ledger = ledger_of([1000])
    if settled_first:
        ledger.settle(1000, Settlement.ACCEPT)
    assert ledger.has_room_for(1000 + 2 * MAX_SPAN) is settled_first
    if not settled_first:
        ledger.settle(1000, Settlement.ACCEPT)
    ledger.begin(1000 + 2 * MAX_SPAN)
    assert ledger.commit == Commit(1000 + 2 * MAX_SPAN)


def test_what_has_not_been_read_yet_is_remembered_for_the_next_owner() -> None:
    known = OffsetMap(10, bytes([Mark.OPEN, Mark.DONE, Mark.STARTED, Mark.OPEN, Mark.DONE]))
    ledger = Ledger(known)
    ledger.begin(10)
    assert ledger.commit == Commit(10, known.encode())
    ledger.settle(10, Settlement.ACCEPT)
    assert ledger.commit == Commit(11, OffsetMap(11, known.marks[1:]).encode())


def test_a_run_that_was_begun_stays_marked_until_it_is_closed() -> None:
    ledger = ledger_of([0, 1, 2])
    ledger.start(1)
    assert ledger.commit == Commit(0, OffsetMap(0, bytes([Mark.OPEN, Mark.STARTED])).encode())
    ledger.settle(1, Settlement.RELEASE)
    ledger.settle(0, Settlement.ACCEPT)
    assert ledger.commit == Commit(1, OffsetMap(1, bytes([Mark.STARTED])).encode())


class LedgerMachine(RuleBasedStateMachine):
    """Any history of a partition, against the plainest model there is."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.model: dict[int, str] = {}
        self.highest_seen_commit = -1

    @rule(gap=st.integers(1, 5))
    def begin(self, gap: int) -> None:
        offset = max(self.model, default=-1) + gap
        self.ledger.begin(offset)
        self.model[offset] = "open"

    @precondition(lambda self: "open" in self.model.values())
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from([o for o, s in self.model.items() if s == "open"]))
        self.ledger.start(offset)
        self.model[offset] = "started"

    @precondition(lambda self: not {"open", "started"}.isdisjoint(self.model.values()))
    @rule(data=st.data(), verdict=st.sampled_from(Settlement))
    def settle(self, data: st.DataObject, verdict: Settlement) -> None:
        offset = data.draw(st.sampled_from([o for o, s in self.model.items() if s in {"open", "started"}]))
        self.ledger.settle(offset, verdict)
        self.model[offset] = "held" if verdict is Settlement.RELEASE else "done"

    @invariant()
    def never_past_an_unfinished_message_and_never_back(self) -> None:
        unfinished = [o for o, s in self.model.items() if s != "done"]
        expected = min(unfinished) if unfinished else (max(self.model) + 1 if self.model else None)
        assert self.ledger.committable == expected
        assert self.ledger.unsettled == len(unfinished)
        assert (expected or 0) >= self.highest_seen_commit
        self.highest_seen_commit = expected or 0


TestLedgerMachine = LedgerMachine.TestCase


class SuccessionMachine(RuleBasedStateMachine):
    """One log under one owner after the other; each knows only what was committed before the last one vanished."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []
        self.committed = Commit(0)
        self.finished_then: set[int] = set()
        self.begun_then: set[int] = set()
        self._take_over()

    def _take_over(self) -> None:
        known = OffsetMap.decode(self.committed.metadata, self.committed.offset)
        assert known is not None
        self.ledger = Ledger(known)
        self.unread = [offset for offset in self.log if offset >= self.committed.offset]
        self.finished, self.begun = set(self.finished_then), set(self.begun_then)
        self.open: set[int] = set()

    @rule(gap=st.integers(1, 4))
    def produce(self, gap: int) -> None:
        self.log.append(self.log[-1] + gap if self.log else gap)
        self.unread.append(self.log[-1])

    @precondition(lambda self: self.unread)
    @rule()
    def read(self) -> None:
        offset = self.unread.pop(0)
        mark = self.ledger.begin(offset)
        assert (mark is Mark.DONE) == (offset in self.finished)
        assert (mark is Mark.STARTED) == (offset in self.begun - self.finished)
        if mark is not Mark.DONE:
            self.open.add(offset)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), verdict=st.sampled_from(Settlement), starts=st.booleans())
    def settle(self, data: st.DataObject, verdict: Settlement, *, starts: bool) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        if starts:
            self.ledger.start(offset)
            self.begun.add(offset)
        self.ledger.settle(offset, verdict)
        self.open.remove(offset)
        if verdict is not Settlement.RELEASE:
            self.finished.add(offset)

    @rule()
    def commit(self) -> None:
        if (commit := self.ledger.commit) is None:
            return
        self.committed, self.finished_then, self.begun_then = commit, set(self.finished), set(self.begun)
        known = OffsetMap.decode(commit.metadata, commit.offset)
        assert known is not None
        for offset in self.log:
            expected = Mark.DONE if offset in self.finished else Mark.STARTED if offset in self.begun else Mark.OPEN
            assert known.mark(offset) is expected

    @rule()
    def vanish(self) -> None:
        self._take_over()


TestSuccessionMachine = SuccessionMachine.TestCase
