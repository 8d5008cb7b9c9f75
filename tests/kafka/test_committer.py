"""When commits are sent, and what their answers mean for the starts that wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from agent.delivery.assignment import Assignment
from agent.delivery.commit_policy import CommitPolicy
from agent.delivery.ledger import IllegalTransitionError
from agent.delivery.offset_map import Mark, Note, OffsetMap
from agent.delivery.positions import Partition, Position
from agent.domain.earlier import Earlier, Ending, Past
from agent.domain.events import Committed, Event
from agent.domain.settlement import Settlement
from agent.kafka.client import partition_of
from agent.kafka.committer import Committer
from tests.kafka.still_clock import StillClock

P0, P1 = Partition("runs", 0), Partition("runs", 1)
POLICY = CommitPolicy(interval_s=1.0, urgent_s=0.005, retry_s=0.25, patience_s=30.0)
BELIEVED_FOR_S = 20.0
STARTED = bytes([Mark.STARTED])


class Broker:
    """Is the client of a committer, and what stands behind it.

    ``refused`` partitions take no commit; ``gone``: none is even sent; ``errors``: why the next ones are not taken.
    """

    def __init__(self) -> None:
        self.refused: set[Partition] = set()
        self.gone = False
        self.errors: list[int] = []
        self.maps: dict[Partition, OffsetMap] = {}
        self.unanswered: list[list[TopicPartition]] = []
        self.sent = 0
        self.during_commit: Callable[[], None] = lambda: None

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        if self.gone:
            raise KafkaException(KafkaError(KafkaError._WAIT_COORD))
        self.sent += 1
        self.during_commit()
        if self.errors:
            raise KafkaException(KafkaError(self.errors.pop(0)))
        answers = [self._take(place) for place in offsets]
        if asynchronous:
            self.unanswered.append(answers)
            return None
        return answers

    def _take(self, place: TopicPartition) -> TopicPartition:
        if partition_of(place) in self.refused:
            return cast("TopicPartition", _Refused(place))
        known = OffsetMap.decode(place.metadata or "", place.offset)
        assert known is not None
        self.maps[partition_of(place)] = known
        return place


class _Refused:
    """A `TopicPartition` whose error only the client itself could set."""

    def __init__(self, place: TopicPartition) -> None:
        self.topic, self.partition = place.topic, place.partition
        self.offset, self.metadata = place.offset, place.metadata
        self.error = KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE)


class Stage:
    """A committer whose assignment has ``P0`` and ``P1``, each with the offsets 0 and 1 begun."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.assignment = Assignment("one")
        self.answers: dict[object, bool] = {}
        self.until_s: float | None = None
        self.results: list[str] = []
        self.broker = Broker()
        self.committer = Committer(
            self.assignment,
            POLICY,
            self,
            self.clock,
            self._tell,
            believed_for_s=BELIEVED_FOR_S,
            wait=self._wait,
        )
        self.assignment.assign([P0, P1])
        self.at = {(p, offset): self._begin(p, offset) for p in (P0, P1) for offset in (0, 1)}
        self.pass_by(0)
        self.answer()

    def notify(self, event: Event) -> None:
        assert isinstance(event, Committed)
        self.results.append(event.result)

    @property
    def client(self) -> Consumer:
        return cast("Consumer", self.broker)

    def start(self, partition: Partition, offset: int, token: object) -> None:
        self.committer.start(self.at[partition, offset], token)

    def pass_by(self, seconds: float) -> int:
        """Time passes, and what is due is committed; returns how many commits that were."""
        self.clock.now_s += seconds
        before = self.broker.sent
        self.committer.commit_if_due(self.client)
        return self.broker.sent - before

    def pass_by_alone(self, seconds: float) -> None:
        """Time passes, and nothing is done."""
        self.clock.now_s += seconds

    def answer(self) -> None:
        """The oldest commit is answered."""
        self.committer.on_commit(None, self.broker.unanswered.pop(0))

    def _begin(self, partition: Partition, offset: int) -> Position:
        begun = self.assignment.begin(partition, offset)
        assert begun is not None
        return begun.position

    def _wait(self, seconds: float) -> None:
        assert seconds > 0
        self.pass_by_alone(seconds)

    def _tell(self, tokens: list[object], until_s: float | None) -> None:
        assert not self.answers.keys() & set(tokens), "a start was answered twice"
        self.answers.update(dict.fromkeys(tokens, until_s is not None))
        self.until_s = until_s


def test_a_start_is_committed_soon_and_begins_with_the_answer() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.start(P1, 1, "second")
    assert stage.committer.is_awaited
    assert stage.pass_by(0.001) == 0
    assert stage.pass_by(0.005) == 1
    assert stage.broker.maps[P0] == OffsetMap(0, STARTED, agent="one")
    assert stage.answers == {}
    stage.answer()
    assert stage.answers == {"first": True, "second": True}
    assert not stage.committer.is_awaited


