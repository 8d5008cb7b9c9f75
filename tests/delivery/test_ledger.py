import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.delivery.ledger import IllegalTransitionError, Ledger, State
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
