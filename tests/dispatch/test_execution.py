"""What is said of a run whose time is up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agent.dispatch.active_run import ActiveRun
from agent.dispatch.execution import supervise
from agent.dispatch.workspace import Workspace
from agent.domain.outcome import Failed, FailureKind, Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.domain.settlement import Delivered
from agent.ports import RunContext
from agent.testing import fake_invocation
from tests.dispatch.fakes import Events, RealClock, Report, Work


async def _forever(_run: RunContext) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("timeout_s", "said"),
    [
        (0.05, "0.05 s"),
        (0.7, "0.7 s"),
        (1.5, "1.5 s"),
        (59.0, "59 s"),
        (60.0, "1 min"),
        (90.0, "1 min 30 s"),
        (3600.0, "1 h"),
        (5400.0, "1 h 30 min"),
    ],
)
def test_the_time_that_a_run_had_is_told_as_the_route_says_it(tmp_path: Path, timeout_s: float, said: str) -> None:
    async def go() -> Outcome:
        invocation, route, clock = fake_invocation(), Route("r", Match(), "x", timeout_s=timeout_s), RealClock()
        report = Report(invocation.run_id, Delivered(), [])
        run = ActiveRun(invocation, route, report, Workspace(tmp_path), Events(), deadline_s=clock.monotonic())
        return await supervise(run, Work(_forever), route, clock, kill_grace_s=0.0)

    assert asyncio.run(go()) == Failed(f"timed out after {said}", FailureKind.TIMED_OUT)


@pytest.mark.parametrize("was_frozen", [True, False])
def test_work_that_ended_while_the_agent_stood_still_did_not_take_too_long(
    tmp_path: Path, *, was_frozen: bool
) -> None:
    """A paused pod or machine comes back long after the deadline, with the end of the work still unread."""

    async def go() -> Outcome:
        clock, ended = RealClock(), asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            del run
            await ended.wait()
            for _ in range(20):  # the way from a child's exit to its outcome
                await asyncio.sleep(0)
            return Succeeded()

        async def freeze() -> None:
            await asyncio.sleep(0.05)
            if was_frozen:
                time.sleep(0.8)  # noqa: ASYNC251 - the loop stands still
                ended.set()

        invocation, route = fake_invocation(), Route("r", Match(), "x", timeout_s=0.1)
        report = Report(invocation.run_id, Delivered(), [])
        deadline_s = clock.monotonic() + 0.1
        run = ActiveRun(invocation, route, report, Workspace(tmp_path), Events(), deadline_s=deadline_s)
        outcome, _ = await asyncio.gather(supervise(run, Work(work), route, clock, kill_grace_s=0.0), freeze())
        return outcome

    expected = Succeeded() if was_frozen else Failed("timed out after 0.1 s", FailureKind.TIMED_OUT)
    assert asyncio.run(go()) == expected