def test_an_answer_that_is_read_late_lets_nothing_begin_until_the_broker_has_said_it_again() -> None:
    """We stood still: the group may have given the partition to somebody who has read the marker."""
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.pass_by(0.01)
    stage.clock.now_s += BELIEVED_FOR_S
    stage.answer()
    assert stage.answers == {}
    assert stage.results[-1] == "_TIMED_OUT"
    assert stage.pass_by(POLICY.retry_s) == 1
    stage.clock.now_s += BELIEVED_FOR_S - 0.01
    stage.answer()
    assert stage.answers == {"first": True}


def test_the_answer_to_an_old_commit_is_old_though_the_same_was_sent_again_just_now() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    assert stage.pass_by(0.01) == 1
    assert stage.pass_by(POLICY.patience_s) == 1
    stage.clock.now_s += 1.0
    stage.answer()
    assert stage.answers == {}
    assert stage.results[-1] == "_TIMED_OUT"
    stage.answer()
    assert stage.answers == {"first": True}
    assert stage.until_s == stage.clock.now_s - 1.0 + BELIEVED_FOR_S


def test_a_commit_that_could_not_be_sent_has_no_answer_that_another_might_be_taken_for() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    assert stage.pass_by(0.01) == 1
    stage.broker.gone = True
    stage.pass_by(POLICY.patience_s)
    assert stage.results[-1] == "_WAIT_COORD"
    stage.answer()  # to the one that was sent
    assert stage.answers == {}
    assert stage.results[-1] == "_TIMED_OUT"
    stage.broker.gone = False
    assert stage.pass_by(BELIEVED_FOR_S) == 1
    stage.answer()
    assert stage.answers == {"first": True}


def test_without_a_start_the_next_commit_waits_for_its_interval() -> None:
    stage = Stage()
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    assert stage.pass_by(0.9) == 0
    assert stage.pass_by(0.2) == 1
    assert stage.broker.maps[P0] == OffsetMap(1)


def test_an_end_that_port_does_not_know_of_is_committed_soon_and_once() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    assert stage.pass_by(0.01) == 1
    stage.answer()
    stage.committer.end(stage.at[P0, 0], Ending.SUCCESS)
    assert not stage.committer.is_awaited
    assert stage.pass_by(0.01) == 1
    assert stage.broker.maps[P0].earlier(0) == Earlier(Past.ENDED, 1, "one", Ending.SUCCESS)
    stage.answer()
    assert stage.pass_by(0.01) == 0
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    assert stage.pass_by(0.01) == 0  # that has time
    assert stage.pass_by(1.0) == 1


def test_the_answer_to_an_older_commit_lets_nothing_begin() -> None:
    stage = Stage()
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    assert stage.pass_by(1.0) == 1
    stage.start(P0, 1, "late")
    assert stage.pass_by(0.01) == 0  # one commit at a time
    assert stage.pass_by(POLICY.patience_s) == 1
    stage.answer()
    assert stage.answers == {}
    stage.answer()
    assert stage.answers == {"late": True}


@pytest.mark.parametrize("trouble", ["gone", "refused", "failed"])
def test_a_commit_that_failed_is_repeated_while_a_start_waits_after_a_moment(trouble: str) -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.broker.gone = trouble == "gone"
    stage.broker.refused = {P0} if trouble == "refused" else set()
    stage.pass_by(0.01)
    if trouble == "refused":
        stage.answer()
    elif trouble == "failed":
        stage.committer.on_commit(KafkaError(KafkaError.NOT_COORDINATOR), stage.broker.unanswered.pop())
    assert stage.answers == {}
    stage.broker.gone, stage.broker.refused = False, set()
    assert stage.pass_by(0.1) == 0
    assert stage.pass_by(0.2) == 1
    stage.answer()
    assert stage.answers == {"first": True}
    assert stage.results[-2:] == [
        {"gone": "_WAIT_COORD", "refused": "OFFSET_METADATA_TOO_LARGE", "failed": "NOT_COORDINATOR"}[trouble],
        "ok",
    ]


def test_a_partition_that_takes_no_commit_is_not_tried_all_the_time_and_holds_up_no_other() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.start(P1, 0, "second")
    stage.broker.refused = {P0}
    assert stage.pass_by(0.01) == 1
    stage.answer()
    assert stage.answers == {"second": True}
    assert stage.pass_by(0.1) == 0
    assert stage.pass_by(0.2) == 1


