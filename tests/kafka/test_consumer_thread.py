"""What the thread does to its client, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agent.clock import SystemClock
from agent.delivery.offset_map import MAX_SPAN, Mark, OffsetMap
from agent.delivery.positions import Commit, Partition, Position
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


def test_nothing_begins_in_a_partition_that_is_being_given_up() -> None:
    """The commit may take seconds; what began meanwhile would begin with the next owner as well."""

    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            seen: list[bool] = []
            at.client.during_commit = lambda: seen.append(at.thread.is_current(first))
            assert at.thread.is_current(first)
            await at.client.play(lambda: at.client.call_back("revoke", P0))
            assert seen == [False]

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


def test_the_last_commit_is_repeated_while_the_coordinator_comes_back() -> None:
    async def scene() -> FakeConsumer:
        async with stage() as at:
            await at.client.assign(P0)
            at.thread.settle(await at.read(P0, 0), Settlement.ACCEPT)
            await at.client.play()
            at.client.refusals = 2
        return at.client

    client = asyncio.run(scene())
    assert client.stored[P0] == Commit(1)
    assert client.history[-2:] == ["commit runs[0]@1", "close"]


def test_what_ended_under_the_last_owner_is_passed_over_and_stays_remembered() -> None:
    marks = bytes([Mark.OPEN, Mark.DONE, Mark.STARTED, Mark.OPEN, Mark.DONE])

    async def scene() -> FakeConsumer:
        async with stage() as at:
            at.client.stored[P0] = Commit(10, OffsetMap(10, marks).encode())
            await at.client.assign(P0)
            taken = []
            for offset in range(10, 14):
                await at.client.record(P0, offset)
                if offset != 11:
                    taken.append(await at.take())
            assert [position.offset for position in taken] == [10, 12, 13]
            at.thread.settle(taken[2], Settlement.ACCEPT)
        return at.client

    left = asyncio.run(scene()).stored[P0]
    expected = bytes([Mark.OPEN, Mark.DONE, Mark.STARTED, Mark.DONE, Mark.DONE])
    assert left == Commit(10, OffsetMap(10, expected).encode())


def test_records_wait_until_it_is_known_what_was_committed() -> None:
    async def scene() -> None:
        async with stage() as at:
            at.client.stored[P0] = Commit(0, OffsetMap(0, bytes([Mark.OPEN, Mark.DONE])).encode())
            at.client.deaf = True
            await at.client.assign(P0, P1)
            await at.client.record(P0, 0)
            await at.client.record(P0, 1)
            assert "told REQUEST_TIMED_OUT" in at.client.history
            assert at.client.paused == {P0}
            at.client.deaf = False
            await at.client.record(P0, 2)
            assert [(await at.take()).offset, (await at.take()).offset] == [0, 2]
            await until(lambda: at.client.paused == set())

    asyncio.run(scene())


def test_records_that_wait_go_with_their_partition() -> None:
    async def scene() -> None:
        async with stage() as at:
            at.client.deaf = True
            await at.client.assign(P0)
            await at.client.record(P0, 0)
            await at.client.play(lambda: at.client.call_back("revoke", P0))
            at.client.deaf = False
            await at.client.assign(P1)
            assert (await at.read(P1, 5)).partition == P1
            assert at.client.paused == set()

    asyncio.run(scene())


def test_metadata_of_somebody_else_is_told_and_passed_over() -> None:
    async def scene() -> None:
        async with stage() as at:
            at.client.stored[P0] = Commit(3, "written by another consumer")
            await at.client.assign(P0)
            assert (await at.read(P0, 3)).offset == 3
            assert "told offset_map" in at.client.history

    asyncio.run(scene())


def test_a_record_beyond_the_maps_reach_waits_for_the_lowest_run() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            lowest, above = await at.read(P0, 0), await at.read(P0, 1)
            await at.client.record(P0, MAX_SPAN)  # a gap in the log, as compaction leaves it
            await at.client.record(P0, MAX_SPAN + 1)
            assert at.client.paused == {P0}
            at.thread.settle(lowest, Settlement.ACCEPT)
            assert (await at.take()).offset == MAX_SPAN
            at.thread.settle(above, Settlement.ACCEPT)
            assert (await at.take()).offset == MAX_SPAN + 1
            await until(lambda: at.client.paused == set())

    asyncio.run(scene())


def test_a_log_that_was_cut_is_read_again_from_there() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            stale = await at.read(P0, 7)
            fresh = await at.read(P0, 2)
            assert "told offset_rewound" in at.client.history
            assert not at.thread.is_current(stale)
            assert at.thread.is_current(fresh)

    asyncio.run(scene())
