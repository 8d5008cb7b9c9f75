import pytest

from agent.delivery.assignment import Assignment
from agent.delivery.offset_map import MAX_SPAN, Mark, OffsetMap
from agent.delivery.positions import Commit, Partition
from agent.domain.settlement import Settlement

RUNS = Partition("org.runs", 0)
OTHER = Partition("org.runs", 1)


def test_a_result_from_before_a_rebalance_changes_nothing() -> None:
    assignment = Assignment()
    assignment.assign([RUNS])
    stale = assignment.begin(RUNS, 10)
    assert stale is not None
    assignment.revoke([RUNS])
    assert not assignment.is_current(stale)
    assignment.assign([RUNS])
    again = assignment.begin(RUNS, 10)
    assert again is not None
    assert again != stale

    assignment.start(stale)
    assignment.settle(stale, Settlement.ACCEPT)
    assert assignment.commits()[RUNS].offset == 10

    assignment.start(again)
    assignment.settle(again, Settlement.ACCEPT)
    assert assignment.commits() == {RUNS: Commit(11)}


def test_assigning_an_assigned_partition_starts_it_anew() -> None:
    assignment = Assignment()
    assignment.assign([RUNS])
    before = assignment.begin(RUNS, 3)
    assignment.assign([RUNS])
    assert before is not None
    assert not assignment.is_current(before)
    assert assignment.ledger(RUNS).committable is None


def test_messages_of_partitions_that_are_not_ours_are_not_entered() -> None:
    assignment = Assignment()
    assert assignment.begin(RUNS, 0) is None
    with pytest.raises(KeyError):
        assignment.ledger(RUNS)
    assignment.revoke([RUNS])
    assert assignment.partitions == ()


def test_a_record_handed_out_twice_is_entered_once() -> None:
    assignment = Assignment()
    assignment.assign([RUNS])
    assert assignment.begin(RUNS, 5) is not None
    assert assignment.begin(RUNS, 5) is None
    assert assignment.begin(RUNS, 4) is None
    assert assignment.begin(RUNS, 6) is not None


def test_commits_can_be_asked_of_some_partitions() -> None:
    assignment = Assignment()
    assignment.assign([RUNS, OTHER])
    assert assignment.partitions == (RUNS, OTHER)
    assert assignment.commits() == {}
    assignment.begin(RUNS, 7)
    assignment.begin(OTHER, 9)
    assert assignment.commits([OTHER, Partition("else", 0)]) == {OTHER: Commit(9)}
    assert str(OTHER) == "org.runs[1]"


def test_a_log_that_was_cut_is_told_from_a_record_that_comes_twice() -> None:
    assignment = Assignment()
    assert not assignment.is_rewound(RUNS, 0)
    assignment.assign([RUNS])
    assert not assignment.is_rewound(RUNS, 0)
    for offset in (5, 6):
        assignment.begin(RUNS, offset)
    assert not assignment.is_rewound(RUNS, 5)
    assert assignment.is_rewound(RUNS, 4)


def test_what_ended_under_the_last_owner_is_not_entered_again() -> None:
    assignment = Assignment()
    assignment.assign([RUNS])
    assignment.learn(RUNS, OffsetMap(4, bytes([Mark.OPEN, Mark.DONE, Mark.STARTED])))
    positions = [assignment.begin(RUNS, offset) for offset in (4, 5, 6, 7)]
    assert [position is None for position in positions] == [False, True, False, False]
    for position in positions:
        if position is not None:
            assignment.settle(position, Settlement.ACCEPT)
    assert assignment.commits() == {RUNS: Commit(8)}


def test_a_message_beyond_the_maps_reach_has_no_room_until_the_lowest_one_is_settled() -> None:
    assignment = Assignment()
    assert assignment.has_room_for(RUNS, 10**9)  # not ours: begin says so
    assignment.assign([RUNS])
    assert assignment.has_room_for(RUNS, 10**9)
    lowest = assignment.begin(RUNS, 100)
    assert lowest is not None
    assert assignment.has_room_for(RUNS, 100 + MAX_SPAN - 1)
    assert not assignment.has_room_for(RUNS, 100 + MAX_SPAN)
    assignment.settle(lowest, Settlement.ACCEPT)
    assert assignment.has_room_for(RUNS, 100 + MAX_SPAN)
