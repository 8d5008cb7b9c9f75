from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.delivery.ledger import IllegalTransitionError, Ledger, State
from agent.delivery.offset_map import MANY, MAX_CHARS, MAX_SPAN, Mark, Note, OffsetMap
from agent.delivery.positions import Commit
from agent.domain.earlier import Earlier, Ending, Past
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


ALLOWED = {
    (State.OPEN, "start"): State.STARTED,
    (State.OPEN, "resume"): State.STARTED,
    (State.OPEN, "accept"): State.CLOSED,
    (State.OPEN, "reject"): State.CLOSED,
    (State.OPEN, "release"): State.HELD,
    (State.STARTED, "withdraw"): State.OPEN,
    (State.STARTED, "accept"): State.CLOSED,
    (State.STARTED, "reject"): State.CLOSED,
    (State.STARTED, "release"): State.HELD,
    (State.STARTED, "repeat"): State.HELD,
    (State.STARTED, "end"): State.ENDED,
    (State.ENDED, "accept"): State.CLOSED,
    (State.ENDED, "reject"): State.CLOSED,
    (State.ENDED, "release"): State.HELD,
}
VERBS = ["start", "resume", "withdraw", "end", *Settlement]


@pytest.mark.parametrize("before", ["absent", *State])
@pytest.mark.parametrize("verb", VERBS)
def test_transition_table(before: State | str, verb: str) -> None:
    ledger = ledger_of([1, 2])
    target = 7 if before == "absent" else 2  # 1 stays open, so that 2 is kept when it is closed
    if before in (State.STARTED, State.ENDED):
        ledger.start(target)
        if before is State.ENDED:
            ledger.end(target, Ending.SUCCESS)
    elif before is State.HELD:
        ledger.settle(target, Settlement.RELEASE)
    elif before is State.CLOSED:
        ledger.settle(target, Settlement.ACCEPT)
    states_before, open_before, held_before = dict(ledger._states), ledger.open, ledger.held

    def act() -> None:
        if verb in ("start", "resume", "withdraw"):
            getattr(ledger, verb)(target)
        elif verb == "end":
            ledger.end(target, Ending.FAILURE)
        else:
            ledger.settle(target, Settlement(verb))

    expected = ALLOWED.get((State(before), verb)) if before != "absent" else None
    if expected is None:
        with pytest.raises(IllegalTransitionError, match=f"offset {target}"):
            act()
        assert (ledger._states, ledger.open, ledger.held) == (states_before, open_before, held_before)
    else:
        act()
        assert ledger._states == states_before | {target: expected}
        assert ledger.open == sum(state is State.OPEN for state in ledger._states.values())
        assert ledger.held == sum(state is State.HELD for state in ledger._states.values())


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
    assert ledger.commit == Commit(1000 + 2 * MAX_SPAN, OffsetMap(1000 + 2 * MAX_SPAN).encode())


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


def test_what_is_known_is_kept_until_it_is_decided_here() -> None:
    known = OffsetMap(
        10,
        bytes([Mark.OPEN, Mark.STARTED, Mark.STARTED]),
        {10: Note(2), 12: Note(4, goes_on=True)},
        unsure_below=14,
        agent="one",
    )
    ledger = Ledger(known, "two")
    for offset in (10, 11, 12, 13, 14):
        ledger.begin(offset)
    expected = [Past.STOPPED, Past.INTERRUPTED, Past.HANDED_OVER, Past.UNKNOWN, None]
    assert [earlier and earlier.past for earlier in map(ledger.earlier, range(10, 15))] == expected
    assert ledger.commit is not None
    passed_on = OffsetMap.decode(ledger.commit.metadata, 10)
    assert passed_on == known


def test_a_start_that_is_withdrawn_leaves_what_was_known_before() -> None:
    known = OffsetMap(10, bytes([Mark.STARTED, Mark.OPEN]), {10: Note(3), 11: Note(2)}, agent="one")
    ledger = Ledger(known, "one")
    for offset in (10, 11, 12):
        ledger.begin(offset)
    before = ledger.commit
    for offset in (10, 11, 12):
        ledger.start(offset)
        assert ledger.commit != before
        ledger.withdraw(offset)
    assert ledger.commit == before


def test_work_that_goes_on_as_its_message_comes_again_counts_no_second_time() -> None:
    known = OffsetMap(10, bytes([Mark.STARTED, Mark.STARTED]), {10: Note(3, goes_on=True)}, agent="one")
    ledger = Ledger(known, "one")
    for offset in (10, 11, 12):
        ledger.begin(offset)
        ledger.resume(offset)
    commit = ledger.commit_handing_over
    assert commit is not None
    handed_over = OffsetMap.decode(commit.metadata, 10)
    assert handed_over is not None
    assert [handed_over.earlier(offset) for offset in (10, 11, 12)] == [
        Earlier(Past.HANDED_OVER, 3, "one"),
        Earlier(Past.HANDED_OVER, 1, "one"),
        Earlier(Past.HANDED_OVER, 1, "one"),
    ]


