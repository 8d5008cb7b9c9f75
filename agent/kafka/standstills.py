"""Partitions of which nothing is read although there is more: a fetch that the client has lost without an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException

from agent.delivery.positions import Partition
from agent.kafka.client import topic_partition

_ASK_AGAIN_S = 5.0
"""Where the last answer was that there is more; and the least between two questions where none was."""
_ASK_QUIET_S = 30.0
"""Where it was that there is not: each question holds up starts for as long as the broker holds back a fetch."""
_ANSWER_S = 1.0
_AFTER_SILENCE_S = 15.0


@dataclass(slots=True)
class _Still:
    """A partition that stands at ``position``. ``more_since_s``: since when each answer was: there is more."""

    position: int
    asked_at_s: float
    more_since_s: float | None = None

    def is_due(self, now_s: float) -> bool:
        """Whether it is time for a question."""
        return now_s - self.asked_at_s >= (_ASK_QUIET_S if self.more_since_s is None else _ASK_AGAIN_S)

    @property
    def unread_for_s(self) -> float | None:
        """As far as the broker has confirmed it."""
        return None if self.more_since_s is None else self.asked_at_s - self.more_since_s


class Standstills:
    """For how long partitions have stood still with more to read. Belongs to the consumer's thread.

    What the client remembers of a partition's end comes with what it fetches. So where it fetches nothing the
    broker itself is asked: one partition at a time, and only where nothing was read since the last question. A
    broker that does not answer is no standstill of ours: then all begins anew.
    """

    def __init__(self) -> None:
        self._ends: dict[Partition, int] = {}
        self._still: dict[Partition, _Still] = {}
        self._ask_at_s = 0.0

    def note_end(self, partition: Partition, offset: int) -> None:
        """Everything below ``offset`` was read."""
        self._ends[partition] = offset

    def forget(self, partition: Partition) -> None:
        """``partition`` goes, or starts anew."""
        self._ends.pop(partition, None)
        self._still.pop(partition, None)

    def unread_for_s(self, partition: Partition) -> float | None:
        """For how long it has stood still with more to read; ``None`` if it has not."""
        still = self._still.get(partition)
        return None if still is None else still.unread_for_s

    def look_up(self, consumer: Consumer, reading: Mapping[Partition, int], now_s: float) -> None:
        """Takes note of where each partition stands that should be read; asks about one of them, for a second.

        ``reading`` has all that are not paused, with the offset below which all was read (negative: not known).
        """
        positions = {p: max(at, self._ends.get(p, at)) for p, at in reading.items() if at >= 0}
        before = self._still
        self._still = {
            p: before[p] if p in before and before[p].position == at else _Still(at, now_s)
            for p, at in positions.items()
        }
        due = [(s.more_since_s is None, s.asked_at_s, p) for p, s in self._still.items() if s.is_due(now_s)]
        if due and now_s >= self._ask_at_s:
            is_quiet, _, partition = min(due)  # those that are suspected already come first
            if is_quiet:
                self._ask_at_s = now_s + _ASK_AGAIN_S
            self._ask(consumer, partition, now_s)

    def _ask(self, consumer: Consumer, partition: Partition, now_s: float) -> None:
        still = self._still[partition]
        still.asked_at_s = now_s
        try:
            first, end = consumer.get_watermark_offsets(topic_partition(partition), timeout=_ANSWER_S)
        except KafkaException:
            self._still.clear()
            self._ask_at_s = now_s + _AFTER_SILENCE_S
            return
        if end <= max(still.position, first):  # what was deleted unread is no more either
            still.more_since_s = None
        elif still.more_since_s is None:
            still.more_since_s = now_s
