"""What the thread does to its client, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from confluent_kafka import KafkaError, Message

from agent.clock import SystemClock
from agent.delivery.offset_map import MAX_SPAN, Mark, Note, OffsetMap
from agent.delivery.positions import Commit, Partition, Position
from agent.domain.earlier import Earlier, Ending, Past
from agent.domain.errors import SourceLostError
from agent.domain.settlement import Settlement
from agent.kafka.config import KafkaSettings
from agent.kafka.consumer_thread import ConsumerThread
from agent.kafka.handoff import Handoff
from agent.ports import Clock, Delivery
from tests.kafka.fake_consumer import FakeConsumer
from tests.kafka.still_clock import StillClock
from tests.kafka.waiting import until

P0, P1 = Partition("runs", 0), Partition("runs", 1)


class WatchedHandoff(Handoff):
    """Notes how long the thread was ready to wait for room."""

    waits_s: list[float]

    def wait_for_room(self, timeout_s: float) -> bool:
        self.waits_s.append(timeout_s)
        return super().wait_for_room(timeout_s)


@dataclass(frozen=True)
class Stage:
    """A thread with its fake client."""

    client: FakeConsumer
    thread: ConsumerThread
    handoff: WatchedHandoff
    answers: dict[object, bool]
    """Of starts, by their tokens."""

    async def take(self) -> Position:
        """The next record's place."""
        receipt = (await self.delivery()).receipt
        assert isinstance(receipt, Position)
        return receipt

    async def delivery(self) -> Delivery:
        """The next record."""
        delivery = await asyncio.wait_for(self.handoff.get(), 20)
        assert delivery is not None
        return delivery

    async def answered(self, token: str) -> bool:
        """Whether the start may be made, once that is told."""
        await until(lambda: token in self.answers)
        return self.answers[token]

    async def fall_silent(self) -> None:
        """No commit is answered from here on; what was sent before is."""
        await self.client.play()
        self.client.silent = True

    async def marked(self, offset: int) -> None:
        """Returns once a commit says that the work of this message of `P0` begins."""
        await until(lambda: self.stored(P0).mark(offset) is Mark.STARTED)

    def stored(self, partition: Partition) -> OffsetMap:
        """What the group remembers of a partition."""
        commit = self.client.stored[partition]
        known = OffsetMap.decode(commit.metadata, commit.offset)
        assert known is not None
        return known

    async def read(self, partition: Partition, offset: int) -> Position:
        """The same of a record that comes now."""
        await self.client.record(partition, offset)
        return await self.take()


@asynccontextmanager
async def stage(room: int = 100, clock: Clock | None = None) -> AsyncIterator[Stage]:
    """``room`` records that nobody takes, and no more is fetched."""
    settings = KafkaSettings("group", "runs", "changes", commit_interval_s=3600.0, agent_name="one")
    client = FakeConsumer()
    answers: dict[object, bool] = {}

    def note(tokens: list[object], until_s: float | None) -> None:
        assert not answers.keys() & set(tokens), "a start was answered twice"
        answers.update(dict.fromkeys(tokens, until_s is not None))

    handoff = WatchedHandoff(asyncio.get_running_loop(), max_records=room, max_bytes=1_000_000)
    handoff.waits_s = []
    thread = ConsumerThread(
        settings,
        {},
        handoff,
        client,
        clock or SystemClock(),
        on_refused=lambda: None,
        tell_starts=note,
        open_consumer=client.open,
    )
    thread.start()
    try:
        yield Stage(client, thread, handoff, answers)
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
            at.client.silent = True
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
    assert client.history[-3:] == ["commit runs[0]@1", "close", "told revoked"]


def test_the_last_commit_is_repeated_while_the_coordinator_comes_back() -> None:
    async def scene() -> FakeConsumer:
        async with stage() as at:
            await at.client.assign(P0)
            at.thread.settle(await at.read(P0, 0), Settlement.ACCEPT)
            await at.client.play()
            at.client.refusals = 2
        return at.client

    client = asyncio.run(scene())
    assert client.stored[P0] == Commit(1, OffsetMap(1).encode())
    assert client.history[-3:] == ["commit runs[0]@1", "close", "told revoked"]