def test_nobody_is_named_while_the_marks_are_of_several() -> None:
    ledger = Ledger(OffsetMap(0, bytes([Mark.STARTED]), agent="one"), "the second")

    def named() -> tuple[str | None, ...]:
        assert ledger.commit is not None
        known = OffsetMap.decode(ledger.commit.metadata, ledger.commit.offset)
        assert known is not None
        return tuple(earlier.agent if earlier else None for earlier in map(known.earlier, (0, 1)))

    ledger.begin(0)
    ledger.begin(1)
    assert named() == ("one", None)
    ledger.start(1)
    assert named() == ("", "")
    ledger.withdraw(1)
    assert named() == ("one", None)
    ledger.start(0)
    assert named() == ("the-second", None)
    ledger.withdraw(0)
    assert named() == ("one", None)
    ledger.start(1)
    ledger.settle(0, Settlement.ACCEPT)
    assert named() == (None, "the-second")


def test_what_was_not_read_yet_is_the_last_owners() -> None:
    for known in (
        OffsetMap(0, bytes([Mark.OPEN, Mark.STARTED]), agent="one"),
        OffsetMap(0, b"", {1: Note(2)}, agent="one"),
    ):
        ledger = Ledger(known, "two")
        ledger.begin(0)
        ledger.start(0)
        assert ledger.commit is not None
        passed_on = OffsetMap.decode(ledger.commit.metadata, 0)
        assert passed_on is not None
        assert passed_on.agent == ""
        same = Ledger(known, "one")
        same.begin(0)
        same.start(0)
        assert same.commit is not None
        assert same.commit.metadata.endswith("@one")


def test_the_messages_of_a_crowded_map_stay_as_unclear_as_they_were() -> None:
    known = OffsetMap(0, bytes([Mark.STARTED] * 3), crowded=True, agent="one")
    ledger = Ledger(known)
    unclear = Earlier(Past.HANDED_OVER, MANY, "one")
    for offset in range(3):
        ledger.begin(offset)
        assert ledger.commit is not None
        passed_on = OffsetMap.decode(ledger.commit.metadata, 0)
        assert passed_on is not None
        assert passed_on.crowded is (offset < 2)
        assert [passed_on.earlier(o) for o in range(3)] == [unclear] * 3


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

    @precondition(lambda self: "started" in self.model.values())
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from([o for o, s in self.model.items() if s == "started"]))
        self.ledger.withdraw(offset)
        self.model[offset] = "open"

    @precondition(lambda self: not {"open", "started"}.isdisjoint(self.model.values()))
    @rule(data=st.data(), verdict=st.sampled_from([Settlement.ACCEPT, Settlement.REJECT, Settlement.RELEASE]))
    def settle(self, data: st.DataObject, verdict: Settlement) -> None:
        offset = data.draw(st.sampled_from([o for o, s in self.model.items() if s in {"open", "started"}]))
        self.ledger.settle(offset, verdict)
        self.model[offset] = "held" if verdict is Settlement.RELEASE else "done"

    @precondition(lambda self: "started" in self.model.values())
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from([o for o, s in self.model.items() if s == "started"]))
        self.ledger.settle(offset, Settlement.REPEAT)
        self.model[offset] = "held"

    @invariant()
    def never_past_an_unfinished_message_and_never_back(self) -> None:
        unfinished = [o for o, s in self.model.items() if s != "done"]
        expected = min(unfinished) if unfinished else (max(self.model) + 1 if self.model else None)
        assert self.ledger.committable == expected
        assert self.ledger.unsettled == len(unfinished)
        assert self.ledger.open == [*self.model.values()].count("open")
        assert self.ledger.held == [*self.model.values()].count("held")
        assert (expected or 0) >= self.highest_seen_commit
        self.highest_seen_commit = expected or 0


TestLedgerMachine = LedgerMachine.TestCase


