"""A time limit does what `asyncio.timeout_at` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest
import uvloop

from agent.time_limit import TimeLimit

LONG_S = 30.0

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop])
def run(request: pytest.FixtureRequest) -> Run:
    """Plays a scene on one of the loops that there are."""

    def play(scene: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(scene, LONG_S))

    return play


def test_what_ends_in_time_is_left_alone_and_leaves_no_timer(run: Run) -> None:
    async def scene() -> None:
        with TimeLimit.after(LONG_S) as limit:
            await asyncio.sleep(0)
        assert not limit.expired
        # uvloop keeps no list: what would be left there is left here as well.
        timers: list[asyncio.TimerHandle] = getattr(asyncio.get_running_loop(), "_scheduled", [])
        assert [timer for timer in timers if not timer.cancelled() and "TimeLimit" in repr(timer)] == []

    run(scene())


@pytest.mark.parametrize("timeout_s", [0.01, 0.0, -5.0])
def test_what_takes_too_long_is_cancelled_and_raises_timeout_error(run: Run, timeout_s: float) -> None:
    async def scene() -> None:
        with pytest.raises(TimeoutError) as caught, TimeLimit.after(timeout_s) as limit:
            await asyncio.sleep(LONG_S)
        assert limit.expired
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # the task goes on

    run(scene())


def test_without_an_end_nothing_is_bounded_until_one_is_set(run: Run) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        limit = TimeLimit(None)
        assert limit.at_s is None
        loop.call_later(0.01, limit.move, loop.time())
        with pytest.raises(TimeoutError), limit:
            await asyncio.sleep(LONG_S)
        assert limit.expired

    run(scene())


def test_an_end_may_be_moved_back_and_for_ever(run: Run) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        with TimeLimit.after(0.02) as limit:
            limit.move(None)
            await asyncio.sleep(0.06)
            limit.move(loop.time() + 0.02)
            limit.move(loop.time() + LONG_S)
            await asyncio.sleep(0.06)
        assert not limit.expired
        began_s = loop.time()
        limit = TimeLimit.after(0.02)
        loop.call_soon(limit.move, began_s + 0.1)
        with pytest.raises(TimeoutError), limit:
            await asyncio.sleep(LONG_S)
        assert loop.time() >= began_s + 0.1

    run(scene())


def test_an_end_may_be_moved_nearer(run: Run) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        limit = TimeLimit.after(2 * LONG_S)
        loop.call_soon(limit.move, loop.time() + 0.01)
        with pytest.raises(TimeoutError), limit:
            await asyncio.sleep(2 * LONG_S)

    run(scene())


@pytest.mark.parametrize("with_the_end", [False, True])
def test_a_cancellation_from_outside_stays_one_even_where_the_end_comes_with_it(
    run: Run, *, with_the_end: bool
) -> None:
    async def scene() -> None:
        async def bounded() -> None:
            limits.append(TimeLimit.after(LONG_S))
            with limits[0]:
                await asyncio.sleep(LONG_S)

        limits: list[TimeLimit] = []
        task = asyncio.create_task(bounded())
        await asyncio.sleep(0)
        if with_the_end:
            limits[0].move(0.0)
            await asyncio.sleep(0)  # which is due in this turn, before the task goes on
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert limits[0].expired is with_the_end

    run(scene())


def test_another_error_is_not_replaced_by_the_end(run: Run) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            raise KeyError("own") from None

    async def scene() -> None:
        with pytest.raises(KeyError), TimeLimit.after(0.01):
            await fail_when_cancelled()

    run(scene())


def test_a_limit_within_another_ends_by_itself(run: Run) -> None:
    async def scene() -> None:
        with TimeLimit.after(LONG_S) as outer:
            with pytest.raises(TimeoutError), TimeLimit.after(0.01):
                await asyncio.sleep(LONG_S)
            await asyncio.sleep(0)
        assert not outer.expired
        with pytest.raises(TimeoutError), TimeLimit.after(0.01) as outer, TimeLimit.after(LONG_S) as inner:
            await asyncio.sleep(LONG_S)
        assert outer.expired
        assert not inner.expired

    run(scene())


@pytest.mark.parametrize("timeout_s", [0.0, 0.0003])
def test_an_end_that_is_near_may_be_moved_both_ways(run: Run, timeout_s: float) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        with TimeLimit.after(timeout_s) as limit:
            limit.move(loop.time() + LONG_S)
            await asyncio.sleep(0.01)
        assert not limit.expired
        limit = TimeLimit.after(timeout_s)
        with pytest.raises(TimeoutError), limit:
            await _moved(limit, loop.time() - 1)

    run(scene())


async def _moved(limit: TimeLimit, at_s: float) -> None:
    limit.move(at_s)
    await asyncio.sleep(LONG_S)


def test_once_left_it_cannot_be_moved(run: Run) -> None:
    async def scene() -> None:
        with TimeLimit.after(LONG_S) as limit:
            pass
        limit.move(0.0)
        await asyncio.sleep(0.01)
        assert not limit.expired

    run(scene())


def test_it_is_for_tasks(run: Run) -> None:
    def enter() -> None:
        with pytest.raises(RuntimeError, match="bounds a task"), TimeLimit(None):
            pass
        entered.set()

    async def scene() -> None:
        asyncio.get_running_loop().call_soon(enter)
        await entered.wait()

    entered = asyncio.Event()
    run(scene())
