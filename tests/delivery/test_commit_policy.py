from agent.delivery.commit_policy import CommitPolicy, CommitState
from agent.delivery.positions import Partition

P0, P1 = Partition("t", 0), Partition("t", 1)
POLICY = CommitPolicy(interval_s=1.0, patience_s=30.0)


def test_the_first_commit_is_due_at_once_and_the_next_after_the_interval() -> None:
    state = CommitState(POLICY)
    assert state.due(100.0, {P0: 5}) == {P0: 5}
    state.began(100.0, {P0: 5})
    state.ended(ok=True)
    assert state.due(100.9, {P0: 6}) == {}
    assert state.due(101.0, {P0: 6, P1: 1}) == {P0: 6, P1: 1}


def test_what_is_committed_is_not_committed_again() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: 5})
    state.ended(ok=True)
    assert state.due(50.0, {P0: 5}) == {}
    assert state.changed({P0: 5, P1: 2}) == {P1: 2}


def test_one_commit_at_a_time_until_patience_runs_out() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: 5})
    assert state.due(29.0, {P0: 6}) == {}
    assert state.due(30.0, {P0: 6}) == {P0: 6}


def test_a_failed_commit_is_tried_again() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: 5})
    state.ended(ok=False)
    assert state.due(1.0, {P0: 5}) == {P0: 5}


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    state = CommitState(POLICY)
    state.ended(ok=True)
    assert state.due(0.0, {P0: 1}) == {P0: 1}


def test_a_partition_that_comes_back_is_committed_anew() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: 5, P1: 5})
    state.ended(ok=True)
    state.forget([P0])
    assert state.changed({P0: 5, P1: 5}) == {P0: 5}


def test_an_answer_about_a_partition_that_was_given_up_is_not_kept() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: 5, P1: 5})
    state.forget([P0])
    state.ended(ok=True)
    assert state.changed({P0: 5, P1: 5}) == {P0: 5}
