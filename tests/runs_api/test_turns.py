from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import pytest

from agent.runs_api.budget import Window
from agent.runs_api.pace import Pace
from agent.runs_api.turns import Turns
from tests.runs_api.virtual_time import LoopClock, run_virtually

LONGEST_S = 2.0


@dataclass
class Line:
    """Requests by their names, and when each went."""

    pace: Pace = field(default_factory=lambda: Pace(LONGEST_S))
    went: list[tuple[str, float]] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turns = Turns(self.pace, LoopClock())
        self._began_s = self._now_s()

    def come(self, name: str, *, can_wait: bool = False, until: asyncio.Event | None = None) -> asyncio.Task[None]:
        return asyncio.create_task(self._come(name, can_wait=can_wait, until=until))

    def told(self, remaining: int, spare: float, left_s: float) -> None:
        self.pace.told(Window(remaining, spare, left_s, self._now_s() + left_s, None))
        self.turns.changed()

    def refused(self, wait_s: float) -> None:
        self.pace.refused(wait_s, self._now_s())
        self.turns.changed()

    def let_few_go(self) -> None:
        """From now on one that can wait goes every two seconds, and no other."""
        self.told(5000, 0, 600.0)

    async def _come(self, name: str, *, can_wait: bool, until: asyncio.Event | None) -> None:
        looks = await self.turns.take(can_wait=can_wait, until=until)
        self.went.append((name, round(self._now_s() - self._began_s, 3)))
        if looks:
            self.looked.append(name)

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def play(scenario: Callable[[Line], Coroutine[None, None, None]]) -> Line:
    """Whoever waits in the end would keep time from ever ending; no task is left over."""

    async def run() -> Line:
        line = Line()
        await scenario(line)
        assert len(asyncio.all_tasks()) == 1
        return line

    return run_virtually(run())


def test_without_a_limit_all_go_at_once_and_in_the_same_turn_of_the_loop() -> None:
    async def scenario(line: Line) -> None:
        tasks = [line.come(str(number), can_wait=number % 2 == 0) for number in range(100)]
        await asyncio.sleep(0)
        assert all(task.done() for task in tasks)

    assert {at_s for _, at_s in play(scenario).went} == {0.0}


def test_those_that_can_wait_go_in_a_row_in_which_they_came_and_others_at_once() -> None:
    async def scenario(line: Line) -> None:
        line.told(60, 10, 10.0)
        logs = [line.come(f"log {number}", can_wait=True) for number in range(5)]
        await asyncio.sleep(1.5)
        await line.come("status")
        await asyncio.wait(logs)

    went = play(scenario).went
    assert went == [
        ("log 0", 0.0),
        ("log 1", 0.0),  # the place that nobody had taken
        ("log 2", 1.0),
        ("status", 1.5),
        ("log 3", 3.0),
        ("log 4", 4.0),
    ]


def test_one_that_came_later_does_not_overtake_those_that_wait() -> None:
    async def logs(line: Line) -> None:
        line.let_few_go()
        tasks = [line.come(str(number), can_wait=True) for number in range(3)]
        await asyncio.sleep(1)
        line.told(1000, 950, 10.0)
        tasks.append(line.come("late", can_wait=True))
        await asyncio.wait(tasks)

    async def statuses(line: Line) -> None:
        line.refused(1.0)
        tasks = [line.come(str(number)) for number in range(3)]
        await asyncio.sleep(1.02)
        tasks.append(line.come("late"))
        await asyncio.wait(tasks)

    for scenario in (logs, statuses):
        assert [name for name, _ in play(scenario).went] == ["0", "1", "2", "late"]


def test_after_a_refusal_those_that_cannot_wait_are_first_and_do_not_come_all_at_once() -> None:
    async def scenario(line: Line) -> None:
        line.refused(4.0)
        tasks = [line.come(f"log {number}", can_wait=True) for number in range(2)]
        tasks += [line.come(f"status {number}") for number in range(3)]
        await asyncio.wait(tasks)

    line = play(scenario)
    assert [name for name, _ in line.went] == ["status 0", "status 1", "status 2", "log 0", "log 1"]
    times_s = [at_s for _, at_s in line.went]
    assert times_s[:3] == pytest.approx([4.0, 4.05, 4.1], abs=0.01)
    assert not line.looked


def test_one_looks_and_if_it_is_answered_all_others_go() -> None:
    async def scenario(line: Line) -> None:
        line.refused(300.0)
        tasks = [line.come("log", can_wait=True), line.come("status 0"), line.come("status 1")]
        await asyncio.sleep(5.5)
        assert line.went == [("status 0", 5.0)]
        line.pace.answered(asyncio.get_running_loop().time(), looked=True)
        line.turns.changed()
        await asyncio.wait(tasks)

    line = play(scenario)
    assert [name for name, _ in line.went] == ["status 0", "status 1", "log"]
    assert all(at_s <= 5.6 for _, at_s in line.went)
    assert line.looked == ["status 0"]


def test_those_that_waited_for_a_windows_end_do_not_go_all_at_once_where_the_next_one_is_unknown() -> None:
    async def scenario(line: Line) -> None:
        line.told(0, -50, 10.0)
        await asyncio.wait([line.come(str(number), can_wait=True) for number in range(20)])

    times_s = [at_s for _, at_s in play(scenario).went]
    assert times_s[0] == 10.0
    assert times_s[-10:] == pytest.approx([10.0 + step / 10 for step in range(10)], abs=0.01)


def test_better_news_has_them_go_sooner_and_worse_later() -> None:
    async def scenario(line: Line) -> None:
        line.let_few_go()
        first = line.come("first", can_wait=True)
        await asyncio.sleep(0.5)
        line.refused(3.0)
        second = line.come("second", can_wait=True)
        await asyncio.wait({first})
        await asyncio.sleep(0.5)
        line.told(1000, 950, 10.0)
        await asyncio.wait({second})

    assert play(scenario).went == [("first", 3.5), ("second", 4.0)]


def test_one_that_suddenly_cannot_wait_does_not_and_one_that_never_could_never_did() -> None:
    async def scenario(line: Line) -> None:
        line.let_few_go()
        ends = asyncio.Event()
        tasks = [line.come("other", can_wait=True), line.come("log", can_wait=True, until=ends)]
        await asyncio.sleep(1)
        assert not line.went
        ends.set()
        tasks.append(line.come("last line", can_wait=True, until=ends))
        await asyncio.wait(tasks)

    assert sorted(play(scenario).went) == [("last line", 1.0), ("log", 1.05), ("other", 2.0)]


def test_whoever_gives_up_gives_its_place_away() -> None:
    async def scenario(line: Line) -> None:
        line.let_few_go()
        tasks = [line.come(str(number), can_wait=True, until=asyncio.Event()) for number in range(3)]
        await asyncio.sleep(1)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.wait(tasks[:2])
        line.refused(3.0)
        status = line.come("status")
        await asyncio.sleep(0)
        status.cancel()
        await asyncio.wait({status, tasks[2]})

    async def alone(line: Line) -> None:
        line.let_few_go()
        task = line.come("log", can_wait=True)
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})

    assert play(scenario).went == [("2", 4.0)]
    assert not play(alone).went


def test_one_that_is_given_up_as_its_turn_comes_leaves_the_next_ones_alone() -> None:
    async def scenario(line: Line) -> None:
        line.refused(1.0)
        first, second = line.come("first"), line.come("second")
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at(asyncio.get_running_loop().time() + 1.0, first.cancel)
        await asyncio.wait({first, second})

    assert [name for name, _ in play(scenario).went][-1] == "second"