def test_what_ended_under_the_last_owner_is_passed_over_and_stays_remembered() -> None:
    marks = bytes([Mark.OPEN, Mark.DONE, Mark.STARTED, Mark.OPEN, Mark.DONE])

    async def scene() -> FakeConsumer:
        async with stage() as at:
            at.client.stored[P0] = Commit(10, OffsetMap(10, marks, agent="zero").encode())
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
    assert left == Commit(10, OffsetMap(10, expected, agent="zero").encode())


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
            await at.client.play()
            await at.client.record(P0, 2)
            again = await at.delivery()
            assert "told offset_rewound" in at.client.history
            assert again.origin == "runs[0]@2"
            assert again.earlier == Earlier(Past.UNKNOWN)  # perhaps it is what was read before
            assert not at.thread.is_current(stale)
            assert isinstance(again.receipt, Position)
            assert at.thread.is_current(again.receipt)

    asyncio.run(scene())


# ── starts ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_begins_once_the_broker_has_taken_the_commit_that_says_so() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            await at.fall_silent()
            at.thread.start_work(first, "first")
            await at.marked(0)
            assert at.stored(P0) == OffsetMap(0, bytes([Mark.STARTED]), agent="one")
            await at.client.play()
            assert at.answers == {}
            at.client.silent = False
            assert await at.answered("first") is True

    asyncio.run(scene())


def test_a_commit_that_was_made_before_a_start_says_nothing_about_it() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first, second = await at.read(P0, 0), await at.read(P0, 1)
            await at.fall_silent()
            at.thread.start_work(first, "first")
            await at.marked(0)
            at.thread.start_work(second, "second")
            await at.client.play()
            at.client.silent = False
            assert await at.answered("first") is True
            assert await at.answered("second") is True
            assert at.stored(P0).marks == bytes([Mark.STARTED] * 2)

    asyncio.run(scene())


def test_a_start_whose_commit_is_refused_waits_for_the_next_one() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            at.client.refusals = 2
            at.thread.start_work(first, "first")
            assert await at.answered("first") is True
            assert at.client.refusals == 0

    asyncio.run(scene())


def test_a_start_that_waits_in_a_partition_that_goes_never_begins_and_leaves_no_mark() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first, second = await at.read(P0, 0), await at.read(P0, 1)
            at.thread.start_work(first, "first")
            assert await at.answered("first") is True

            def while_polling() -> None:
                at.thread.start_work(second, "second")
                at.client.call_back("revoke", P0)

            await at.client.play(while_polling)
            assert await at.answered("second") is False
            going_on = {0: Note(1, goes_on=True)}
            assert at.stored(P0) == OffsetMap(0, bytes([Mark.STARTED]), going_on, agent="one")

    asyncio.run(scene())


def test_a_run_whose_partition_was_lost_and_came_back_is_handed_over_as_one_that_goes_on() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            at.thread.start_work(first, "first")
            assert await at.answered("first") is True
            await at.client.play(lambda: at.client.call_back("lost", P0))
            await at.client.assign(P0)
            again = await at.read(P0, 0)

            def while_polling() -> None:
                at.thread.resume_work(again)
                at.client.call_back("revoke", P0)

            await at.client.play(while_polling)
            assert at.stored(P0).earlier(0) == Earlier(Past.HANDED_OVER, 1, "one")

    asyncio.run(scene())


def test_work_that_ended_and_that_port_does_not_know_of_is_told_by_the_last_commit() -> None:
    async def scene() -> OffsetMap:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            at.thread.start_work(first, "first")
            assert await at.answered("first") is True
            at.thread.end_work(first, Ending.SUCCESS)
        return at.stored(P0)

    assert asyncio.run(scene()).earlier(0) == Earlier(Past.ENDED, 1, "one", Ending.SUCCESS)


def test_a_start_in_a_partition_that_was_lost_never_begins() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first, second = await at.read(P0, 0), await at.read(P0, 1)
            await at.fall_silent()
            at.thread.start_work(first, "first")
            await at.marked(0)
            await at.client.play(lambda: at.client.call_back("lost", P0))
            at.client.silent = False  # the answer comes too late
            assert await at.answered("first") is False
            at.thread.start_work(second, "second")
            assert await at.answered("second") is False

    asyncio.run(scene())