@pytest.mark.parametrize("how", ["withdrawn", "settled"])
def test_a_start_that_has_no_point_any_more_is_answered_no(how: str) -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    assert stage.pass_by(0.01) == 1
    if how == "withdrawn":
        stage.committer.withdraw(stage.at[P0, 0])
    else:
        stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    stage.answer()
    assert stage.answers == {"first": False}
    assert stage.pass_by(1.0) == 1
    assert stage.broker.maps[P0] == OffsetMap(0 if how == "withdrawn" else 1)


def test_a_start_that_was_settled_meanwhile_is_no_trouble_as_its_partition_goes() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    stage.committer.hand_over(stage.client, [P0], we_go=False)
    assert stage.broker.maps[P0] == OffsetMap(1)


def test_what_is_begun_again_before_its_withdrawal_was_committed_begins_with_a_commit_of_its_own() -> None:
    """The marker is in the last commit still, but that may be long ago."""
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.pass_by(0.01)
    stage.answer()
    stage.committer.withdraw(stage.at[P0, 0])
    stage.start(P0, 0, "again")
    assert stage.pass_by(0.01) == 1
    assert stage.answers == {"first": True}
    stage.answer()
    assert stage.answers == {"first": True, "again": True}


@pytest.mark.parametrize("before", [Settlement.RELEASE, None])
def test_a_start_that_the_ledger_refuses_is_answered(before: Settlement | None) -> None:
    stage = Stage()
    if before is None:
        stage.start(P0, 0, "first")
    else:
        stage.committer.settle(stage.at[P0, 0], before)
    with pytest.raises(IllegalTransitionError):
        stage.start(P0, 0, "again")
    assert stage.answers == {"again": False}


def test_a_partition_that_goes_takes_along_what_has_begun_and_not_what_waits() -> None:
    stage = Stage()
    stage.start(P0, 0, "begun")
    stage.pass_by(0.01)
    stage.answer()
    stage.start(P0, 1, "here")
    stage.start(P1, 1, "there")
    stage.pass_by(0.01)
    seen: list[bool] = []
    stage.broker.during_commit = lambda: seen.append(stage.assignment.is_current(stage.at[P0, 0]))
    stage.committer.hand_over(stage.client, [P0], we_go=False)
    assert seen == [False]  # ours no more as it was committed
    assert stage.broker.maps[P0] == OffsetMap(0, STARTED, {0: Note(1, goes_on=True)}, agent="one")
    assert stage.answers == {"begun": True, "here": False}
    stage.answer()  # to the commit before: it is only true of what stayed
    assert stage.answers == {"begun": True, "here": False, "there": True}


def test_work_that_goes_on_is_handed_over_again_though_nothing_was_committed_meanwhile() -> None:
    stage = Stage()
    stage.committer.resume(stage.at[P0, 0])
    assert not stage.committer.is_awaited
    stage.committer.hand_over(stage.client, [P0], we_go=False)
    assert stage.broker.maps[P0].earlier(0) == Earlier(Past.HANDED_OVER, 1, "one")


def test_work_that_goes_on_is_committed_soon_and_may_be_withdrawn() -> None:
    stage = Stage()
    stage.committer.resume(stage.at[P0, 0])
    assert stage.pass_by(0.01) == 1
    assert stage.broker.maps[P0].earlier(0) == Earlier(Past.INTERRUPTED, 1, "one")
    stage.answer()
    stage.committer.withdraw(stage.at[P0, 0])
    assert stage.pass_by(1.0) == 1
    assert stage.broker.maps[P0] == OffsetMap(0)


def test_an_end_takes_a_start_that_waits_along() -> None:
    stage = Stage()
    stage.start(P0, 0, "again")
    stage.committer.end(stage.at[P0, 0], Ending.SUCCESS)
    assert stage.answers == {"again": False}
    stage.committer.hand_over(stage.client, [P0], we_go=False)
    assert stage.broker.maps[P0].earlier(0) == Earlier(Past.ENDED, 1, "one", Ending.SUCCESS)


@pytest.mark.parametrize("how", ["handed over", "given up"])
def test_a_start_that_is_none_any_more_is_no_trouble_as_its_partition_goes(how: str) -> None:
    """Whatever the ledger says of it: an error within a rebalance would end the consumer."""
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.start(P0, 1, "second")
    stage.assignment.end(stage.at[P0, 0], Ending.SUCCESS)
    if how == "handed over":
        stage.committer.hand_over(stage.client, [P0], we_go=False)
    else:
        stage.committer.give_up()
        assert stage.committer.commit_now(stage.client)
    assert stage.answers == {"first": False, "second": False}
    assert stage.broker.maps[P0].earlier(0) == Earlier(Past.ENDED, 1, "one", Ending.SUCCESS)
    assert stage.broker.maps[P0].earlier(1) is None


