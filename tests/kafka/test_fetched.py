"""What is known of records before they are entered, and what becomes of them where Kafka does not tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from agent.delivery.assignment import Assignment
from agent.delivery.offset_map import Mark, Note, OffsetMap
from agent.delivery.positions import Commit, Partition
from agent.domain.earlier import Earlier, Past
from agent.domain.events import Event, SourceFailed
from agent.kafka.client import partition_of
from agent.kafka.fetched import Fetched
from tests.kafka.still_clock import StillClock

P0, P1 = Partition("runs", 0), Partition("runs", 1)
UNKNOWN = Earlier(Past.UNKNOWN)
COMMITTED, PLACE = "committed", "place"


@dataclass
class _Answer:
    """A `TopicPartition` whose error only the client itself could set."""

    topic: str
    partition: int
    offset: int
    metadata: str | None = None
    error: KafkaError | None = None


class Broker:
    """Is the client of whoever asks.

    ``deaf`` requests fail for everybody, or for one partition: in its part of the answer, where answers have parts.
    """

    def __init__(self) -> None:
        self.stored: dict[Partition, Commit] = {}
        self.ends: dict[Partition, int] = {}
        self.deaf: set[tuple[str, Partition | None]] = set()
        self.asked: list[str] = []

    def committed(self, places: list[TopicPartition], _timeout: float) -> list[TopicPartition]:
        self._hear(COMMITTED, None)
        unordered = sorted(places, key=lambda p: p.partition, reverse=True)
        return [self._answer(COMMITTED, p, self.stored.get(partition_of(p), Commit(-1001))) for p in unordered]

    def get_watermark_offsets(self, place: TopicPartition, *, timeout: float) -> tuple[int, int]:
        del timeout
        self._hear(PLACE, partition_of(place))
        return 0, self.ends.get(partition_of(place), 0)

    def _hear(self, request: str, partition: Partition | None) -> None:
        self.asked.append(request)
        if (request, partition) in self.deaf:
            raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))

    def _answer(self, request: str, place: TopicPartition, commit: Commit) -> TopicPartition:
        deaf = (request, partition_of(place)) in self.deaf
        error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART) if deaf else None
        answer = _Answer(place.topic, place.partition, commit.offset, commit.metadata, error)
        return cast("TopicPartition", answer)


class Stage:
    """Records come, and are entered as soon as they may be."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.broker = Broker()
        self.assignment = Assignment("one")
        self.first_ends: dict[Partition, int] = {}
        self.fetched = Fetched(self.assignment, self, self.clock, self._start_over, self.first_ends.get)
        self.failures: list[SourceFailed] = []

    def notify(self, event: Event) -> None:
        assert isinstance(event, SourceFailed)
        self.failures.append(event)

    def assign(self, *partitions: Partition) -> None:
        self.assignment.assign(partitions)
        self.fetched.expect(partitions)

    def read(self, partition: Partition, *offsets: int) -> dict[int, Earlier | None]:
        """These come; returns what was entered by that, each with what is known of it."""
        for offset in offsets:
            self.fetched.add(Message(partition.topic, partition.index, offset))
        return {offset: earlier for p, offset, earlier in self.look() if p == partition}

    def look(self) -> list[tuple[Partition, int, Earlier | None]]:
        """What may be entered now, in its order."""
        entered = []
        for partition, message in self.fetched.ready(cast("Consumer", self.broker)):
            offset = message.offset()
            assert offset is not None
            begun = self.assignment.begin(partition, offset)
            if begun is not None:
                entered.append((partition, offset, begun.earlier))
        return entered

    def look_later(self) -> list[tuple[Partition, int, Earlier | None]]:
        """The same once it is asked again."""
        self.clock.now_s += 1.0
        return self.look()

    def _start_over(self, partition: Partition, _offset: int) -> None:
        self.assignment.assign([partition])
        self.fetched.expect([partition])


def test_what_the_map_says_is_asked_for_once_and_holds_for_its_messages() -> None:
    stage = Stage()
    marks = bytes([Mark.STARTED, Mark.DONE])
    stage.broker.stored[P0] = Commit(7, OffsetMap(7, marks, agent="zero").encode() + "\0")  # as librdkafka writes
    stage.assign(P0)
    assert stage.read(P0, 7, 8) == {7: Earlier(Past.INTERRUPTED, 1, "zero")}
    assert stage.read(P0, 9) == {9: None}
    assert stage.broker.asked == [COMMITTED]
    assert stage.failures == []


def test_nothing_is_asked_before_a_record_comes() -> None:
    stage = Stage()
    stage.assign(P0, P1)
    assert stage.look() == []
    assert stage.broker.asked == []


@pytest.mark.parametrize(("metadata", "told"), [("", []), ("somebody else's", ["offset_map"])])
def test_without_a_map_all_that_is_there_already_is_unsure(metadata: str, told: list[str]) -> None:
    stage = Stage()
    stage.broker.stored[P0] = Commit(7, metadata)
    stage.broker.ends[P0] = 9
    stage.assign(P0)
    assert stage.read(P0, 7, 8, 9) == {7: UNKNOWN, 8: UNKNOWN, 9: None}
    assert [failure.code for failure in stage.failures] == told
    assert stage.broker.asked == [COMMITTED, PLACE]