def test_a_start_that_is_withdrawn_leaves_no_mark() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            await at.fall_silent()
            at.thread.start_work(first, "first")
            await at.marked(0)
            at.thread.withdraw(first)
            at.thread.settle(first, Settlement.RELEASE)
            await at.client.play()
            await at.client.play(lambda: at.client.call_back("revoke", P0))
            assert at.stored(P0) == OffsetMap(0)
            assert at.answers == {"first": False}

    asyncio.run(scene())


def test_a_start_that_cannot_be_is_answered_and_told() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            at.thread.settle(first, Settlement.RELEASE)
            at.thread.start_work(first, "first")
            assert await at.answered("first") is False
            assert "told ledger" in at.client.history

    asyncio.run(scene())


def test_what_was_settled_before_its_start_was_answered_is_no_trouble_as_its_partition_goes() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            await at.fall_silent()
            at.thread.start_work(first, "first")
            await at.marked(0)
            at.thread.settle(first, Settlement.ACCEPT)
            await at.client.play(lambda: at.client.call_back("revoke", P0))
            assert at.stored(P0) == OffsetMap(1)
            await at.client.assign(P1)
            assert (await at.read(P1, 5)).partition == P1

    asyncio.run(scene())


def test_a_start_does_not_wait_for_the_dispatcher_to_make_room() -> None:
    """Else all runs begin at the pace at which the thread looks for room."""

    async def scene() -> None:
        async with stage(room=1) as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            await at.client.record(P0, 1)
            assert at.handoff.full
            at.handoff.waits_s.clear()  # there was one, before it paused
            at.thread.start_work(first, "first")
            assert await at.answered("first") is True
            assert set(at.handoff.waits_s) == {0.0}

    asyncio.run(scene())


def test_a_run_that_waits_for_long_does_not_keep_the_thread_busy_and_one_that_may_begin_now_does() -> None:
    async def scene() -> None:
        clock = StillClock()
        async with stage(clock=clock) as at:
            await at.client.assign(P0)
            assert at.client.patience_s == 0.1
            first = await at.read(P0, 0)
            await at.read(P0, 1)
            assert at.client.patience_s == 0.002
            clock.now_s += 0.2
            await at.client.play()
            assert at.client.patience_s == 0.01
            at.thread.settle(first, Settlement.ACCEPT)  # its slot is free: the other may begin
            await until(lambda: at.client.patience_s == 0.002)
            clock.now_s += 0.2
            await until(lambda: at.client.patience_s == 0.01)

    asyncio.run(scene())


def test_a_start_that_waits_for_a_commit_keeps_the_thread_busy() -> None:
    async def scene() -> None:
        clock = StillClock()
        async with stage(clock=clock) as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            await at.fall_silent()
            clock.now_s += 0.2
            at.thread.start_work(first, "first")
            await at.marked(0)
            clock.now_s += 0.2
            await at.client.play()
            assert at.client.patience_s == 0.002
            at.client.silent = False
            assert await at.answered("first") is True
            await until(lambda: at.client.patience_s == 0.1)

    asyncio.run(scene())


@pytest.mark.parametrize(("count", "patience_s"), [(3, 0.002), (4, 0.01)])
def test_where_much_comes_about_at_once_more_is_waited_for(count: int, patience_s: float) -> None:
    """What comes shares a commit then, and the event loop is held up less often; one run alone must not wait."""

    async def scene() -> None:
        async with stage(clock=StillClock()) as at:
            await at.client.assign(P0)
            positions = [await at.read(P0, offset) for offset in range(5)]

            def begin_at_once() -> None:
                for position in positions[:count]:
                    at.thread.start_work(position, position)

            at.client.silent = True
            await at.client.play(begin_at_once)
            assert at.client.patience_s == patience_s
            at.client.silent = False
            await at.client.play()
            assert at.client.patience_s == 0.002  # the next one is for those that wait for their commit

    asyncio.run(scene())


def test_what_has_begun_is_interrupted_where_the_agent_goes() -> None:
    """Nobody is at it any more: whoever gets it next must not wait for us."""

    async def scene() -> FakeConsumer:
        async with stage() as at:
            await at.client.assign(P0)
            first = await at.read(P0, 0)
            at.thread.start_work(first, "first")
            assert await at.answered("first") is True
        assert at.stored(P0).earlier(0) == Earlier(Past.INTERRUPTED, 1, "one")
        return at.client

    client = asyncio.run(scene())
    assert client.history[-2:] == ["close", "told revoked"]