class SuccessionMachine(RuleBasedStateMachine):
    """One log under one owner after the other; each knows only what was committed before the last one vanished.

    Each has a name, which may be that of the last one. The model holds for every message what a commit that is made
    now has to say of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.says: dict[int, Earlier | Mark | None] = {}  # in the order of the log
        self.said = dict(self.says)
        self.committed = Commit(0, OffsetMap(0).encode())
        self.vanish("one")

    @rule(gap=st.integers(1, 4))
    def produce(self, gap: int) -> None:
        offset = max(self.says, default=0) + gap
        self.says[offset] = self.said[offset] = None
        self.unread.append(offset)

    @precondition(lambda self: self.unread)
    @rule()
    def read(self) -> None:
        offset = self.unread.pop(0)
        mark, says = self.ledger.begin(offset), self.says[offset]
        assert (mark is Mark.DONE) == (says is Mark.DONE)
        assert self.ledger.earlier(offset) == (None if says is Mark.DONE else says)
        if mark is not Mark.DONE:
            self.open.add(offset)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        self.ledger.start(offset)
        self.open.remove(offset)
        self.started[offset] = before = self.says[offset]
        begun = before.begun if isinstance(before, Earlier) else 0
        self.says[offset] = Earlier(Past.INTERRUPTED, begun + 1, self.name)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.open)))
        self.ledger.resume(offset)
        self.open.remove(offset)
        self.started[offset] = before = self.says[offset]
        begun = before.begun if isinstance(before, Earlier) else 0
        self.says[offset] = Earlier(Past.INTERRUPTED, max(1, begun), self.name)

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.started)))
        self.ledger.withdraw(offset)
        self.says[offset] = self.started.pop(offset)
        self.open.add(offset)

    @precondition(lambda self: self.started)
    @rule(data=st.data(), ending=st.sampled_from(Ending))
    def end(self, data: st.DataObject, ending: Ending) -> None:
        offset = data.draw(st.sampled_from(sorted(self.started)))
        self.ledger.end(offset, ending)
        del self.started[offset]
        self.ended.add(offset)
        self.says[offset] = Earlier(Past.ENDED, 1, self.name, ending)

    @precondition(lambda self: self.open or self.started or self.ended)
    @rule(data=st.data(), verdict=st.sampled_from([Settlement.ACCEPT, Settlement.REJECT, Settlement.RELEASE]))
    def settle(self, data: st.DataObject, verdict: Settlement) -> None:
        offset = data.draw(st.sampled_from(sorted({*self.open, *self.started, *self.ended})))
        self.ledger.settle(offset, verdict)
        self.open.discard(offset)
        self.ended.discard(offset)
        self.started.pop(offset, None)
        if verdict is not Settlement.RELEASE:
            self.says[offset] = Mark.DONE

    @precondition(lambda self: self.started)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        offset = data.draw(st.sampled_from(sorted(self.started)))
        self.ledger.settle(offset, Settlement.REPEAT)
        del self.started[offset]
        self.says[offset] = Earlier(Past.STOPPED, self._begun(offset), self.name)

    @rule()
    def commit(self) -> None:
        self._commit(self.ledger.commit, self.says)

    @rule()
    def hand_over(self) -> None:
        said = dict(self.says)
        said.update((o, Earlier(Past.HANDED_OVER, self._begun(o), self.name)) for o in self.started)
        self._commit(self.ledger.commit_handing_over, said)

    def _begun(self, offset: int) -> int:
        says = self.says[offset]
        assert isinstance(says, Earlier)
        return says.begun

    def _commit(self, commit: Commit | None, said: dict[int, Earlier | Mark | None]) -> None:
        if commit is None:
            return
        makers = {says.agent for says in said.values() if isinstance(says, Earlier) and says.begun}
        if len(makers) > 1:  # one map names one
            said = {o: replace(says, agent="") if isinstance(says, Earlier) else says for o, says in said.items()}
        self.committed, self.said = commit, dict(said)
        known = OffsetMap.decode(commit.metadata, commit.offset)
        assert known is not None
        for offset, says in said.items():
            assert (known.mark(offset) is Mark.DONE) == (says is Mark.DONE)
            assert known.earlier(offset) == (None if says is Mark.DONE else says)

    @rule(name=st.sampled_from(["one", "two"]))
    def vanish(self, name: str) -> None:
        self.name = name
        known = OffsetMap.decode(self.committed.metadata, self.committed.offset)
        assert known is not None
        self._take_over(known)

    @rule()
    def lose_the_map(self) -> None:
        """Somebody else committed the same offset without it."""
        end = max(self.says, default=0) + 1
        base = self.committed.offset
        self.said = {o: Earlier(Past.UNKNOWN) if o >= base else says for o, says in self.said.items()}
        self._take_over(OffsetMap(base, unsure_below=end))
        self.committed = Commit(base, OffsetMap(base, unsure_below=end).encode())

    def _take_over(self, known: OffsetMap) -> None:
        self.ledger = Ledger(known, self.name)
        self.says = dict(self.said)
        self.unread = [offset for offset in self.says if offset >= self.committed.offset]
        self.open: set[int] = set()
        self.started: dict[int, Earlier | Mark | None] = {}
        self.ended: set[int] = set()


TestSuccessionMachine = SuccessionMachine.TestCase
