from __future__ import annotations

import asyncio
import contextlib
import itertools

import pytest

from agent.domain.invocation import Channel
from agent.kafka.handoff import Handoff
from agent.ports import Delivery

STEPS = 6


def delivery(body: bytes) -> Delivery:
    return Delivery(body, None, Channel.RUNS, 0.0, "here")


async def meet(put_at: int, cancel_at: int, *, put_first: bool) -> tuple[bool, list[bytes]]:
    """A `Handoff.get` that meets a `put` and a cancellation, each at its turn of the loop.

    Returns whether the get was cancelled, and everything that was got by it and after it.
    """
    handoff = Handoff(asyncio.get_running_loop(), max_records=10, max_bytes=10)
    getting = asyncio.create_task(handoff.get())
    for step in range(STEPS):
        if step == put_at and put_first:
            handoff.put([delivery(b"a")])
        if step == cancel_at:
            getting.cancel()
        if step == put_at and not put_first:
            handoff.put([delivery(b"a")])
        await asyncio.sleep(0)
    handoff.put([delivery(b"b")])
    got = []
    with contextlib.suppress(asyncio.CancelledError):
        got.append(await getting)
    while got[-1:] != [None] and b"b" not in [d.body for d in got if d]:
        got.append(await asyncio.wait_for(handoff.get(), 20))
    return getting.cancelled(), [d.body for d in got if d]


def test_cancelling_get_loses_nothing_whenever_a_record_comes() -> None:
    async def scene() -> set[bool]:
        seen = set()
        for put_at, cancel_at, put_first in itertools.product(range(STEPS), range(STEPS), (True, False)):
            cancelled, got = await meet(put_at, cancel_at, put_first=put_first)
            assert got == [b"a", b"b"], (put_at, cancel_at, put_first)
            seen.add(cancelled)
        return seen

    assert asyncio.run(scene()) == {True, False}


def test_a_closed_handoff_drops_what_waits_and_lets_the_thread_go() -> None:
    async def scene() -> None:
        handoff = Handoff(asyncio.get_running_loop(), max_records=1, max_bytes=10)
        handoff.put([delivery(b"a")])
        assert handoff.full
        assert not handoff.wait_for_room(0.0)
        waiting = asyncio.create_task(asyncio.to_thread(handoff.wait_for_room, 20))
        handoff.close()
        assert await waiting
        assert await handoff.get() is None

    asyncio.run(scene())


def test_bytes_fill_it_like_records_do() -> None:
    async def scene() -> None:
        handoff = Handoff(asyncio.get_running_loop(), max_records=10, max_bytes=3)
        fullness = []
        for body in (b"ab", b"c"):
            handoff.put([delivery(body)])
            fullness.append(handoff.full)
        await handoff.get()
        assert [*fullness, handoff.full] == [False, True, False]

    asyncio.run(scene())


def test_a_failure_is_told_after_what_came_before_it() -> None:
    async def scene() -> None:
        handoff = Handoff(asyncio.get_running_loop(), max_records=10, max_bytes=10)
        handoff.put([delivery(b"a")])
        handoff.fail(ConnectionError("gone"))
        assert await handoff.get() == delivery(b"a")
        with pytest.raises(ConnectionError, match="gone"):
            await handoff.get()

    asyncio.run(scene())