def test_a_start_after_the_end_never_begins() -> None:
    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            first, second = await at.read(P0, 0), await at.read(P0, 1)
            await at.fall_silent()
            at.thread.start_work(first, "first")
            await at.marked(0)
            assert await asyncio.to_thread(at.thread.close, 20)
            assert at.answers == {"first": False}
            assert at.stored(P0) == OffsetMap(0)
            at.answers.clear()
            at.thread.start_work(second, "second")
            assert at.answers == {"second": False}

    asyncio.run(scene())


# ── what is known of a record ────────────────────────────────────────────────────────────────────────


def test_what_the_last_owner_knew_comes_with_the_delivery() -> None:
    marks = bytes([Mark.OPEN, Mark.STARTED, Mark.STARTED])
    notes = {10: Note(2), 12: Note(1, goes_on=True)}

    async def scene() -> None:
        async with stage() as at:
            at.client.stored[P0] = Commit(10, OffsetMap(10, marks, notes, agent="zero").encode())
            await at.client.assign(P0)
            told = []
            for offset in range(10, 14):
                await at.client.record(P0, offset)
                told.append((await at.delivery()).earlier)
            assert told == [
                Earlier(Past.STOPPED, 2, "zero"),
                Earlier(Past.INTERRUPTED, 1, "zero"),
                Earlier(Past.HANDED_OVER, 1, "zero"),
                None,
            ]

    asyncio.run(scene())


@pytest.mark.parametrize("left", [None, Commit(3, ""), Commit(3, "written by another consumer")])
def test_what_another_consumer_left_or_nobody_committed_may_have_been_begun(left: Commit | None) -> None:
    async def scene() -> None:
        async with stage() as at:
            if left is not None:
                at.client.stored[P0] = left
            at.client.ends[P0] = 4
            await at.client.assign(P0)
            told = []
            for offset in (3, 4):
                await at.client.record(P0, offset)
                told.append((await at.delivery()).earlier)
            assert told == [Earlier(Past.UNKNOWN), None]

    asyncio.run(scene())


def test_a_fatal_error_in_place_of_a_record_ends_the_thread_and_says_what_to_do() -> None:
    async def scene() -> None:
        async with stage() as at:
            text = "Fatal error: Broker: API version not supported: ConsumerGroupHeartbeat fatal error"
            fatal = KafkaError(KafkaError._FATAL, text)
            playing = asyncio.ensure_future(at.client.play(lambda: Message("runs", 0, 0, error=fatal)))
            with pytest.raises(
                SourceLostError, match=f"stopped: {text}: .* set AGENT_KAFKA_GROUP_PROTOCOL=classic"
            ):
                await asyncio.wait_for(at.handoff.get(), 20)
            playing.cancel()  # there is no next poll
            assert "told _FATAL" in at.client.history

    asyncio.run(scene())


def test_the_last_commit_is_sent_once_the_one_before_it_is_answered() -> None:
    """The client may repeat an older commit after a newer one: the broker would keep the older one."""

    async def scene() -> None:
        async with stage() as at:
            await at.client.assign(P0)
            position = await at.read(P0, 0)
            await at.fall_silent()
            at.thread.start_work(position, "start")
            await at.marked(0)
            closing = asyncio.create_task(asyncio.to_thread(at.thread.close, 20))
            assert not await at.answered("start")
            await at.client.play()
            assert at.client.history[-1] == "commit in the background runs[0]@0"
            at.client.silent = False
            assert await closing
            assert "commit runs[0]@0" in at.client.history

    asyncio.run(scene())


def test_reaching_the_end_of_a_partition_is_no_trouble_and_no_record() -> None:
    async def scenario() -> None:
        async with stage() as agent:
            await agent.client.assign(P0)
            await agent.read(P0, 0)
            end = KafkaError(KafkaError._PARTITION_EOF)
            await agent.client.play(lambda: Message(P0.topic, P0.index, 1, error=end))
            await agent.read(P0, 1)
            assert not [line for line in agent.client.history if "EOF" in line]
            assert agent.thread._watch._standstills._ends == {P0: 1}

    asyncio.run(scenario())
