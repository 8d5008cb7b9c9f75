from agent.delivery.commit_policy import CommitPolicy, CommitState
from agent.delivery.positions import Partition

P0, P1 = Partition("t", 0), Partition("t", 1)
POLICY = CommitPolicy(interval_s=1.0, patience_s=30.0)


def test_the_first_commit_is_due_at_once_and_the_next_after_the_interval() -> None:
    state = CommitState(POLICY)
    assert state.due(100.0, {P0: 5}) == {P0: 5}
    state.began(100.0)
    state.ended({P0: 5})
    assert state.due(100.9, {P0: 6}) == {}
    assert state.due(101.0, {P0: 6, P1: 1}) == {P0: 6, P1: 1}


def test_what_is_committed_is_not_committed_again() -> None:
    state = CommitState(POLICY)
    state.began(0.0)
    state.ended({P0: 5})
    assert state.due(50.0, {P0: 5}) == {}
    assert state.changed({P0: 5, P1: 2}) == {P1: 2}


def test_one_commit_at_a_time_until_patience_runs_out() -> None:
    state = CommitState(POLICY)
    state.began(0.0)
    assert state.due(29.0, {P0: 6}) == {}
    assert state.due(30.0, {P0: 6}) == {P0: 6}


def test_a_failed_commit_is_tried_again() -> None:
    state = CommitState(POLICY)
    state.began(0.0)
    state.ended({})
    assert state.due(1.0, {P0: 5}) == {P0: 5}


def test_a_late_answer_to_an_earlier_commit_does_not_stand_for_the_later_one() -> None:
    state = CommitState(POLICY)
    state.began(0.0)
    assert state.due(30.0, {P0: 9}) == {P0: 9}
    state.began(30.0)
    state.ended({P0: 5})  # the answer to the first, at last
    state.ended({})  # the second was refused
    assert state.changed({P0: 9}) == {P0: 9}


def test_a_partition_that_comes_back_is_committed_anew() -> None:
    state = CommitState(POLICY)
    state.began(0.0)
    state.ended({P0: 5, P1: 5})
    state.forget([P0])
    assert state.changed({P0: 5, P1: 5}) == {P0: 5}
