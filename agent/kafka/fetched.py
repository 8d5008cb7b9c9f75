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
_ASK_AGAIN_S = 1.0


class Fetched:
    """The way of records into their ledgers. Belongs to the consumer's thread, which lends it the client.

    A partition's first record waits until it is known what the last owner committed: which of its messages have
    ended already, and which may have been begun. A record that is too far above the lowest unsettled one for the
    offset map waits until that one is settled. In both cases what waits is a batch at most: its partition is to be
    paused. ``first_end`` tells where a partition ended when it became ours, if that is known.
    """

    def __init__(
        self,
        assignment: Assignment,
        observer: Observer,
        clock: Clock,
        on_rewound: Callable[[Partition, int], None],
        first_end: Callable[[Partition], int | None],
    ) -> None:
        self._assignment = assignment
        self._observer = observer
        self._clock = clock
        self._on_rewound = on_rewound
        self._first_end = first_end
        self._waiting: dict[Partition, deque[Message]] = {}
        self._unknown: dict[Partition, None] = {}  # in the order in which they are asked about
        self._ask_at_s = 0.0

    def __contains__(self, partition: object) -> bool:
        """Whether records of ``partition`` wait."""
        return partition in self._waiting

    def expect(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` are ours now, or start anew: what was committed there must be looked up."""
        self._unknown.update(dict.fromkeys(partitions))
        self._ask_at_s = 0.0

    def forget(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` go, or come anew: what waits there is somebody else's, or comes again."""
        for partition in partitions:
            self._waiting.pop(partition, None)
            self._unknown.pop(partition, None)

    def add(self, message: Message) -> None:
        """Takes a record in, to wait for its turn."""
        partition = Partition(message.topic() or "", message.partition() or 0)
        self._waiting.setdefault(partition, deque()).append(message)

    def ready(self, consumer: Consumer) -> Iterator[tuple[Partition, Message]]:
        """Those whose turn it is, each to be entered before the next is asked for. May ask the broker: seconds."""
        self._look_up(consumer)
        for partition in list(self._waiting):
            waiting = self._waiting[partition]
            while waiting and self._may_enter(partition, waiting[0].offset() or 0):
                yield partition, waiting.popleft()
            if not waiting:
                self._waiting.pop(partition, None)

    def _may_enter(self, partition: Partition, offset: int) -> bool:
        if self._assignment.is_rewound(partition, offset):
            self._on_rewound(partition, offset)
        return partition not in self._unknown and self._assignment.has_room_for(partition, offset)

    def _look_up(self, consumer: Consumer) -> None:
        """What the last owners committed, where first records wait; it is asked again until Kafka tells.

        A failure ends the round, so that it takes a few seconds at most; then the others come first.
        """
        wanted = [p for p in self._unknown if p in self._waiting]
        if not wanted or self._clock.monotonic() < self._ask_at_s:
            return
        try:
            answers = consumer.committed([topic_partition(p) for p in wanted], _LOOK_UP_S)
        except KafkaException as error:
            self._ask_later("what was committed is not known", error)
            return
        committed = {partition_of(answer): answer for answer in answers}
        for partition in wanted:
            try:
                known = self._known(consumer, partition, committed[partition])
            except KafkaException as error:
                self._ask_later(f"what was committed of {partition} is not known", error)
                self._unknown[partition] = self._unknown.pop(partition)
                return
            del self._unknown[partition]
            first = self._waiting[partition][0].offset() or 0
            self._assignment.learn(partition, known if first >= known.base else _of_a_log_made_anew(known, first))

    def _ask_later(self, what: str, error: KafkaException) -> None:
        self._observer.notify(SourceFailed(error.args[0].name(), f"{what}, and nothing begins there: {error}"))
        self._ask_at_s = self._clock.monotonic() + _ASK_AGAIN_S

    def _known(self, consumer: Consumer, partition: Partition, answer: TopicPartition) -> OffsetMap:
        """The map of the last owner, if it was one of ours. Raises `KafkaException` where Kafka does not tell."""
        if answer.error is not None:
            raise KafkaException(answer.error)
        # librdkafka writes the C string's NUL, too; other clients give it back.
        metadata = (answer.metadata or "").rstrip("\0")
        known = OffsetMap.decode(metadata, answer.offset) if answer.offset >= 0 else None
        if known is not None:
            return known
        if answer.offset >= 0 and metadata:
            detail = f"what was committed with {partition}@{answer.offset} is no offset map of ours: passed over"
            self._observer.notify(SourceFailed("offset_map", detail))
        return self._without_map(consumer, partition, answer.offset)

    def _without_map(self, consumer: Consumer, partition: Partition, committed: int) -> OffsetMap:
        """What is there already was perhaps begun by whoever read it before. Raises `KafkaException`.

        That is all there was when it became ours, whether somebody else committed, an offset was moved by hand, or
        nothing is committed: the group may be new, or what it had committed was deleted, and nothing tells which.
        """
        end = self._first_end(partition)
        if end is None:
            _low, end = consumer.get_watermark_offsets(topic_partition(partition), timeout=_LOOK_UP_S)
        return OffsetMap(max(0, committed), unsure_below=end)


def _of_a_log_made_anew(known: OffsetMap, first: int) -> OffsetMap:
    """What is known where reading begins at ``first``, below the committed offset, because the log was cut there.

    It may be read again from its start, or hold other messages: all that was ever spoken of is unsure.
    """
    end = max(known.base + len(known.marks), known.unsure_below, *(offset + 1 for offset in known.notes))
    return OffsetMap(first, unsure_below=end)
