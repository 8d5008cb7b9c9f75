"""A Kafka client whose polls a test plays out one by one."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeAlias, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from agent.delivery.positions import Commit, Partition
from agent.domain.events import Event, Rebalanced, SourceFailed

Step: TypeAlias = Callable[[], Message | None]
"""What happens within one poll, on the thread that polls: it may give a record, or call back."""


class FakeConsumer:
    """Does nothing by itself: every poll waits for `play`. ``history`` holds, in their order, what the client was
    told to do with partitions and what observers heard of rebalances and trouble. ``stored`` is what the group has
    committed; ``deaf``: nobody answers who asks for that; ``refusals``: so many commits are refused. While
    ``silent`` no commit in the background is answered. ``first`` and ``ends`` say where logs begin and end.
    ``patience_s`` is how long the last poll was to wait. As it is closed it revokes what is assigned.
    """

    def __init__(self) -> None:
        self.history: list[str] = []
        self.paused: set[Partition] = set()
        self.stored: dict[Partition, Commit] = {}
        self.deaf = False
        self.silent = False
        self.ends: dict[Partition, int] = {}
        self.first = 0
        self.during_commit: Callable[[], None] = lambda: None
        self.refusals = 0
        self.patience_s = 0.0
        self._steps: queue.Queue[tuple[Step, Future[None]]] = queue.Queue()
        self._played: Future[None] | None = None
        self._callbacks: dict[str, Any] = {}
        self._assigned: set[Partition] = set()
        self._answers: list[list[TopicPartition]] = []
        self._on_commit: Any = None

    def open(self, config: dict[str, object], /, *, logger: logging.Logger) -> Consumer:
        """What `ConsumerThread` is given as ``open_consumer``."""
        del logger
        self._on_commit = config["on_commit"]
        return cast("Consumer", self)

    def notify(self, event: Event) -> None:
        """Is the thread's `Observer`, too."""
        if isinstance(event, Rebalanced):
            self.history.append(f"told {event.event}")
        elif isinstance(event, SourceFailed):
            self.history.append(f"told {event.code}")

    # ── for tests ────────────────────────────────────────────────────────────────────────────────────

    async def play(self, step: Step = lambda: None) -> None:
        """Has the next poll do this; returns once all that follows from it was done, and the next one begins."""
        played: Future[None] = Future()
        self._steps.put((step, played))
        await asyncio.wait_for(asyncio.wrap_future(played), 20)

    async def assign(self, *partitions: Partition) -> None:
        """A rebalance gives ``partitions``."""
        await self.play(lambda: self.call_back("assign", *partitions))

    async def record(self, partition: Partition, offset: int) -> None:
        """A poll gives a record; its value is ``topic[index]@offset``."""
        text = f"{partition}@{offset}".encode()
        await self.play(lambda: Message(partition.topic, partition.index, offset, value=text))

    def call_back(self, name: str, *partitions: Partition) -> None:
        """For steps: the client calls ``on_NAME``."""
        self._assigned = self._assigned.union(partitions) if name == "assign" else self._assigned - {*partitions}
        self._callbacks[name](self, [TopicPartition(p.topic, p.index) for p in partitions])

    # ── what the thread calls ────────────────────────────────────────────────────────────────────────

    def subscribe(self, _topics: list[str], *, on_assign: object, on_revoke: object, on_lost: object) -> None:
        self._callbacks = {"assign": on_assign, "revoke": on_revoke, "lost": on_lost}

    def poll(self, timeout: float) -> Message | None:
        self.patience_s = timeout
        if self._played is not None:
            self._played.set_result(None)
            self._played = None
        while self._answers and not self.silent:
            self._on_commit(None, self._answers.pop(0))
        try:
            step, self._played = self._steps.get(timeout=timeout)
        except queue.Empty:
            return None
        return step()

    def consume(self, _num_messages: int, _timeout: float) -> list[Message]:
        return []

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.history.append(f"pause {_names(partitions)}")
        self.paused |= {Partition(p.topic, p.partition) for p in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.history.append(f"resume {_names(partitions)}")
        self.paused -= {Partition(p.topic, p.partition) for p in partitions}

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition] | None:
        how = "commit in the background" if asynchronous else "commit"
        self.during_commit()
        if self.refusals:
            self.refusals -= 1
            raise KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))
        self.history.append(f"{how} {', '.join(f'{_names([p])}@{p.offset}' for p in offsets)}")
        self.stored |= {Partition(p.topic, p.partition): Commit(p.offset, p.metadata or "") for p in offsets}
        if asynchronous:
            self._answers.append(offsets)
        return None if asynchronous else offsets

    def committed(self, partitions: list[TopicPartition], _timeout: float) -> list[TopicPartition]:
        if self.deaf:
            raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))
        known = [(p, self.stored.get(Partition(p.topic, p.partition), Commit(-1001))) for p in partitions]
        return [TopicPartition(p.topic, p.partition, commit.offset, commit.metadata) for p, commit in known]

    def get_watermark_offsets(self, partition: TopicPartition, **how: object) -> tuple[int, int]:
        if self.deaf and not how.get("cached"):
            raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))
        return self.first, self.ends.get(Partition(partition.topic, partition.partition), 0)

    def consumer_group_metadata(self) -> bytes:
        """In no group as yet: else membership without partitions would be told, too."""
        return b"CGMDv2:\xff\xff\xff\xff"

    def close(self) -> None:
        self.history.append("close")
        if self._assigned:
            self.call_back("revoke", *self._assigned)


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(sorted(str(Partition(p.topic, p.partition)) for p in partitions))
