import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent.dispatch.dispatcher import DispatchSettings
from agent.dispatch.lifecycle import Lifecycle
from agent.domain.events import DrainStarted
from agent.domain.invocation import View
from agent.domain.json import Json
from agent.domain.outcome import Cancelled, CancelReason, Failed, Outcome, Succeeded
from agent.domain.route import EntityRule, Match, Route
from agent.domain.settlement import Settlement
from agent.domain.timeline import Timeline
from agent.ports import RunContext
from tests.dispatch.fakes import House, Work

RULE = Route(name="all", match=Match(), executor="work")


@dataclass
class Constant:
    value: Json

    def render(self, view: View) -> Json:
        del view
        return self.value


async def forever(run: RunContext) -> Outcome:
    del run
    await asyncio.Event().wait()
    return Succeeded()


def test_a_drain_lets_runs_finish_and_gives_the_waiting_back(tmp_path: Path) -> None:
    async def go() -> House:
        release = asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            del run
            await release.wait()
            return Succeeded()

        house = House([(RULE, Work(work))], tmp_path, DispatchSettings(max_concurrent_runs=1))
        house.source.put("deploy-1")
        house.source.put("deploy-2")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.dispatcher.in_flight == 1 and house.source.queue.empty())
        house.stop.ask()
        await house.until(lambda: "deploy-2" in house.source.settled)
        release.set()
        assert await agent == 0
        return house

    house = asyncio.run(go())
    assert house.source.settled == {"deploy-2": Settlement.RELEASE, "deploy-1": Settlement.ACCEPT}
    assert "r_deploy-2" not in house.reporter.reports
    assert house.source.closed
    assert house.events.of(DrainStarted) == [DrainStarted(1, 0, 5)]
    assert not house.reporter.hurried


def test_a_drain_tells_apart_what_is_executed_and_what_port_must_still_hear_of(tmp_path: Path) -> None:
    async def go() -> House:
        release = asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            if run.inputs["name"] == "slow-1":
                await release.wait()
            return Succeeded()

        house = House([(RULE, Work(work))], tmp_path)
        house.reporter.hold = asyncio.Event()
        for name in ("slow-1", "quick-2", "quick-3"):
            house.source.put(name)
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: (house.dispatcher.in_flight, house.dispatcher.executing) == (3, 1))
        house.stop.ask()
        await house.until(lambda: bool(house.events.of(DrainStarted)))
        release.set()
        house.reporter.hold.set()
        assert await agent == 0
        return house

    house = asyncio.run(go())
    assert house.events.of(DrainStarted) == [DrainStarted(executing=1, telling=2, timeout_s=5)]
    assert house.dispatcher.executing == 0


def test_a_drain_gives_back_what_waits_for_its_turn_also_below_runs_that_have_ended(tmp_path: Path) -> None:
    """What ended above it is remembered, so that nothing is executed again."""

    async def go() -> House:
        release = asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            if run.inputs["name"] == "gated-1":
                await release.wait()
            return Succeeded()

        gated = Route(name="gated", match=Match(actions=("gated",)), executor="work", max_concurrent=1)
        house = House([(gated, Work(work)), (RULE, Work(work))], tmp_path)
        for name in ("gated-1", "gated-2", "quick-3", "gated-4"):
            house.source.put(name)
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: "quick-3" in house.source.settled and house.source.queue.empty())
        house.stop.ask()
        await house.until(lambda: {"gated-2", "gated-4"} <= house.source.settled.keys())
        release.set()
        assert await agent == 0
        return house

    assert asyncio.run(go()).source.settled == {
        "quick-3": Settlement.ACCEPT,
        "gated-2": Settlement.RELEASE,
        "gated-4": Settlement.RELEASE,
        "gated-1": Settlement.ACCEPT,
    }


def test_entities_are_waited_for_as_long_as_port_takes_and_without_a_slot(tmp_path: Path) -> None:
    """An outage of Port costs time, and neither the run's outcome nor others' turns."""

    async def quick(run: RunContext) -> Outcome:
        del run
        return Succeeded()

    async def go() -> House:
        rule = replace(
            RULE, timeout_s=0.05, entities=(EntityRule(Constant({"blueprint": "b", "identifier": "i"})),)
        )
        house = House([(rule, Work(quick))], tmp_path, DispatchSettings(max_concurrent_runs=1))
        house.reporter.entity_gate = asyncio.Event()
        for number in range(3):
            house.source.put(f"deploy-{number}")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: len([r for r in house.reporter.reports.values() if r.entities]) == 3)
        await asyncio.sleep(0.1)  # twice the time that the route gives its runs
        assert house.source.ended == {}  # to whoever takes over they are not yet what they will be
        house.reporter.entity_gate.set()
        await house.until(lambda: len(house.source.settled) == 3)
        house.stop.ask()
        assert await agent == 0
        return house

    reports = asyncio.run(go()).reporter.reports
    assert [report.outcome for report in reports.values()] == [Succeeded()] * 3