def test_as_the_agent_goes_too_what_has_begun_is_interrupted() -> None:
    stage = Stage()
    stage.start(P0, 0, "begun")
    stage.pass_by(0.01)
    stage.answer()
    stage.committer.settle(stage.at[P0, 1], Settlement.ACCEPT)
    stage.committer.hand_over(stage.client, [P0], we_go=True)
    assert stage.broker.maps[P0] == OffsetMap(0, bytes([Mark.STARTED, Mark.DONE]), agent="one")
    assert stage.assignment.partitions == (P1,)


def test_a_refused_hand_over_is_told_and_lets_the_partition_go() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.committer.settle(stage.at[P0, 1], Settlement.ACCEPT)
    stage.broker.gone = True
    stage.committer.hand_over(stage.client, [P0], we_go=False)
    assert stage.results[-1] == "_WAIT_COORD"
    assert stage.answers == {"first": False}
    assert stage.assignment.partitions == (P1,)


@pytest.mark.parametrize(
    "passing",
    [
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._WAIT_COORD,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
    ],
)
def test_a_hand_over_that_meets_what_passes_is_repeated(passing: int) -> None:
    stage = Stage()
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    stage.broker.errors = [passing, passing]
    stage.committer.hand_over(stage.client, [P0], we_go=False)
    assert stage.broker.maps[P0] == OffsetMap(1)
    assert stage.results[-3:] == [KafkaError(passing).name()] * 2 + ["ok"]


@pytest.mark.parametrize("each_takes_s", [0.0, 0.5, 60.0])
def test_a_hand_over_that_goes_on_being_refused_ends_by_the_clock(each_takes_s: float) -> None:
    stage = Stage()
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    stage.broker.errors = [KafkaError.STALE_MEMBER_EPOCH] * 1000
    stage.broker.during_commit = lambda: stage.pass_by_alone(each_takes_s)
    began_s = stage.clock.now_s
    stage.committer.hand_over(stage.client, [P0], we_go=False)
    assert not stage.assignment.is_current(stage.at[P0, 0])
    took_s = stage.clock.now_s - began_s
    assert 2.0 <= took_s < 2.2 + 2 * each_takes_s
    assert (len(stage.broker.errors) == 999) is (each_takes_s > 2)


def test_as_the_agent_goes_a_hand_over_takes_less_of_its_time() -> None:
    stage = Stage()
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    stage.broker.gone = True
    began_s = stage.clock.now_s
    stage.committer.hand_over(stage.client, [P0], we_go=True)
    assert 0.3 < stage.clock.now_s - began_s < 0.8


@pytest.mark.parametrize(
    "final", [KafkaError.FENCED_MEMBER_EPOCH, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION]
)
def test_a_hand_over_of_what_somebody_else_has_already_is_not_repeated(final: int) -> None:
    stage = Stage()
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    before, stage.broker.errors = stage.broker.sent, [final]
    stage.committer.hand_over(stage.client, [P0], we_go=False)
    assert stage.broker.sent == before + 1


@pytest.mark.parametrize("code", [KafkaError.STALE_MEMBER_EPOCH, KafkaError.FENCED_MEMBER_EPOCH])
def test_a_start_whose_commit_met_another_epoch_begins_only_with_one_that_is_taken(code: int) -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    assert stage.pass_by(0.01) == 1
    stage.broker.unanswered.clear()
    stage.committer.on_commit(KafkaError(code), [])
    assert stage.answers == {}
    assert stage.pass_by(POLICY.retry_s) == 1
    stage.answer()
    assert stage.answers == {"first": True}


def test_what_waits_where_a_partition_was_lost_never_begins() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.pass_by(0.01)
    stage.assignment.revoke([P0])
    stage.committer.forget([P0])
    stage.start(P0, 1, "second")
    stage.answer()
    assert stage.answers == {"first": False, "second": False}


def test_what_waits_as_the_consumer_goes_never_begins_and_leaves_no_mark() -> None:
    stage = Stage()
    stage.start(P0, 0, "first")
    stage.start(P1, 0, "second")
    stage.pass_by(0.01)
    stage.committer.give_up()
    assert stage.answers == {"first": False, "second": False}
    assert stage.committer.commit_now(stage.client)
    assert stage.broker.maps == {P0: OffsetMap(0), P1: OffsetMap(0)}


def test_the_last_commit_says_whether_all_was_taken() -> None:
    stage = Stage()
    stage.committer.settle(stage.at[P0, 0], Settlement.ACCEPT)
    stage.broker.refused = {P0}
    assert not stage.committer.commit_now(stage.client)
    stage.broker.refused, stage.broker.gone = set(), True
    assert not stage.committer.commit_now(stage.client)
    stage.broker.gone = False
    assert stage.committer.commit_now(stage.client)
    sent = stage.broker.sent
    assert stage.committer.commit_now(stage.client)
    assert stage.broker.sent == sent  # there was nothing left
