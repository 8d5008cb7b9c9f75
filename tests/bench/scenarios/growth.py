"""What must not cost more where there is more of it: routes, partitions, agents, backlog."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tests.bench.figures import Figure, Floor, at_least, ratio_at_least
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import PYTHON, QUICK, many, routes
from tests.bench.site import Pass, Site
from tests.bench.usage import Cpu
from tests.broker.agent_process import AgentProcess
from tests.broker.waiting import wait_until

_WITHIN = 0.9
"""Within 10 %."""
_LINEAR = 0.75
"""Tenths that are measured once: differences within a quarter mean nothing."""
_SMALL = "x"
_TENTHS = 10
_SHARED = 16
"""Partitions for two agents: of few, the catalogue's one, which counts when they are shared, tips the scale."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """One of those that are measured in turns."""

    name: str
    site: Site
    agents: Sequence[AgentProcess]


def _in_turns(lab: Lab, setups: Sequence[_Setup]) -> dict[str, list[Pass]]:
    for setup in setups:
        setup.site.warm_up("quick")
    found: dict[str, list[Pass]] = {setup.name: [] for setup in setups}
    for _ in range(lab.wanted.rounds):
        for setup in setups:
            found[setup.name].append(setup.site.agents_pass(setup.agents, "quick", lab.wanted.of(5000)))
    return found


def _per_core(found: dict[str, list[Pass]]) -> Iterator[Figure]:
    """Each setup beside the first."""
    (first, base), *others = found.items()
    yield Figure(f"runs per CPU second, {first}", "/s", [one.per_core for one in base])
    for name, passes in others:
        floor = Floor(first, [one.per_core for one in base])
        values = [one.per_core for one in passes]
        yield Figure(f"runs per CPU second, {name}", "/s", values, ratio_at_least(_WITHIN), floor)


def _routes(lab: Lab) -> Iterator[Figure]:
    with ExitStack() as sites:
        setups = []
        for count in (1, 10, 100, 1000):
            site = sites.enter_context(lab.site(many(count, QUICK)))
            setups.append(_Setup(_counted(count, "route"), site, [site.start_agent()]))
        yield from _per_core(_in_turns(lab, setups))


def _partitions(lab: Lab) -> Iterator[Figure]:
    with ExitStack() as sites:
        setups = []
        for count in (1, 64):
            site = sites.enter_context(lab.site(routes(QUICK), partitions=count))
            setups.append(_Setup(_counted(count, "partition"), site, [site.start_agent()]))
        yield from _per_core(_in_turns(lab, setups))


def _agents(lab: Lab) -> Iterator[Figure]:
    """Twice as fast by the clock can be only where two cores are left for them: CPU per run tells it anywhere."""
    with ExitStack() as sites:
        setups = []
        for count in (1, 2):
            site = sites.enter_context(lab.site(routes(QUICK), partitions=_SHARED))
            setups.append(_Setup(_counted(count, "agent"), site, [site.start_agent() for _ in range(count)]))
        pair = setups[-1].agents
        wait_until(
            lambda: all(_partitions_of(agent) >= _SHARED // 2 for agent in pair), timeout_s=60, what="fair shares"
        )
        before = [Cpu.of(agent.pid) for agent in pair]
        found = _in_turns(lab, setups)
        used_s = [Cpu.of(agent.pid).since(earlier).own_s for agent, earlier in zip(pair, before, strict=True)]
    yield from _per_core(found)
    yield Figure("the less busy agent's share of the work", "%", [100 * min(used_s) / sum(used_s)], at_least(40))
    (first, base), (second, both) = found.items()
    floor = Floor(first, [one.runs_per_s for one in base])
    yield Figure(f"runs a second by the clock, {second}", "/s", [one.runs_per_s for one in both], None, floor)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count > 1 else ''}"


def _partitions_of(agent: AgentProcess) -> float:
    return (agent.metrics() or {}).get("agent_kafka_assigned_partitions", 0)


def _backlog(lab: Lab) -> Iterator[Figure]:
    for count in (10_000, 100_000, *([1_000_000] if lab.wanted.full else [])):
        runs = lab.wanted.of(count)
        with lab.site(routes(PYTHON)) as site:
            site.produce(site.workload.records("nothing", runs, _SMALL))
            site.port.reset()
            by_clock, by_cpu = _tenths(site, runs)
        name = f"a backlog of {runs:,}"
        yield Figure(f"{name}, runs a second by the clock, each tenth", "/s", by_clock)
        yield Figure(f"{name}, runs per CPU second, each tenth", "/s", by_cpu)
        floor = Floor("the second tenth", [by_cpu[1]])  # the first has the agent's start in it
        yield Figure(f"{name}, the last tenth", "/s", [by_cpu[-1]], ratio_at_least(_LINEAR), floor)


def _tenths(site: Site, runs: int) -> tuple[list[float], list[float]]:
    """Of each tenth of the runs: how many a second, and how many per CPU second."""
    agent = site.start_agent()
    before = (time.monotonic(), Cpu.of(agent.pid).own_s, 0)
    by_clock: list[float] = []
    by_cpu: list[float] = []
    for counts in site.progress(runs):
        if counts.status >= min(runs, before[2] + runs / _TENTHS):
            now = (time.monotonic(), Cpu.of(agent.pid).own_s, counts.status)
            handled = now[2] - before[2]
            by_clock.append(handled / (now[0] - before[0]))
            by_cpu.append(handled / max(0.01, now[1] - before[1]))
            before = now
    return by_clock, by_cpu


SCENARIOS = (
    Scenario("growth-routes", "1, 10, 100 and 1,000 routes, of which the last is taken", _routes),
    Scenario("growth-partitions", "1 and 64 partitions", _partitions),
    Scenario("growth-agents", "1 and 2 agents in a group", _agents),
    Scenario("growth-backlog", "backlogs of 10,000 and 100,000, with --full of 1,000,000, drained", _backlog),
)
