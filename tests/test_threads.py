from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agent.threads import SpareThreads, in_thread
from tests.executors.process_helpers import until


def _play(scene: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 20))


def test_the_result_and_the_exception_come_back_from_a_daemon_thread() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    variable.set("bound")

    async def scene() -> None:
        name, daemon, value = await in_thread(
            lambda: (threading.current_thread().name, threading.current_thread().daemon, variable.get()), "by name"
        )
        assert (name, daemon, value) == ("by name", True, "bound")
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0, "fails")

    _play(scene)


def test_it_does_not_wait_for_the_default_executor() -> None:
    async def scene() -> None:
        release = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, release.wait)
        try:
            assert await in_thread(lambda: "done", "free") == "done"
            assert not blocked.done()
        finally:
            release.set()
            await blocked

    _play(scene)


@pytest.mark.parametrize("fails", [False, True])
def test_a_thread_that_nobody_waits_for_any_more_disturbs_nobody(*, fails: bool) -> None:
    release = threading.Event()

    def work() -> None:
        release.wait(20)
        if fails:
            raise ValueError("too late")

    async def scene() -> None:
        future = in_thread(work, "late")
        future.cancel()
        release.set()
        await in_thread(_join_late, "join")
        await asyncio.sleep(0)
        assert future.cancelled()

    _play(scene)


def test_a_thread_may_outlive_the_loop() -> None:
    release = threading.Event()

    async def scene() -> None:
        in_thread(lambda: release.wait(20), "late")

    _play(scene)
    release.set()
    _join_late()


def test_a_spare_thread_is_used_again_and_passes_on_what_its_work_raises() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    spare = SpareThreads("spare", 1)

    async def scene() -> None:
        first = await spare.run(threading.current_thread)
        assert (first.name, first.daemon) == ("spare", True)
        variable.set("bound")
        await until(lambda: len(spare._idle) == 1, "the thread to rest")
        assert await spare.run(lambda: (threading.current_thread(), variable.get())) == (first, "bound")
        await until(lambda: len(spare._idle) == 1, "the thread to rest")
        with pytest.raises(ZeroDivisionError):
            await spare.run(lambda: 1 // 0)
        await until(lambda: len(spare._idle) == 1, "the thread to rest")
        assert await spare.run(threading.current_thread) is first

    _play(scene)


def test_work_that_comes_at_once_never_waits_for_a_thread_and_no_more_than_the_spare_ones_stay() -> None:
    spare = SpareThreads("spare of several", 2)

    async def scene() -> None:
        together = threading.Barrier(5)
        threads = await asyncio.gather(*(spare.run(lambda: _met(together)) for _ in range(5)))
        assert len(set(threads)) == 5
        await until(lambda: sum(thread.is_alive() for thread in threads) == 2, "the other threads to end")
        assert len(spare._idle) == 2

    _play(scene)


def _met(together: threading.Barrier) -> threading.Thread:
    together.wait(20)
    return threading.current_thread()


def _join_late() -> None:
    for thread in threading.enumerate():
        if thread.name == "late":
            thread.join(20)
