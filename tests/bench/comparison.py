"""Agents and bare loops in turns, round by round, and the figures that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.bench.figures import Figure, Floor, Goal
from tests.bench.lab import Lab
from tests.bench.site import Bare, Pass, Site
from tests.broker.agent_process import AgentProcess


@dataclass(frozen=True, slots=True)
class Comparison:
    """Passes of agents, and of each bare loop in the same rounds."""

    agents: Sequence[Pass]
    bare: Mapping[Bare, Sequence[Pass]] = field(default_factory=dict)

    def per_core(
        self, goal: Goal | None = None, against: Mapping[Bare, Goal | None] | None = None
    ) -> Iterator[Figure]:
        """Runs per CPU second, with a ``goal`` of its own; and for each bare loop, with the goal against it."""
        if goal is not None or not self.bare:
            yield self._figure("runs per CPU second", "/s", lambda one: one.per_core, goal)
        for bare, passes in self.bare.items():
            floor = Floor(bare.name, [one.per_core for one in passes])
            mine = [one.per_core for one in self.agents]
            yield Figure("runs per CPU second", "/s", mine, (against or {}).get(bare), floor)

    def per_second(self, goal: Goal | None = None, beside: Bare | None = None) -> Figure:
        """Runs a second by the clock, on a machine that all processes share; ``beside`` one bare loop."""
        floor = None if beside is None else Floor(beside.name, [one.runs_per_s for one in self.bare[beside]])
        return Figure("runs a second, by the clock", "/s", [one.runs_per_s for one in self.agents], goal, floor)

    def cpu(self) -> Iterator[Figure]:
        """Of a run, of the agent's own processes and of what it started."""
        yield self._figure("the agent's CPU per run", "ms", lambda one: 1000 * one.cpu.own_s / one.runs)
        if any(one.cpu.children_s > 0 for one in self.agents):
            yield self._figure("its children's CPU per run", "ms", lambda one: 1000 * one.cpu.children_s / one.runs)

    def requests(self) -> Figure:
        """To Port, of a run."""
        return self._figure("requests to Port per run", "", lambda one: one.counts.api / one.runs)

    def _figure(self, name: str, unit: str, of: Callable[[Pass], float], goal: Goal | None = None) -> Figure:
        return Figure(name, unit, [of(one) for one in self.agents], goal)


def compare(
    lab: Lab, site: Site, agents: Sequence[AgentProcess], action: str, runs: int, bare: Sequence[Bare] = ()
) -> Comparison:
    """Each round: the agents, then each bare loop. So a bad moment hits all of them alike."""
    mine: list[Pass] = []
    theirs: dict[Bare, list[Pass]] = {one: [] for one in bare}
    for _ in range(lab.wanted.rounds):
        mine.append(site.agents_pass(agents, action, runs))
        for one, passes in theirs.items():
            passes.append(site.bare_pass(one, action, runs))
    return Comparison(mine, theirs)
