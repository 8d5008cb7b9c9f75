"""Records that were fetched and are not entered in their ledger yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from agent.delivery.assignment import Assignment
from agent.delivery.offset_map import OffsetMap
from agent.delivery.positions import Partition
from agent.domain.events import SourceFailed
from agent.kafka.client import partition_of, topic_partition
from agent.ports import Clock, Observer

_LOOK_UP_S = 5.0
_FRESH_S = 300.0
"""Where a group begins, only what is older than this may have a past: it is a new agent's first backlog else."""


class Fetched:
    """The way of records into their ledgers. Belongs to the consumer's thread, which lends it the client.

    A partition's first record waits until it is known what the last owner committed: which of its messages have
    ended already. A record that is too far above the lowest unsettled one for the offset map waits until that
    one is settled. In both cases what waits is a batch at most: its partition is to be paused.
    """

    def __init__(
        self,
        assignment: Assignment,
        observer: Observer,
        clock: Clock,
        on_rewound: Callable[[Partition, int], None],
    ) -> None:
        self._assignment = assignment
        self._observer = observer
        self._clock = clock
        self._on_rewound = on_rewound
        self._waiting: dict[Partition, deque[Message]] = {}
        self._unknown: set[Partition] = set()

    def __contains__(self, partition: object) -> bool:
        """Whether records of ``partition`` wait."""
        return partition in self._waiting

    def expect(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` are ours now: what was committed there must be looked up."""
        self._unknown.update(partitions)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` go, or start anew: what waits there is somebody else's, or comes again."""
        for partition in partitions:
            self._waiting.pop(partition, None)
            self._unknown.discard(partition)

    def add(self, message: Message) -> None:
        """Takes a record in, to wait for its turn."""
        partition = Partition(message.topic() or "", message.partition() or 0)
        self._waiting.setdefault(partition, deque()).append(message)

    def ready(self, consumer: Consumer) -> Iterator[tuple[Partition, Message]]:
        """Those whose turn it is, each to be entered before the next is asked for. May ask the broker: seconds."""
        self._look_up(consumer)
        for partition in list(self._waiting):
            if partition in self._unknown:
                continue
            waiting = self._waiting[partition]
            while waiting and self._may_enter(partition, waiting[0].offset() or 0):
                yield partition, waiting.popleft()
            if not waiting:
                self._waiting.pop(partition, None)

    def _may_enter(self, partition: Partition, offset: int) -> bool:
        if self._assignment.is_rewound(partition, offset):
            self._on_rewound(partition, offset)
        return self._assignment.has_room_for(partition, offset)

    def _look_up(self, consumer: Consumer) -> None:
        """What the last owners committed, where first records wait; failures are told, and it is asked again."""
        wanted = [topic_partition(p) for p in self._unknown if p in self._waiting]
        if not wanted:
            return
        try:
            answers = consumer.committed(wanted, _LOOK_UP_S)
        except KafkaException as error:
            self._observer.notify(SourceFailed(error.args[0].name(), f"what was committed is not known: {error}"))
            return
        for answer in answers:
            partition = partition_of(answer)
            if answer.error is not None:
                detail = f"what was committed of {partition} is not known: {answer.error}"
                self._observer.notify(SourceFailed(answer.error.name(), detail))
                continue
            known = self._read(partition, answer) or self._without_map(consumer, partition, answer.offset)
            if known is not None:
                self._unknown.discard(partition)
                self._assignment.learn(partition, known)

    def _read(self, partition: Partition, answer: TopicPartition) -> OffsetMap | None:
        """The map of the last owner, if it was one of ours."""
        # librdkafka writes the C string's NUL, too; other clients give it back.
        metadata = (answer.metadata or "").rstrip("\0")
        if answer.offset < 0:
            return None
        known = OffsetMap.decode(metadata, answer.offset)
        if known is None and metadata:
            detail = f"what was committed with {partition}@{answer.offset} is no offset map of ours: passed over"
            self._observer.notify(SourceFailed("offset_map", detail))
        return known

    def _without_map(self, consumer: Consumer, partition: Partition, committed: int) -> OffsetMap | None:
        """What is there already was perhaps begun by whoever read it before; ``None`` if Kafka does not tell.

        That is all there is now, where somebody else committed or an offset was moved by hand. A group that has
        committed nothing begins with what the topic keeps, of which only the older part can have a past.
        """
        place = topic_partition(partition)
        try:
            _low, end = consumer.get_watermark_offsets(place, timeout=_LOOK_UP_S)
            if committed < 0:
                place.offset = int((self._clock.epoch() - _FRESH_S) * 1000)
                first_fresh = consumer.offsets_for_times([place], timeout=_LOOK_UP_S)[0].offset
                end = first_fresh if first_fresh >= 0 else end
        except KafkaException as error:
            detail = f"where {partition} ends is not known: {error}"
            self._observer.notify(SourceFailed(error.args[0].name(), detail))
            return None
        return OffsetMap(max(0, committed), unsure_below=end)
