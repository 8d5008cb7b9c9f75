"""An agent and bare loops in turns, round by round, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.counterpart import Manners
from tests.bench.figures import Figure, Floor, Goal
from tests.bench.lab import Lab
from tests.bench.site import Bare, Pass, Site
from tests.broker.agent_process import AgentProcess


@dataclass(frozen=True, slots=True)
class Task:
    """What is handled: so many runs of one action, by an agent with default settings but for ``settings``."""

    action: str
    runs: int
    routes: str
    manners: Manners = field(default_factory=Manners)
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Passes of the agent, of each bare loop, and of another agent if there is one; in the same rounds each."""

    agent: Sequence[Pass]
    bare: Mapping[Bare, Sequence[Pass]] = field(default_factory=dict)
    other: tuple[str, Sequence[Pass]] | None = None

    def per_core(
        self, goal: Goal | None = None, against: Mapping[Bare, Goal | None] | None = None
    ) -> Iterator[Figure]:
        """Runs per CPU second, with a ``goal`` of its own; and for each bare loop, with the goal against it."""
        if goal is not None or not self.bare:
            yield self._figure("runs per CPU second", "/s", lambda one: one.per_core, goal)
        for bare, passes in self.bare.items():
            yield self._beside(bare.name, passes, (against or {}).get(bare))
        if self.other is not None:
            yield self._beside(*self.other)

    def per_second(self, goal: Goal | None = None, beside: Bare | None = None) -> Figure:
        """Runs a second by the clock, on a machine that all processes share; ``beside`` one bare loop."""
        floor = None if beside is None else Floor(beside.name, [one.runs_per_s for one in self.bare[beside]])
        return Figure("runs a second, by the clock", "/s", [one.runs_per_s for one in self.agent], goal, floor)

    def cpu(self) -> Iterator[Figure]:
        """Of a run, of the agent's own processes and of what it started."""
        yield self._figure("the agent's CPU per run", "ms", lambda one: 1000 * one.cpu.own_s / one.runs)
        if any(one.cpu.children_s > 0 for one in self.agent):
            yield self._figure("its children's CPU per run", "ms", lambda one: 1000 * one.cpu.children_s / one.runs)

    def requests(self) -> Figure:
        """To Port, of a run."""
        return self._figure("requests to Port per run", "", lambda one: one.counts.api / one.runs)

    def _beside(self, name: str, passes: Sequence[Pass], goal: Goal | None = None) -> Figure:
        floor = Floor(name, [one.per_core for one in passes])
        return Figure("runs per CPU second", "/s", [one.per_core for one in self.agent], goal, floor)

    def _figure(self, name: str, unit: str, of: Callable[[Pass], float], goal: Goal | None = None) -> Figure:
        return Figure(name, unit, [of(one) for one in self.agent], goal)


def compare(lab: Lab, task: Task, bare: Sequence[Bare]) -> Comparison:
    """Each round: the agent, the other one, each bare loop. So a bad moment hits all of them alike."""
    runs, beside = lab.wanted.of(task.runs), lab.wanted.beside
    mine: list[Pass] = []
    others: list[Pass] = []
    theirs: dict[Bare, list[Pass]] = {one: [] for one in bare}
    with ExitStack() as sites:
        site, agent = _ready(lab, task, sites)
        other = None if beside is None else _ready(lab, task, sites, _of_tree(beside))
        for _ in range(lab.wanted.rounds):
            mine.append(site.agents_pass([agent], task.action, runs))
            if other is not None:
                others.append(other[0].agents_pass([other[1]], task.action, runs))
            for one, passes in theirs.items():
                passes.append(site.bare_pass(one, task.action, runs))
    return Comparison(mine, theirs, None if beside is None else (f"the agent of {beside}", others))


def _ready(
    lab: Lab, task: Task, sites: ExitStack, more: Mapping[str, str] | None = None
) -> tuple[Site, AgentProcess]:
    site = sites.enter_context(lab.site(task.routes, task.manners))
    agent = site.start_agent(**task.settings, **(more or {}))
    site.warm_up(task.action)
    return site, agent


def _of_tree(tree: Path) -> Mapping[str, str]:
    """Has Python find the package there, and neither in the working directory nor where it is installed."""
    return {"PYTHONPATH": str(tree.absolute()), "PYTHONSAFEPATH": "1"}
