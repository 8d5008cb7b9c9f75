"""Which partitions the client is told to pause, and when not yet."""

from __future__ import annotations

from collections.abc import Container, Iterable

from confluent_kafka import Consumer

from agent.delivery.assignment import Assignment
from agent.delivery.positions import Partition
from agent.kafka.client import topic_partition


class Pauses:
    """What is paused at the moment. Belongs to the consumer's thread, which lends it the client for each call.

    A partition is paused only once it has given a record since it was assigned: a pause before that may overtake
    the client's own start of the partition (librdkafka #5591), which is then never read again, without any error.
    ``max_span`` bounds how far reading may run ahead of the lowest unsettled message of a partition; one whose
    records wait in ``fetched`` is paused as well.
    """

    def __init__(self, assignment: Assignment, fetched: Container[Partition], max_span: int) -> None:
        self._assignment = assignment
        self._fetched = fetched
        self._max_span = max_span
        self._paused: set[Partition] = set()

    def __contains__(self, partition: Partition) -> bool:
        """Whether ``partition`` is paused."""
        return partition in self._paused

    def update(self, consumer: Consumer, *, everything: bool) -> None:
        """Pauses ``everything``, else what has run ahead too far; resumes the rest."""
        wanted = self._pausable()
        if not everything:
            wanted = {p for p in wanted if p in self._fetched or self._assignment.ledger(p).span >= self._max_span}
        if pause := wanted - self._paused:
            consumer.pause([topic_partition(p) for p in pause])
        if resume := self._paused - wanted:
            consumer.resume([topic_partition(p) for p in resume])
        self._paused = wanted

    def are_complete(self) -> bool:
        """Whether everything is paused that may be."""
        return self._paused.issuperset(self._pausable())

    def lift(self, consumer: Consumer, partitions: Iterable[Partition]) -> None:
        """Resumes those of ``partitions`` that are paused, because they go or start anew.

        The client keeps a pause beyond the assignment: a partition that came back would never be read.
        """
        if paused := self._paused.intersection(partitions):
            consumer.resume([topic_partition(p) for p in paused])
            self._paused -= paused

    def _pausable(self) -> set[Partition]:
        ledger, fetched = self._assignment.ledger, self._fetched
        return {p for p in self._assignment.partitions if p in fetched or ledger(p).next_offset is not None}
