"""Partitions that nothing is read of though there is more."""

from __future__ import annotations

from typing import cast

from confluent_kafka import Consumer, TopicPartition

from agent.delivery.positions import Partition
from agent.kafka.standstills import Standstills
from tests.kafka.fake_consumer import FakeConsumer

P0, P1 = Partition("runs", 0), Partition("runs", 1)
TICK_S = 2.0


class Reading:
    """A consumer that is looked at every two seconds; ``at`` is where its reading has come to."""

    def __init__(self) -> None:
        self.client = FakeConsumer()
        self.standstills = Standstills()
        self.at = {P0: 0, P1: 0}
        self.now_s = 1000.0

    def watch(self, seconds: float) -> None:
        """Time goes by."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += TICK_S
            self.standstills.look_up(cast("Consumer", self.client), self.at, self.now_s)

    def unread_for_s(self, partition: Partition = P0) -> float | None:
        return self.standstills.unread_for_s(partition)


def test_a_partition_with_more_to_read_that_stands_still_is_told_with_its_time() -> None:
    reading = Reading()
    reading.client.ends = {P0: 7}

    reading.watch(130)

    unread_for_s = reading.unread_for_s()
    assert unread_for_s is not None
    assert 90 <= unread_for_s <= 130
    assert reading.unread_for_s(P1) is None


def test_a_partition_that_was_read_to_its_end_stands_at_peace() -> None:
    reading = Reading()
    reading.client.ends = {P0: 7}
    reading.at[P0] = 7

    reading.watch(1000)

    assert reading.unread_for_s() is None


def test_what_is_no_record_at_the_end_counts_as_read_once_the_client_has_passed_it() -> None:
    """The end of a transaction takes an offset, and so do records of one that was aborted."""
    reading = Reading()
    reading.client.ends = {P0: 9}
    reading.at[P0] = 7
    reading.watch(60)
    assert reading.unread_for_s() is not None

    reading.standstills.note_end(P0, 9)
    reading.watch(60)
    assert reading.unread_for_s() is None

    reading.client.ends = {P0: 10}
    reading.watch(60)
    assert reading.unread_for_s() is not None


def test_what_was_deleted_unread_is_not_waited_for() -> None:
    reading = Reading()
    reading.client.ends = {P0: 9}
    reading.at[P0] = 7
    reading.client.first = 8
    reading.watch(60)
    assert reading.unread_for_s() is not None

    reading.client.first = 9
    reading.watch(60)

    assert reading.unread_for_s() is None


def test_slow_reading_is_no_standstill() -> None:
    reading = Reading()
    reading.client.ends = {P0: 1000}
    for _ in range(50):
        reading.at[P0] += 1
        reading.watch(20)
        assert (reading.unread_for_s() or 0) < 20


def test_a_broker_that_does_not_answer_is_no_standstill_of_ours() -> None:
    reading = Reading()
    reading.client.ends = {P0: 7, P1: 7}
    reading.watch(60)
    assert reading.unread_for_s() is not None

    reading.client.deaf = True
    reading.watch(3600)
    assert reading.unread_for_s() is reading.unread_for_s(P1) is None

    reading.client.deaf = False
    reading.watch(40)
    assert (reading.unread_for_s() or 0) <= 40


def test_between_two_answers_nothing_is_added() -> None:
    reading = Reading()
    reading.client.ends = {P0: 7}
    reading.watch(60)
    before_s = reading.unread_for_s()

    reading.client.deaf = True
    reading.watch(TICK_S)

    assert reading.unread_for_s() in {before_s, None}


def test_a_paused_partition_is_not_asked_about_and_begins_anew() -> None:
    reading = Reading()
    reading.client.ends = {P0: 7}
    reading.watch(60)
    del reading.at[P0]
    reading.watch(TICK_S)
    assert reading.unread_for_s() is None

    reading.at[P0] = 0
    reading.watch(20)
    assert (reading.unread_for_s() or 0) <= 20


def test_a_place_that_is_not_known_is_not_asked_about() -> None:
    reading = Reading()
    reading.client.ends = {P0: 7}
    reading.at[P0] = -1

    reading.watch(1000)

    assert reading.unread_for_s() is None


def test_a_partition_that_starts_anew_is_forgotten() -> None:
    reading = Reading()
    reading.client.ends = {P0: 7}
    reading.standstills.note_end(P0, 7)
    reading.watch(60)
    assert reading.unread_for_s() is None

    reading.standstills.forget(P0)
    reading.watch(60)

    assert reading.unread_for_s() is not None


def test_many_idle_partitions_are_asked_one_at_a_time_and_none_is_forgotten() -> None:
    reading = Reading()
    partitions = [Partition("runs", index) for index in range(20)]
    reading.at = dict.fromkeys(partitions, 0)
    reading.client.ends = {partitions[13]: 1}

    reading.watch(200)

    assert (reading.unread_for_s(partitions[13]) or 0) >= 80
    assert sum(reading.unread_for_s(p) is not None for p in partitions) == 1


class Counted(FakeConsumer):
    """Counts what its broker is asked."""

    questions = 0

    def get_watermark_offsets(self, partition: TopicPartition, **how: object) -> tuple[int, int]:
        self.questions += 1
        return super().get_watermark_offsets(partition, **how)


def test_what_stands_at_peace_is_asked_about_seldom_and_what_does_not_often() -> None:
    reading, client = Reading(), Counted()
    reading.client = client
    reading.watch(600)
    assert client.questions <= 2 * 600 / 30

    client.ends, client.questions = {P0: 7}, 0
    reading.watch(600)
    assert client.questions >= 600 / 7
