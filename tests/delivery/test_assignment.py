import pytest

from agent.delivery.assignment import Assignment
from agent.delivery.offset_map import MAX_SPAN, Mark, Note, OffsetMap
from agent.delivery.positions import Commit, Partition, Position
from agent.domain.earlier import Earlier, Ending, Past
from agent.domain.settlement import Settlement

RUNS = Partition("org.runs", 0)
OTHER = Partition("org.runs", 1)


def begun(assignment: Assignment, offset: int, partition: Partition = RUNS) -> Position:
    entered = assignment.begin(partition, offset)
    assert entered is not None
    return entered.position


def at(offset: int) -> Commit:
    """The commit where all is done below ``offset`` and nothing is known above."""
    return Commit(offset, OffsetMap(offset).encode())


def test_a_result_from_before_a_rebalance_changes_nothing() -> None:
    assignment = Assignment()
    assignment.assign([RUNS])
    stale = begun(assignment, 10)
    assignment.revoke([RUNS])
    assert not assignment.is_current(stale)
    assignment.assign([RUNS])
    again = begun(assignment, 10)
    assert again != stale

    assignment.start(stale)
    assignment.resume(stale)
    assignment.settle(stale, Settlement.ACCEPT)
    assert assignment.commits() == {RUNS: at(10)}

    assignment.start(again)
    assignment.withdraw(stale)
    assignment.settle(again, Settlement.ACCEPT)
    assert assignment.commits() == {RUNS: at(11)}


def test_assigning_an_assigned_partition_starts_it_anew() -> None:
    assignment = Assignment()
    assignment.assign([RUNS])
    before = begun(assignment, 3)
    assignment.assign([RUNS])
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


def test_the_last_commit_is_of_the_partitions_that_go_and_tells_what_goes_on_here() -> None:
    assignment = Assignment("one")
    assignment.assign([RUNS, OTHER])
    assert assignment.partitions == (RUNS, OTHER)
    assert assignment.commits() == {}
    begun(assignment, 7)
    assignment.start(begun(assignment, 9, OTHER))
    (commit,) = assignment.commits_handing_over([OTHER, Partition("else", 0)]).items()
    assert commit == (
        OTHER,
        Commit(9, OffsetMap(9, bytes([Mark.STARTED]), {9: Note(1, goes_on=True)}, agent="one").encode()),
    )
    assert assignment.commits()[OTHER] == Commit(9, OffsetMap(9, bytes([Mark.STARTED]), agent="one").encode())
    assert str(OTHER) == "org.runs[1]"


def test_work_that_ended_does_not_go_on_and_its_end_is_told_with_the_next_commit() -> None:
    assignment = Assignment("one")
    assignment.assign([RUNS])
    position = begun(assignment, 9)
    assignment.start(position)
    assignment.end(position, Ending.FAILURE)
    ended = {9: Note(1, ended=Ending.FAILURE)}
    commit = Commit(9, OffsetMap(9, bytes([Mark.STARTED]), ended, agent="one").encode())
    assert assignment.commits_handing_over([RUNS]) == assignment.commits() == {RUNS: commit}
    assignment.revoke([RUNS])
    assignment.end(position, Ending.SUCCESS)  # somebody else's by now


def test_it_tells_whether_any_work_may_begin_at_any_moment() -> None:
    assignment = Assignment()
    assignment.assign([RUNS, OTHER])
    told = [assignment.has_open]
    position = begun(assignment, 3, OTHER)
    told.append(assignment.has_open)
    assignment.start(position)
    told.append(assignment.has_open)
    assignment.withdraw(position)
    told.append(assignment.has_open)
    assert told == [False, True, False, True]


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
    entered = [assignment.begin(RUNS, offset) for offset in (4, 5, 6, 7)]
    assert [found and found.earlier for found in entered] == [None, None, Earlier(Past.INTERRUPTED, 1), None]
    assert entered[1] is None
    for found in entered:
        if found is not None:
            assignment.settle(found.position, Settlement.ACCEPT)
    assert assignment.commits() == {RUNS: at(8)}


def test_a_message_beyond_the_maps_reach_has_no_room_until_the_lowest_one_is_settled() -> None:
    assignment = Assignment()
    assert assignment.has_room_for(RUNS, 10**9)  # not ours: begin says so
    assignment.assign([RUNS])
    assert assignment.has_room_for(RUNS, 10**9)
    lowest = begun(assignment, 100)
    assert assignment.has_room_for(RUNS, 100 + MAX_SPAN - 1)
    assert not assignment.has_room_for(RUNS, 100 + MAX_SPAN)
    assignment.settle(lowest, Settlement.ACCEPT)
    assert assignment.has_room_for(RUNS, 100 + MAX_SPAN)
