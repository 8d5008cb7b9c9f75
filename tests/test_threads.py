from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from agent.threads import FewThreads, SpareThreads, in_thread
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


def test_a_spare_thread_keeps_nothing_of_the_work_that_it_has_done() -> None:
    spare = SpareThreads("spare that forgets", 1)

    class Held:
        pass

    async def scene() -> None:
        for _ in range(2):  # by a thread that was started for it, and by one that was there
            held = Held()
            gone = weakref.ref(held)
            await spare.run(partial(id, held))
            del held
            await until(lambda: len(spare._idle) == 1, "the thread to rest")
            assert gone() is None

    _play(scene)


def test_short_work_is_done_one_after_another_by_one_thread() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    few, begun = FewThreads("few", most=8, late_s=60.0), []

    def work(number: int) -> tuple[threading.Thread, str]:
        begun.append(number)
        return threading.current_thread(), variable.get()

    async def scene() -> None:
        variable.set("bound")
        done = await asyncio.gather(*(few.run(partial(work, number)) for number in range(100)))
        ((thread, value),) = set(done)
        assert (thread.name, thread.daemon, value) == ("few", True, "bound")
        assert begun == list(range(100))
        with pytest.raises(ZeroDivisionError):
            await few.run(lambda: 1 // 0)
        await until(lambda: len(few._resting) == 1, "the thread to rest")
        assert await few.run(threading.current_thread) is thread

    _play(scene)


def test_work_that_lasts_makes_others_wait_no_longer_than_is_said_and_no_more_threads_work_than_may() -> None:
    few, release = FewThreads("few of several", most=3, late_s=0.0), threading.Event()

    def last() -> threading.Thread:
        release.wait(20)
        return threading.current_thread()

    async def scene() -> None:
        lasting = [few.run(last)]
        other = await few.run(threading.current_thread)
        lasting += [few.run(last) for _ in range(4)]
        await until(lambda: few._working == 3, "three to work")
        release.set()
        threads = set(await asyncio.gather(*lasting))
        assert len(threads | {other}) <= 3
        assert (await lasting[0]) is not other
        await until(lambda: not few._working, "all to rest")
        assert len(few._resting) == 3

    _play(scene)


def test_short_work_is_refused_only_where_no_thread_is_left_and_none_works(monkeypatch: pytest.MonkeyPatch) -> None:
    few, release = FewThreads("few of none", most=8, late_s=0.0), threading.Event()

    def no_thread(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scene() -> None:
        with monkeypatch.context() as patches:
            patches.setattr(threading.Thread, "start", no_thread)
            with pytest.raises(RuntimeError, match="can't start"):
                few.run(lambda: "never")
        lasting = few.run(lambda: release.wait(20))
        with monkeypatch.context() as patches:
            patches.setattr(threading.Thread, "start", no_thread)
            waits = few.run(lambda: "after it")
        release.set()
        assert await lasting is True
        assert await waits == "after it"
        assert not few._waiting

    _play(scene)


def test_what_came_while_work_had_just_begun_does_not_wait_for_its_end() -> None:
    few = FewThreads("few of several", 2)
    release = threading.Event()

    async def scene() -> None:
        first = few.run(lambda: release.wait(20))
        try:
            assert await few.run(lambda: "second") == "second"
            last = few.run(lambda: release.wait(20))
            assert not first.done()
            third = few.run(lambda: "third")
            await until(lambda: few._working == 2, "the second thread to be taken")
            assert (last.done(), third.done()) == (False, False), "no more than two threads"
        finally:
            release.set()
        assert (await first, await last, await third) == (True, True, "third")

    _play(scene)


def test_a_loop_that_ended_before_its_second_look_leaves_later_loops_theirs() -> None:
    few = FewThreads("few of two loops", 2)
    early, late = threading.Event(), threading.Event()

    async def left_early() -> None:
        few.run(lambda: early.wait(20))
        few.run(lambda: "nobody waits")

    async def scene() -> None:
        await until(lambda: len(few._resting) == 1, "the thread to rest")
        first = few.run(lambda: late.wait(20))
        try:
            assert await few.run(lambda: "second") == "second"
            assert not first.done()
        finally:
            late.set()
        assert await first

    _play(left_early)
    early.set()
    _play(scene)


def test_work_that_another_thread_has_done_meanwhile_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    few = FewThreads("few that are quick", 2, late_s=0.0)
    release = threading.Event()

    async def scene() -> None:
        first = few.run(lambda: release.wait(20))
        await until(lambda: not few._waiting, "the first work to begin")

        def fails_late(_thread: threading.Thread) -> None:
            release.set()
            while not few._resting:
                pass
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fails_late)
        assert await few.run(lambda: "second") == "second"
        assert await first

    _play(scene)


def _met(together: threading.Barrier) -> threading.Thread:
    together.wait(20)
    return threading.current_thread()


def _join_late() -> None:
    for thread in threading.enumerate():
        if thread.name == "late":
            thread.join(20)