def test_entities_that_port_does_not_take_before_a_stop_cost_the_run_its_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.dispatch.aftermath._WHEN_STOPPED_S", 0.05)

    async def quick(run: RunContext) -> Outcome:
        del run
        return Succeeded()

    async def go() -> House:
        rule = replace(RULE, entities=(EntityRule(Constant({"blueprint": "b", "identifier": "i"})),))
        house = House([(rule, Work(quick))], tmp_path, timeline=Timeline(0.05, 1, 5))
        house.reporter.entity_gate = asyncio.Event()
        house.source.put("deploy-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: any(r.entities for r in house.reporter.reports.values()))
        house.stop.ask()
        assert await agent == 0
        return house

    outcome = asyncio.run(go()).reporter.reports["r_deploy-1"].outcome
    assert isinstance(outcome, Failed)
    assert outcome.reason == "the work was done, but Port did not take the route's entities in time"


def test_entities_that_port_does_not_take_do_not_keep_the_agent_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.dispatch.aftermath._WHEN_STOPPED_S", 0.05)

    async def failed(run: RunContext) -> Outcome:
        del run
        return Failed("exit code 3")

    async def go() -> House:
        always = EntityRule(Constant({"blueprint": "b", "identifier": "i"}), on=frozenset({"always"}))
        house = House([(replace(RULE, entities=(always,)), Work(failed))], tmp_path, timeline=Timeline(0.05, 1, 5))
        house.reporter.entity_gate = asyncio.Event()
        house.source.put("deploy-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: any(r.entities for r in house.reporter.reports.values()))
        house.stop.ask()
        assert await agent == 0
        return house

    assert asyncio.run(go()).reporter.reports["r_deploy-1"].outcome == Failed("exit code 3")


def test_a_service_that_fails_ends_the_agent_in_order(tmp_path: Path) -> None:
    async def go() -> tuple[int, House]:
        house = House([(RULE, Work(forever))], tmp_path, timeline=Timeline(0.05, 0.1, 1.0))

        async def broken() -> None:
            await house.until(lambda: house.dispatcher.in_flight == 1)
            raise RuntimeError("a bug")

        house.source.put("deploy-1")
        lifecycle = Lifecycle(
            house.source, house.dispatcher, house.reporter, house.events, house.timeline, (broken,)
        )
        return await lifecycle.run(house.stop), house

    exit_code, house = asyncio.run(go())
    assert exit_code == 1
    assert house.source.settled == {"deploy-1": Settlement.ACCEPT}


def test_runs_that_outlast_the_drain_are_stopped_with_a_reason_that_reaches_port(tmp_path: Path) -> None:
    async def go() -> House:
        house = House([(RULE, Work(forever))], tmp_path, timeline=Timeline(0.05, 0.1, 1.0))
        house.source.put("deploy-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.dispatcher.in_flight == 1)
        house.stop.ask()
        assert await agent == 0
        return house

    house = asyncio.run(go())
    detail = "the agent was stopped while the run was in progress"
    assert house.reporter.reports["r_deploy-1"].outcome == Cancelled(CancelReason.AGENT_STOP, detail)
    assert house.source.settled == {"deploy-1": Settlement.ACCEPT}
    assert house.reporter.hurried


def test_runs_that_outlast_the_drain_are_left_to_the_next_agent_where_that_is_wished(tmp_path: Path) -> None:
    async def go() -> House:
        house = House(
            [(RULE, Work(forever))], tmp_path, timeline=Timeline(0.05, 0.1, 1.0), redeliver_when_stopped=True
        )
        house.source.put("deploy-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.dispatcher.in_flight == 1)
        house.stop.ask()
        assert await agent == 0
        return house

    house = asyncio.run(go())
    assert house.reporter.reports["r_deploy-1"].abandoned
    assert house.reporter.reports["r_deploy-1"].outcome is None
    assert house.source.settled == {"deploy-1": Settlement.REPEAT}


def test_a_run_that_ends_in_time_is_reported_also_where_others_would_be_left(tmp_path: Path) -> None:
    async def work(run: RunContext) -> Outcome:
        del run
        return Succeeded()

    async def go() -> House:
        house = House([(RULE, Work(work))], tmp_path, redeliver_when_stopped=True)
        house.source.put("deploy-1")
        await house.settle(1)
        return house

    house = asyncio.run(go())
    assert house.reporter.reports["r_deploy-1"].outcome == Succeeded()
    assert house.source.settled == {"deploy-1": Settlement.ACCEPT}


def test_asking_twice_skips_the_drain(tmp_path: Path) -> None:
    async def go() -> float:
        house = House([(RULE, Work(forever))], tmp_path, timeline=Timeline(300, 0.1, 1.0))
        house.source.put("deploy-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.dispatcher.in_flight == 1)
        began = time.monotonic()
        house.stop.ask()
        house.stop.ask()
        assert await agent == 0
        return time.monotonic() - began

    assert asyncio.run(go()) < 60


def test_a_report_that_port_never_takes_is_left_for_redelivery(tmp_path: Path) -> None:
    async def work(run: RunContext) -> Outcome:
        del run
        return Succeeded()

    async def go() -> House:
        house = House([(RULE, Work(work))], tmp_path, timeline=Timeline(0.05, 0.1, 0.1))
        house.reporter.hold = asyncio.Event()
        house.source.put("deploy-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: any(r.outcome for r in house.reporter.reports.values()))
        house.stop.ask()
        assert await agent == 0
        return house

    assert asyncio.run(go()).source.settled == {"deploy-1": Settlement.RELEASE}


def test_a_lost_source_drains_and_exits_non_zero(tmp_path: Path) -> None:
    async def go() -> tuple[int, House]:
        house = House([(RULE, Work(forever))], tmp_path, timeline=Timeline(0.05, 0.1, 1.0))
        house.source.put("deploy-1")
        house.source.lost = True
        house.source.queue.put_nowait(None)
        return await house.lifecycle.run(house.stop), house

    exit_code, house = asyncio.run(go())
    assert exit_code == 1
    assert house.source.settled == {"deploy-1": Settlement.ACCEPT}
