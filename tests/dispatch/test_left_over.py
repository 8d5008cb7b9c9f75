"""Outcomes that an earlier life of the agent has left: told first, and their runs never begun again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.dispatch.backlog import Backlog
from agent.dispatch.dispatcher import DispatchSettings
from agent.dispatch.telling import Telling
from agent.domain.earlier import Earlier, Past
from agent.domain.events import RunReported
from agent.domain.invocation import InvocationKind, RunId
from agent.domain.outcome import Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.domain.settlement import Delivered, NothingToReport, Refused, Reported, Settlement, Undelivered
from agent.ports import RunContext, Subject
from tests.dispatch.fakes import House, LeftOver, Work

ROUTE = Route(name="all", match=Match(), executor="work")


def left_over(name: str, answer: Reported | None = None, hold: asyncio.Event | None = None) -> LeftOver:
    subject = Subject(RunId(f"r_{name}"), InvocationKind.ACTION_RUN, name, "all")
    return LeftOver(subject, answer or Delivered(), hold)


class Counting:
    def __init__(self) -> None:
        self.executed: list[str] = []

    async def __call__(self, run: RunContext) -> Outcome:
        self.executed.append(run.run_id or "")
        return Succeeded()


@pytest.mark.parametrize(
    ("answer", "settlement"),
    [
        (Delivered(), Settlement.ACCEPT),
        (NothingToReport(), Settlement.ACCEPT),
        (Refused(409, "closed"), Settlement.ACCEPT),
        (Undelivered("no time"), Settlement.RELEASE),
    ],
)
def test_its_message_is_settled_by_what_port_says_and_nothing_is_begun(
    tmp_path: Path, answer: Reported, settlement: Settlement
) -> None:
    work = Counting()

    async def scene() -> None:
        hold = asyncio.Event()
        house = House([(ROUTE, Work(work))], tmp_path)
        house.reporter.left = [left_over("done", answer, hold)]
        house.source.put("done", earlier=Earlier(Past.INTERRUPTED, 1, "me"))
        house.source.put("fresh")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: "fresh" in house.source.settled)
        assert "done" not in house.source.settled  # not before Port has answered
        hold.set()
        await house.until(lambda: "done" in house.source.settled)
        house.stop.ask()
        assert await agent == 0
        assert house.source.settled["done"] is settlement
        assert house.lookup.asked == []  # whoever is at it asks
        assert house.events.of(RunReported)[-1].run_id == "r_done"

    asyncio.run(scene())
    assert work.executed == ["r_fresh"]


def test_a_drain_leaves_it_to_the_next_life(tmp_path: Path) -> None:
    async def scene() -> None:
        house = House([(ROUTE, Work(Counting()))], tmp_path)
        waiting = left_over("done", hold=asyncio.Event())
        house.reporter.left = [waiting]
        house.source.put("done")
        house.source.put("fresh")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: "fresh" in house.source.settled)
        house.stop.ask()
        assert await asyncio.wait_for(agent, 3) == 0
        assert house.source.settled["done"] is Settlement.RELEASE
        assert not waiting.delivered

    asyncio.run(scene())


def test_with_too_many_of_them_nothing_more_is_begun(tmp_path: Path) -> None:
    work = Counting()

    async def scene() -> None:
        hold = asyncio.Event()
        house = House([(ROUTE, Work(work))], tmp_path, settings=DispatchSettings(max_pending_reports=2))
        house.reporter.left = [left_over("one", hold=hold), left_over("two", hold=hold)]
        for number in range(5):
            house.source.put(f"fresh-{number}")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        for _ in range(20):
            await asyncio.sleep(0)
        assert work.executed == []
        hold.set()
        await house.until(lambda: len(house.source.settled) == 5)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(scene())
    assert len(work.executed) == 5


def test_a_defect_in_telling_leaves_it_left_over(tmp_path: Path) -> None:
    class Broken(LeftOver):
        async def deliver(self) -> Reported:
            raise RuntimeError("boom")

    async def scene() -> None:
        house = House([(ROUTE, Work(Counting()))], tmp_path)
        house.reporter.left = [Broken(left_over("done").subject)]
        house.source.put("fresh")
        await house.settle(1)
        assert set(house.source.settled) == {"fresh"}

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("sizes", "is_full"), [((), False), ((10,), False), ((10, 10), True), ((100,), True), ((99,), False)]
)
def test_a_backlog_is_full_by_number_or_by_size(sizes: tuple[int, ...], *, is_full: bool) -> None:
    backlog = Backlog(2, 100)
    filled = [backlog.begin(size_bytes) for size_bytes in sizes]
    assert backlog.has_room is not is_full
    assert sum(filled) == is_full

    emptied = [backlog.end(size_bytes) for size_bytes in sizes]
    assert backlog.has_room
    assert sum(emptied) == is_full


def test_a_backlog_that_is_full_tells_once_when_it_fills_and_once_when_there_is_room() -> None:
    backlog = Backlog(2, 100)
    assert [backlog.begin(60) for _ in range(4)] == [False, True, False, False]
    assert [backlog.end(60) for _ in range(4)] == [False, False, True, False]


def test_who_lets_runs_begin_is_told_when_it_fills_and_when_there_is_room_again_and_not_in_between() -> None:
    told: list[bool] = []
    backlog = Backlog(2, 100)
    no_lives: Any = None
    telling = Telling(no_lives, backlog, lambda: told.append(backlog.has_room))
    with telling.counted(10):
        with telling.counted(10):
            assert told == [False]
            with telling.counted(10):
                assert told == [False]
            assert told == [False]
        assert told == [False, True]
    assert told == [False, True]


def test_a_defect_in_whoever_is_told_that_it_is_full_leaves_nothing_counted() -> None:
    def break_down() -> None:
        raise ZeroDivisionError

    backlog = Backlog(1, 100)
    no_lives: Any = None
    with pytest.raises(ZeroDivisionError), Telling(no_lives, backlog, break_down).counted(10):
        pytest.fail("nothing is told where that is not known")
    assert backlog.begin(99)
    assert backlog.end(99)
