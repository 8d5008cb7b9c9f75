"""A run that was closed in Port is stopped, and Port hears nothing more of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.dispatch.close_watch import CloseWatch
from agent.domain.events import RunFinished
from agent.domain.invocation import Channel, RunId
from agent.domain.outcome import CancelReason, Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.domain.settlement import Settlement
from agent.ports import RunContext, Standing
from tests.dispatch.fakes import House, Work

ROUTE = Route(name="all", match=Match(kinds=("action_run", "change_event")), executor="work")
CYCLE_S = 0.02


def watched(tmp_path: Path, scene: Callable[[House, asyncio.Event], object], cycle_s: float = CYCLE_S) -> None:
    """Plays the scene with a house whose runs go on until they are told to end, and somebody who watches them."""

    async def go() -> None:
        gate = asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                run.log(f"stopped: {run.cancellation}")
                raise
            return Succeeded()

        house = House([(ROUTE, Work(work))], tmp_path)
        watch = CloseWatch(house.lives, house.lookup, cycle_s)
        house.lifecycle._services = (watch.keep_watching,)
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        playing = scene(house, gate)
        assert asyncio.iscoroutine(playing)
        await playing
        gate.set()
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())


async def a_look(house: House) -> None:
    """Returns once the watch has looked for runs again, and has asked about what it found."""
    looks, look = 0, house.lives.executing_for

    def counted(at_least_s: float) -> frozenset[RunId]:
        nonlocal looks
        looks += 1
        return look(at_least_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.lives, "executing_for", counted)
        await house.until(lambda: looks > 0)


def test_the_closed_one_is_stopped_and_the_others_go_on(tmp_path: Path) -> None:
    async def scene(house: House, gate: asyncio.Event) -> None:
        house.source.put("one")
        house.source.put("two")
        await house.until(lambda: {"r_one", "r_two"} in house.lookup.watched)
        house.lookup.standings["r_one"] = Standing.OVER
        await house.until(lambda: "one" in house.source.settled)
        report = house.reporter.reports["r_one"]
        assert report.abandoned
        assert house.source.settled["one"] is Settlement.ACCEPT
        [finished] = house.events.of(RunFinished)
        assert (finished.status, finished.reason) == ("cancelled", CancelReason.CLOSED_IN_PORT)
        gate.set()
        await house.until(lambda: "two" in house.source.settled)
        assert house.reporter.reports["r_two"].outcome == Succeeded()

    watched(tmp_path, scene)


def test_short_runs_and_no_runs_cost_no_question(tmp_path: Path) -> None:
    async def scene(house: House, gate: asyncio.Event) -> None:
        gate.set()
        await a_look(house)
        assert house.lives.executing_for(0) == set()
        house.source.put("quick")
        await house.until(lambda: "quick" in house.source.settled)
        await a_look(house)
        assert house.lookup.watched == []

    watched(tmp_path, scene, cycle_s=0.3)  # longer than any quick run takes


def test_what_is_no_action_run_is_not_asked_about(tmp_path: Path) -> None:
    async def scene(house: House, gate: asyncio.Event) -> None:
        house.source.put("change", channel=Channel.CHANGE_LOG)
        house.source.put("one")
        await house.until(lambda: bool(house.lookup.watched))
        assert house.lookup.watched[-1] == {"r_one"}
        gate.set()

    watched(tmp_path, scene)


def test_a_run_that_ended_meanwhile_is_passed_over(tmp_path: Path) -> None:
    House([], tmp_path).lives.stop(RunId("r_gone"), CancelReason.CLOSED_IN_PORT)
