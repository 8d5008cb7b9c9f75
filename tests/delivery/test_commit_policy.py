import math

from agent.delivery.commit_policy import CommitPolicy, CommitState
from agent.delivery.positions import Commit, Partition

P0, P1 = Partition("t", 0), Partition("t", 1)
POLICY = CommitPolicy(interval_s=1.0, urgent_s=0.25, retry_s=0.5, patience_s=30.0)
FIVE, SIX, NINE = Commit(5), Commit(6), Commit(9)


def test_the_first_commit_may_be_sent_at_once_and_the_next_after_the_interval() -> None:
    state = CommitState(POLICY)
    assert state.is_time(100.0)
    state.began(100.0, {P0: FIVE})
    state.ended({P0: FIVE})
    assert not state.is_time(100.9)
    assert state.is_time(101.0)


def test_what_is_committed_is_not_committed_again() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    assert state.changed({P0: FIVE}) == {P0: FIVE}
    state.ended({P0: FIVE})
    assert state.changed({P0: FIVE, P1: SIX}) == {P1: SIX}


def test_the_same_offset_with_another_map_is_another_commit() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: Commit(5, "a map")})
    state.ended({P0: Commit(5, "a map")})
    assert state.changed({P0: Commit(5, "a map")}) == {}
    assert state.changed({P0: Commit(5, "another")}) == {P0: Commit(5, "another")}


def test_one_commit_at_a_time_until_patience_runs_out() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    assert not state.is_time(29.0)
    assert state.is_time(30.0)


def test_a_failed_commit_is_tried_again() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    state.ended({})
    assert state.is_time(1.0)
    assert state.changed({P0: FIVE}) == {P0: FIVE}


def test_what_somebody_waits_for_is_sent_soon_but_not_one_by_one() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    assert not state.is_time(1.0, urgent=True)  # the answer is awaited
    state.ended({P0: FIVE})
    assert not state.is_time(0.2, urgent=True)
    assert state.is_time(0.25, urgent=True)
    assert not state.is_time(0.25)


def test_what_somebody_waits_for_is_tried_again_with_some_pause() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    state.ended({})
    assert not state.is_time(0.4, urgent=True)
    assert state.is_time(0.5, urgent=True)
    state.began(0.5, {P0: FIVE})
    state.ended({P0: FIVE})
    assert state.is_time(0.75, urgent=True)


def test_a_late_answer_to_an_earlier_commit_does_not_stand_for_the_later_one() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    state.began(30.0, {P0: NINE})
    state.ended({P0: FIVE})  # the answer to the first, at last
    assert state.changed({P0: FIVE}) == {P0: FIVE}
    state.ended({})  # the second was refused
    assert state.changed({P0: NINE}) == {P0: NINE}


def test_neither_does_it_where_only_the_maps_differ() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: Commit(5, "the first map")})
    state.began(30.0, {P0: Commit(5, "the second")})
    state.ended({P0: Commit(5, "the first map")})
    assert state.changed({P0: Commit(5, "the first map")}) == {P0: Commit(5, "the first map")}


def test_what_was_committed_before_is_sent_again_where_another_commit_may_have_been_taken() -> None:
    """As when a start that is on its way is withdrawn: the broker must not keep its marker."""
    state = CommitState(POLICY)
    state.began(0.0, {P0: Commit(5, "open")})
    state.ended({P0: Commit(5, "open")})
    state.began(1.0, {P0: Commit(5, "started")})
    assert state.changed({P0: Commit(5, "open")}) == {P0: Commit(5, "open")}


def test_the_answer_to_a_commit_counts_beside_a_later_one_of_other_partitions() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    state.began(0.1, {P1: NINE})
    state.ended({P0: FIVE})
    assert state.changed({P0: FIVE, P1: NINE}) == {P1: NINE}


def test_a_partition_that_comes_back_is_committed_anew() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE, P1: FIVE})
    state.ended({P0: FIVE, P1: FIVE})
    state.forget([P0])
    assert state.changed({P0: FIVE, P1: FIVE}) == {P0: FIVE}


def test_an_answer_that_comes_after_its_partition_went_does_not_count() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    state.forget([P0])
    state.ended({P0: FIVE})
    assert state.changed({P0: FIVE}) == {P0: FIVE}


def test_an_answer_belongs_to_the_oldest_commit_that_says_the_same() -> None:
    state = CommitState(POLICY)
    for now_s, commit in enumerate([FIVE, NINE, FIVE], 1):
        state.began(float(now_s), {P0: commit})
    assert [state.answered({P0: commit}) for commit in (NINE, FIVE, FIVE)] == [2.0, 1.0, 3.0]


def test_an_answer_that_quotes_nothing_belongs_to_the_oldest_commit() -> None:
    state = CommitState(POLICY)
    assert state.answered({}) == -math.inf
    state.began(1.0, {P0: FIVE})
    state.began(2.0, {P0: NINE})
    assert [state.answered({}), state.answered({P0: NINE})] == [1.0, 2.0]


def test_a_commit_that_could_not_be_sent_is_not_under_way() -> None:
    state = CommitState(POLICY)
    state.began(1.0, {P0: FIVE})
    state.began(2.0, {P0: FIVE})
    state.unsent()
    assert state.answered({P0: FIVE}) == 1.0
    assert state.answered({P0: FIVE}) == -math.inf


def test_an_older_commit_that_is_taken_after_the_last_one_is_mended() -> None:
    state = CommitState(POLICY)
    state.began(0.0, {P0: FIVE})
    state.began(30.0, {P0: NINE})
    state.ended({P0: NINE})
    assert state.changed({P0: NINE}) == {}
    state.ended({P0: FIVE})
    assert state.changed({P0: NINE}) == {P0: NINE}


def test_a_commit_is_on_its_way_until_any_answer() -> None:
    state = CommitState(POLICY)
    told = [state.is_unanswered]
    state.began(0.0, {P0: FIVE})
    told.append(state.is_unanswered)
    state.ended({})
    told.append(state.is_unanswered)
    assert told == [False, True, False]
