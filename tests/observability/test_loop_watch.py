"""The event loop's standstills: measured, and laid at the door of those who were there."""

from __future__ import annotations

import asyncio
import time

import pytest
import structlog

from agent.clock import SystemClock
from agent.domain import events as ev
from agent.domain.invocation import RunId
from agent.observability.log_observer import LogObserver
from agent.observability.loop_watch import LoopWatch
from tests.observability.helpers import Heard, HeldClock, metrics, tell, value


class TwoHeard(Heard):
    """Says when it has heard two."""

    def __init__(self) -> None:
        super().__init__()
        self.of_two = asyncio.Event()

    def notify(self, event: ev.Event) -> None:
        super().notify(event)
        if len(self.events) > 1:
            self.of_two.set()


def started(route: str, executor: str = "python") -> ev.RunStarted:
    return ev.RunStarted(executor, route, RunId(f"r_{route}"), None, 0.0)


def finished(route: str, executor: str = "python") -> ev.RunFinished:
    return ev.RunFinished(executor, route, RunId(f"r_{route}"), "success", "", "", 1.0)


def test_a_standstill_is_told_with_the_python_routes_that_were_there() -> None:
    async def scene() -> list[ev.LoopTicked]:
        heard = TwoHeard()
        watch = LoopWatch(SystemClock(), heard, tick_s=0.05)
        task = asyncio.create_task(watch.keep_watching())
        for event in (started("stays"), started("a command", "process"), started("gone"), finished("gone")):
            watch.notify(event)
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251 - what is measured
        watch.notify(started("blocks"))
        watch.notify(finished("blocks"))
        await heard.of_two.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return [event for event in heard.events if isinstance(event, ev.LoopTicked)]

    first, second, *_ = asyncio.run(asyncio.wait_for(scene(), 20))
    assert first.late_s >= 0.3
    assert first.python_routes == ("blocks", "gone", "stays")
    assert second.python_routes == ("stays",)


def test_every_tick_is_counted() -> None:
    observer = metrics()
    tell(observer, ev.LoopTicked(0.004), ev.LoopTicked(8.0, ("create",)))
    assert value(observer, "agent_event_loop_lag_seconds_count") == 2
    assert value(observer, "agent_event_loop_lag_seconds_bucket", le="0.01") == 1
    assert value(observer, "agent_event_loop_lag_seconds_sum") == pytest.approx(8.004)


def test_only_a_standstill_of_more_than_a_second_is_worth_a_line() -> None:
    with structlog.testing.capture_logs() as lines:
        observer = LogObserver(HeldClock())
        for event in (ev.LoopTicked(0.9, ("create",)), ev.LoopTicked(8.04, ("create",)), ev.LoopTicked(2.0)):
            observer.notify(event)
    ours, nobodys = lines
    assert (ours["log_level"], ours["event"], ours["for_s"]) == ("warning", "event loop stood still", 8.0)
    assert ours["python_routes"] == ["create"]
    assert "must not block" in ours["hint"]
    assert (nobodys["for_s"], nobodys["python_routes"], nobodys["hint"]) == (2.0, [], None)