def test_where_nothing_is_committed_all_that_is_there_already_is_unsure() -> None:
    stage = Stage()
    stage.broker.ends[P0] = 9
    stage.assign(P0)
    assert stage.read(P0, 7, 8, 9) == {7: UNKNOWN, 8: UNKNOWN, 9: None}
    assert stage.broker.asked == [COMMITTED, PLACE]


def test_what_came_after_the_partition_became_ours_is_surely_new() -> None:
    stage = Stage()
    stage.broker.ends[P0] = 9  # by the time at which its first record is here
    stage.first_ends[P0] = 8
    stage.assign(P0)
    assert stage.read(P0, 7, 8) == {7: UNKNOWN, 8: None}
    assert stage.broker.asked == [COMMITTED]


@pytest.mark.parametrize(("request_", "partition"), [(COMMITTED, None), (COMMITTED, P0), (PLACE, P0)])
def test_records_wait_while_kafka_does_not_tell(request_: str, partition: Partition | None) -> None:
    stage = Stage()
    stage.broker.ends[P0] = 8
    stage.broker.deaf = {(request_, partition)}
    stage.assign(P0)
    assert stage.read(P0, 7) == {}
    assert P0 in stage.fetched
    asked = stage.broker.asked.copy()
    assert stage.read(P0, 8) == {}
    assert stage.broker.asked == asked  # not at each turn
    assert stage.look_later() == []
    assert stage.broker.asked == asked * 2
    [failure, again] = stage.failures
    assert failure == again
    assert "nothing begins there" in failure.detail
    stage.broker.deaf = set()
    assert stage.look_later() == [(P0, 7, UNKNOWN), (P0, 8, None)]
    assert P0 not in stage.fetched


def test_one_partition_of_which_kafka_does_not_tell_holds_up_no_other() -> None:
    stage = Stage()
    stage.broker.deaf = {(PLACE, P0)}
    stage.assign(P0, P1)
    assert stage.read(P0, 0) == {}
    assert stage.read(P1, 0) == {}
    assert stage.look_later() == [(P1, 0, None)]
    stage.read(P0, 1)
    stage.broker.deaf = set()
    assert stage.look_later() == [(P0, 0, None), (P0, 1, None)]


def test_a_partition_that_goes_is_not_asked_about_any_more() -> None:
    stage = Stage()
    stage.broker.deaf = {(COMMITTED, None)}
    stage.assign(P0)
    stage.read(P0, 0)
    stage.assignment.revoke([P0])
    stage.fetched.forget([P0])
    assert P0 not in stage.fetched
    stage.broker.deaf = set()
    assert stage.look_later() == []
    assert stage.read(P0, 1) == {}  # as one does that was under way
    assert stage.assignment.partitions == ()
    assert stage.broker.asked == [COMMITTED]


def test_a_partition_that_comes_is_asked_about_at_once() -> None:
    stage = Stage()
    stage.broker.deaf = {(PLACE, P0)}
    stage.assign(P0)
    assert stage.read(P0, 0) == {}
    stage.broker.deaf = set()
    stage.assign(P1)
    assert stage.read(P1, 0) == {0: None}


@pytest.mark.parametrize(
    ("left", "unsure"),
    [
        (OffsetMap(7, bytes([Mark.STARTED, Mark.DONE])), range(2, 9)),
        (OffsetMap(7, b"", {8: Note(1)}), range(2, 9)),
        (OffsetMap(7, unsure_below=10), range(2, 10)),
        (OffsetMap(7), range(2, 7)),
    ],
)
def test_a_log_that_begins_anew_below_what_was_committed_may_hold_what_has_run(
    left: OffsetMap, unsure: range
) -> None:
    stage = Stage()
    stage.broker.stored[P0] = Commit(7, left.encode())
    stage.assign(P0)
    told = stage.read(P0, *range(2, 12))
    assert [offset for offset, earlier in told.items() if earlier == UNKNOWN] == list(unsure)
    assert [earlier for offset, earlier in told.items() if offset not in unsure] == [None] * (12 - unsure.stop)


def test_a_log_that_goes_back_while_it_is_read_may_hold_what_has_run() -> None:
    stage = Stage()
    stage.broker.stored[P0] = Commit(5, OffsetMap(5).encode())
    stage.assign(P0)
    assert stage.read(P0, 5, 6) == {5: None, 6: None}
    stage.broker.stored[P0] = Commit(5, OffsetMap(5, bytes([Mark.STARTED])).encode())
    assert stage.read(P0, 3) == {}  # it must be asked what was committed meanwhile
    assert stage.look() == [(P0, 3, UNKNOWN)]
    assert stage.read(P0, 4, 5, 6) == {4: UNKNOWN, 5: UNKNOWN, 6: None}
