import asyncio
import time
from pathlib import Path

from agent.dispatch.dispatcher import DispatchSettings
from agent.dispatch.lifecycle import Timeline
from agent.domain.events import DrainStarted
from agent.domain.outcome import Cancelled, CancelReason, Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.domain.settlement import Settlement
from agent.ports import RunContext
from tests.dispatch.fakes import House, Work

RULE = Route(name="all", match=Match(), executor="work")


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
    assert house.events.of(DrainStarted) == [DrainStarted(1, 5)]
    assert not house.reporter.hurried


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


def test_the_timeline_adds_up() -> None:
    assert Timeline(drain_s=30, kill_grace_s=10, report_s=20).total_s == 70
