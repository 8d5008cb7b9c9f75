"""Agents and a server that counts requests in windows, over minutes of time that costs none; each time the same."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest

from agent.domain.events import Event
from agent.domain.invocation import RunId
from agent.runs_api import wire
from agent.runs_api.auth import AccessTokens
from agent.runs_api.connection import Connection, RequestLimits
from agent.runs_api.exchange import Exchange, Reply
from tests.runs_api.virtual_time import LoopClock, run_virtually

_LATENCY_S = 0.004
_LOG = wire.add_run_log(RunId("r"), "x")
_STATUS = wire.patch_run(RunId("r"), status_label="x")


def _now_s() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class CountingPort:
    """Allows ``limit`` requests in each window, and tells of it in every answer or only by refusing."""

    limit: int
    period_s: float
    tells: bool
    used: int = 0
    ends_s: float = 0.0
    came_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)

    def spend(self) -> bool:
        if _now_s() >= self.ends_s:
            self.used, self.ends_s = 0, _now_s() + self.period_s
        self.used += 1
        return self.used <= self.limit

    async def once(self, _request: wire.Request, _token: str, _is_over: Callable[[], bool]) -> Reply:
        await asyncio.sleep(_LATENCY_S)
        is_fine = self.spend()
        self.came_s.append(_now_s())
        if not is_fine:
            self.refused_s.append(_now_s())
        headers = self._headers(is_fine=is_fine)
        await asyncio.sleep(_LATENCY_S)
        return Reply(200 if is_fine else 429, headers, None, "", 0.0, None)

    def told(self, _request: wire.Request, said: str) -> str:
        return said

    def _headers(self, *, is_fine: bool) -> dict[str, str]:
        left_s = str(math.ceil(self.ends_s - _now_s()))
        if not self.tells:
            return {} if is_fine else {"retry-after": left_s}
        told = {"limit": self.limit, "period": self.period_s, "remaining": max(0, self.limit - self.used)}
        return {f"x-ratelimit-{name}": str(value) for name, value in told.items()} | {"x-ratelimit-reset": left_s}


class OneToken:
    async def get(self) -> str:
        return "token"


class Deaf:
    def notify(self, event: Event) -> None:
        pass


@dataclass
class Agent:
    """``logs`` runs that print all the time, a log a second each if it may, and statuses now and then."""

    port: CountingPort
    logs: int
    statuses_per_s: float
    lasts_s: float
    begins_s: float = 0.0
    logs_sent: int = 0
    waits_s: list[tuple[float, float]] = field(default_factory=list)
    """When each status was there to be sent, and how long it took."""

    @property
    def logs_per_s(self) -> float:
        return self.logs_sent / (self.lasts_s - self.begins_s)

    async def live(self) -> None:
        self._ends_s = _now_s() + self.lasts_s
        await asyncio.sleep(self.begins_s)
        exchange, tokens = cast("Exchange", self.port), cast("AccessTokens", OneToken())
        self._connection = Connection(exchange, tokens, Deaf(), LoopClock(), RequestLimits())
        await asyncio.gather(self._end_runs(), *(self._print() for _ in range(self.logs)))

    async def _print(self) -> None:
        await asyncio.sleep(random.random())  # noqa: S311 - spread, no secret
        while (began_s := _now_s()) < self._ends_s:
            await self._connection.send(_LOG, can_wait=True)
            self.logs_sent += 1
            await asyncio.sleep(began_s + 1 - _now_s())

    async def _end_runs(self) -> None:
        tasks = []
        while _now_s() < self._ends_s:
            tasks.append(asyncio.create_task(self._end_run()))
            await asyncio.sleep(random.expovariate(self.statuses_per_s))
        await asyncio.gather(*tasks)

    async def _end_run(self) -> None:
        began_s = _now_s()
        await self._connection.send(_STATUS)
        self.waits_s.append((began_s, _now_s() - began_s))


def together(port: CountingPort, agents: Sequence[Agent], others_per_s: float = 0.0) -> None:
    """They live, and somebody else uses the budget, too."""

    async def others() -> None:
        while others_per_s:
            port.spend()
            await asyncio.sleep(1 / others_per_s)

    async def live() -> None:
        busy = asyncio.create_task(others())
        await asyncio.gather(*(agent.live() for agent in agents))
        busy.cancel()

    random.seed(1)
    run_virtually(live())


def _slow_share(agents: Sequence[Agent], *, than_s: float, after_s: float = 0.0) -> float:
    """How many of the statuses took longer, of those that came so long after the beginning (1000)."""
    took_s = [took_s for agent in agents for at_s, took_s in agent.waits_s if at_s - 1000 >= after_s]
    return sum(one > than_s for one in took_s) / len(took_s)


def test_an_agent_that_is_told_runs_into_nothing_and_uses_what_there_is() -> None:
    port = CountingPort(500, 10.0, tells=True)
    agent = Agent(port, 60, 5.0, 100.0)
    together(port, [agent])
    assert not port.refused_s
    assert _slow_share([agent], than_s=3 * _LATENCY_S) == 0
    assert 36 < agent.logs_per_s < 45


def test_agents_that_are_told_share_what_there_is_whoever_came_first() -> None:
    port = CountingPort(500, 10.0, tells=True)
    agents = [Agent(port, 60, 5.0, 120.0), Agent(port, 60, 5.0, 120.0), Agent(port, 60, 5.0, 120.0, 40.0)]
    together(port, agents)
    assert len(port.refused_s) < 5
    assert _slow_share(agents, than_s=0.1) < 0.005
    assert 8 < min(one.logs_per_s for one in agents) <= max(one.logs_per_s for one in agents) < 20


def test_in_long_windows_statuses_go_to_the_end() -> None:
    port = CountingPort(1500, 300.0, tells=True)
    agents = [Agent(port, 10, 1.0, 1200.0), Agent(port, 10, 1.0, 1200.0)]
    together(port, agents)
    assert not port.refused_s
    assert min(one.logs_per_s for one in agents) > 1


def test_where_others_use_most_of_it_refusals_become_rare() -> None:
    port = CountingPort(500, 10.0, tells=True)
    agent = Agent(port, 60, 5.0, 300.0)
    together(port, [agent], others_per_s=35)
    assert _slow_share([agent], than_s=0.5) < 0.03
    assert agent.logs_per_s > 6


def test_an_agent_that_nobody_tells_learns_from_two_refusals() -> None:
    port = CountingPort(250, 10.0, tells=False)
    agent = Agent(port, 30, 3.0, 300.0)
    together(port, [agent])
    windows = {math.floor(at_s / 10) for at_s in port.refused_s}
    assert 2 <= len(windows) <= 4
    assert _slow_share([agent], than_s=0.5, after_s=25) < 0.01
    assert 17 < agent.logs_per_s < 22


def test_agents_that_nobody_tells_find_their_parts_of_it() -> None:
    port = CountingPort(250, 10.0, tells=False)
    agents = [Agent(port, 30, 2.0, 600.0), Agent(port, 30, 2.0, 600.0, 200.0)]
    together(port, agents)
    assert len(port.refused_s) < 0.003 * 25 * 600
    assert _slow_share(agents, than_s=0.5, after_s=250) < 0.01
    assert all(one.logs_per_s > 7 for one in agents)


def test_while_port_refuses_few_look_and_afterwards_statuses_do_not_come_all_at_once() -> None:
    port = CountingPort(400, 300.0, tells=False)
    agent = Agent(port, 20, 1.0, 290.0)
    together(port, [agent])
    assert 1 < len(port.refused_s) < 12
    closed_s, opens_s = port.refused_s[0], port.came_s[0] + 300
    assert closed_s < opens_s - 250
    assert len([at_s for at_s in port.came_s if opens_s < at_s < opens_s + 1.5]) < 60
    assert max(at_s + took_s for at_s, took_s in agent.waits_s) < opens_s + 12


@pytest.mark.parametrize("tells", [True, False])
def test_where_there_is_enough_nothing_waits(tells: bool) -> None:  # noqa: FBT001 - a table's column
    port = CountingPort(5000, 10.0, tells=tells)
    agent = Agent(port, 60, 5.0, 60.0)
    together(port, [agent])
    assert agent.logs_per_s > 59
    assert _slow_share([agent], than_s=3 * _LATENCY_S) == 0


def test_a_limit_that_is_gone_is_forgotten() -> None:
    port = CountingPort(50, 10.0, tells=False)
    agent = Agent(port, 60, 5.0, 700.0)

    async def lift() -> None:
        await asyncio.sleep(60)
        port.limit = 1_000_000
        sent = agent.logs_sent
        await asyncio.sleep(400)
        assert agent.logs_sent - sent < 400 * 50
        sent = agent.logs_sent
        await asyncio.sleep(200)
        assert agent.logs_sent - sent > 200 * 58

    async def live() -> None:
        await asyncio.gather(lift(), agent.live())

    random.seed(1)
    run_virtually(live())
