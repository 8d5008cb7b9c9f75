"""A Kafka broker inside the process: librdkafka's mock cluster, reachable by any client over loopback.

Good for groups, commits, metadata and rebalances; not a broker to measure or to trust with much: about 5 MB per
partition are kept and older records silently dropped, topics cannot be created by request (only by asking for
their metadata, then with 4 partitions), a group's first join takes 3 s, a waiting fetch is not woken by a new
record (up to ``fetch.wait.max.ms`` of latency), authentication and limits on commit metadata are not enforced.
"""

from __future__ import annotations

import signal
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

_ANSWER_TIMEOUT_S = 10.0


class EmbeddedBroker:
    """One mock broker, alive inside a ``with`` block. Its methods block shortly and may be used by any thread."""

    def __init__(self) -> None:
        self._producer: Producer | None = None
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        """Starts the broker."""
        # The address is required by the client and ignored where a mock cluster takes its place.
        settings = {"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "linger.ms": 0, "log_level": 0}
        # The cluster's thread ends when a signal interrupts its wait, and closing the producer then hangs for
        # ever. It inherits what is blocked here, so signals go to the other threads.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._producer = Producer(settings)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        brokers = self._producer.list_topics(timeout=_ANSWER_TIMEOUT_S).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the broker; its records are gone."""
        if self._producer is not None:
            self._producer.close()
            self._producer = None

    def create_topic(self, topic: str) -> int:
        """Makes sure that the topic exists; returns its number of partitions."""
        return len(self._started().list_topics(topic, timeout=_ANSWER_TIMEOUT_S).topics[topic].partitions)

    def produce(self, topic: str, value: str | bytes, key: str | None = None) -> tuple[int, int]:
        """Appends one record and returns its partition and offset once the broker has it.

        Raises ``RuntimeError`` if it was not taken.
        """
        producer, answers = self._started(), list[tuple[KafkaError | None, Message]]()
        producer.produce(topic, value, key, on_delivery=lambda error, message: answers.append((error, message)))
        producer.flush(_ANSWER_TIMEOUT_S)
        if not answers or answers[0][0] is not None:
            raise RuntimeError(f"the embedded broker did not take a record for {topic}: {answers[:1]}")
        partition, offset = answers[0][1].partition(), answers[0][1].offset()
        assert partition is not None  # noqa: S101 - a delivered record has a place
        assert offset is not None  # noqa: S101 - likewise
        return partition, offset

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """What the group has committed: per partition the offset and its metadata; those without are left out."""
        partitions = [TopicPartition(topic, number) for number in range(self.create_topic(topic))]
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": group, "log_level": 0})
        try:
            found = consumer.committed(partitions, timeout=_ANSWER_TIMEOUT_S)
        finally:
            consumer.close()
        return {place.partition: (place.offset, place.metadata or "") for place in found if place.offset >= 0}

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Per partition the offset that the next record will get."""
        count = self.create_topic(topic)
        consumer = Consumer({"bootstrap.servers": self.bootstrap_servers, "group.id": "-", "log_level": 0})
        try:
            ends = {
                number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ANSWER_TIMEOUT_S)
                for number in range(count)
            }
        finally:
            consumer.close()
        return {number: high for number, (_, high) in ends.items()}

    def _started(self) -> Producer:
        if self._producer is None:
            raise RuntimeError("the embedded broker runs inside its `with` block only")
        return self._producer
