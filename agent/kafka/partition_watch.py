"""Where the partitions stand, for those who watch: how far behind their ends, and how long things take."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaException

from agent.delivery.assignment import Assignment
from agent.delivery.positions import Partition
from agent.domain.events import PartitionStatus
from agent.kafka.client import partition_of, topic_partition
from agent.kafka.pauses import Pauses
from agent.kafka.standstills import Standstills

_LOOK_UP_S = 2.0


class PartitionWatch:
    """Lag and age of the assigned partitions. Belongs to the consumer's thread, which lends it the client.

    ``from_start``: where nothing was committed yet, reading begins with the oldest record, not after the newest.
    """

    def __init__(self, assignment: Assignment, pauses: Pauses, *, from_start: bool) -> None:
        self._assignment = assignment
        self._pauses = pauses
        self._from_start = from_start
        self._read_at: dict[Partition, deque[tuple[int, float]]] = {}
        self._places: dict[Partition, tuple[int, int]] = {}
        self._standstills = Standstills()

    def note_read(self, partition: Partition, offset: int, now_s: float) -> None:
        """A record was read; its age counts from ``now_s`` (monotonic)."""
        self._read_at.setdefault(partition, deque()).append((offset, now_s))

    def note_end(self, partition: Partition, offset: int) -> None:
        """The client has read all there is below ``offset``, be it records or not."""
        self._standstills.note_end(partition, offset)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` go, or start anew."""
        for partition in partitions:
            self._read_at.pop(partition, None)
            self._places.pop(partition, None)
            self._standstills.forget(partition)

    def statuses(self, consumer: Consumer, now_s: float) -> list[PartitionStatus]:
        """One for each assigned partition, from what is known here."""
        return [self._status(consumer, partition, now_s) for partition in self._assignment.partitions]

    def look_up(self, consumer: Consumer, now_s: float) -> None:
        """Asks where new partitions stand, and whether there is more in those that nothing is read of.

        May take a few seconds.
        """
        self._look_up_new(consumer)
        reading = {p: self._position(p) for p in self._assignment.partitions if p not in self._pauses}
        self._standstills.look_up(consumer, reading, now_s)

    def _look_up_new(self, consumer: Consumer) -> None:
        """For their lag until the first record comes, and for who asks where they ended when they came."""
        unknown = [p for p in self._assignment.partitions if p not in self._places]
        if not unknown:
            return
        try:
            committed = consumer.committed([topic_partition(p) for p in unknown], _LOOK_UP_S)
            for answer in committed:
                low, high = consumer.get_watermark_offsets(answer, timeout=_LOOK_UP_S)
                first = answer.offset if answer.offset >= 0 else low if self._from_start else high
                self._places[partition_of(answer)] = (first, high)
        except KafkaException:
            return  # it is asked again with the next status

    def first_end(self, partition: Partition) -> int | None:
        """Where the partition ended soon after it became ours: what came later nobody else has read."""
        return self._places[partition][1] if partition in self._places else None

    def _position(self, partition: Partition) -> int:
        """Below it all was read; negative while that is not known."""
        read = self._assignment.ledger(partition).next_offset
        return self._places.get(partition, (-1, -1))[0] if read is None else read

    def _status(self, consumer: Consumer, partition: Partition, now_s: float) -> PartitionStatus:
        ledger = self._assignment.ledger(partition)
        first, end = self._places.get(partition, (-1, -1))
        base = first if ledger.committable is None else ledger.committable
        _low, high = consumer.get_watermark_offsets(topic_partition(partition), cached=True)
        high = max(high, end)
        read_at = self._read_at.get(partition, deque())
        while read_at and read_at[0][0] < base:
            read_at.popleft()
        return PartitionStatus(
            topic=partition.topic,
            index=partition.index,
            lag=max(0, high - base) if high >= 0 and base >= 0 else None,
            uncommitted=ledger.unsettled,
            span=ledger.span,
            oldest_uncommitted_age_s=now_s - read_at[0][1] if read_at else None,
            paused=partition in self._pauses,
            unread_for_s=self._standstills.unread_for_s(partition),
            held=ledger.held,
        )
