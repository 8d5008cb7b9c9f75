"""What the thread does to its client, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.clock import SystemClock
from agent.delivery.positions import Partition, Position
from agent.domain.settlement import Settlement
from agent.kafka.config import KafkaSettings
from agent.kafka.consumer_thread import ConsumerThread
from agent.kafka.handoff import Handoff
from tests.kafka.fake_consumer import FakeConsumer
from tests.kafka.waiting import until

P0, P1 = Partition("runs", 0), Partition("runs", 1)


@dataclass(frozen=True)
class Stage:
    """A thread with its fake client."""

    client: FakeConsumer
    thread: ConsumerThread
    handoff: Handoff

    async def take(self) -> Position:
        """The next record's place."""
        delivery = await asyncio.wait_for(self.handoff.get(), 20)
        assert delivery is not None
        assert isinstance(delivery.receipt, Position)
        return delivery.receipt

    async def read(self, partition: Partition, offset: int) -> Position:
        """The same of a record that comes now."""
        await self.client.record(partition, offset)
        return await self.take()


@asynccontextmanager
async def stage(room: int = 100) -> AsyncIterator[Stage]:
    """``room`` records that nobody takes, and no more is fetched."""
    settings = KafkaSettings("group", "runs", "changes", commit_interval_s=3600.0)
    client = FakeConsumer()
    handoff = Handoff(asyncio.get_running_loop(), max_records=room, max_bytes=1_000_000)
    thread = ConsumerThread(
        settings, {}, handoff, client, SystemClock(), on_refused=lambda: None, open_consumer=client.open
    )
    thread.start()
    try:
        yield Stage(client, thread, handoff)
    finally:
        assert await asyncio.to_thread(thread.close, 20)


def test_without_room_only_partitions_that_gave_a_record_are_paused() -> None:
    async def scene() -> None:
        async with stage(room=1) as at:
            await at.client.assign(P0, P1)
            await at.client.record(P0, 0)
            assert at.client.paused == {P0}
            await at.client.record(P1, 0)
            assert at.client.paused == {P0, P1}
            await at.take()
            await at.take()
            await until(lambda: at.client.paused == set())

    asyncio.run(scene())


def test_stopping_intake_pauses_each_partition_with_its_first_record() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0, P1)
            at.thread.stop_intake()
            await at.client.play()
            assert at.client.history == ["told assigned"]
            await at.client.record(P1, 0)
            assert at.client.paused == {P1}

    asyncio.run(scene())


def test_a_partition_that_comes_back_is_not_paused_before_it_gave_a_record_again() -> None:
    async def scene() -> None:
        async with stage(room=1) as at:
            await at.client.assign(P0)
            await at.client.record(P0, 0)
            assert at.client.paused == {P0}
            await at.client.play(lambda: at.client.call_back("revoke", P0))
            assert at.client.history[-2:] == ["resume runs[0]", "told revoked"]
            await at.client.assign(P0)
            assert at.handoff.full
            assert at.client.paused == set()

    asyncio.run(scene())


def test_what_was_settled_by_then_is_committed_before_a_partition_goes() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0, P1)
            first, _, other = await at.read(P0, 0), await at.read(P0, 1), await at.read(P1, 7)
            before = len(at.client.history)

            def settled_while_polling() -> None:
                at.thread.settle(first, Settlement.ACCEPT)
                at.thread.settle(other, Settlement.ACCEPT)
                at.client.call_back("revoke", P0)

            await at.client.play(settled_while_polling)
            assert at.client.history[before:] == ["commit runs[0]@1", "told revoked"]
            assert not at.thread.is_current(first)
            assert at.thread.is_current(other)

    asyncio.run(scene())


def test_what_is_settled_too_late_is_not_committed_for_the_next_owner() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            stale = await at.read(P0, 0)
            await at.client.play(lambda: at.client.call_back("revoke", P0))
            await at.client.assign(P0)
            fresh = await at.read(P0, 0)
            before = len(at.client.history)
            at.thread.settle(stale, Settlement.ACCEPT)
            await at.client.play(lambda: at.client.call_back("revoke", P0))
            assert at.client.history[before:] == ["commit runs[0]@0", "told revoked"]
            assert fresh.epoch > stale.epoch

    asyncio.run(scene())


def test_nothing_is_committed_for_a_partition_that_was_lost() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            before = len(at.client.history)

            def settled_while_polling() -> None:
                at.thread.settle(first, Settlement.ACCEPT)
                at.client.call_back("lost", P0)

            await at.client.play(settled_while_polling)
            assert at.client.history[before:] == ["told lost"]

    asyncio.run(scene())


def test_what_was_settled_by_then_is_committed_before_the_group_is_left() -> None:
    async def scene() -> FakeConsumer:
        async with stage() as at:
            await at.client.assign(P0)
            at.thread.settle(await at.read(P0, 0), Settlement.ACCEPT)
        return at.client

    client = asyncio.run(scene())
    assert client.history[-2:] == ["commit runs[0]@1", "close"]
