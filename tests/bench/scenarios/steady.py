"""Whether an agent grows that is kept busy: what it has of everything at the beginning and at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure, Floor, at_most, ratio_at_most
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import ECHO, PYTHON, QUICK, routes
from tests.bench.site import Site
from tests.bench.usage import open_files, resident_mib, threads
from tests.broker.agent_process import AgentProcess

_ACTIONS = ("quick", "echo", "nothing")
_PER_S = 60
_QUIET_S = 17.0
"""Longer than idle connections to Port and to targets are kept."""
_NO_MORE = 1.1


def _steady(lab: Lab) -> Iterator[Figure]:
    seconds = lab.wanted.lasting(120)
    with lab.site(routes(QUICK, ECHO, PYTHON)) as site:
        temporary = site.home / "tmp"
        temporary.mkdir()
        agent = site.start_agent(TMPDIR=str(temporary))
        _load(site, seconds / 4)  # pools fill, and what is made once is made
        before = _taken(agent, site.home)
        runs = _load(site, seconds)
        after = _taken(agent, site.home)
    for name, value in after.items():
        floor = Floor("at the beginning", [before[name]])
        unit, goal = (
            ("MiB", ratio_at_most(_NO_MORE)) if name == "resident memory" else ("", at_most(before[name] + 2))
        )
        yield Figure(f"{name} after {runs:,} runs in {seconds:g} s", unit, [value], goal, floor)


def _load(site: Site, seconds: float) -> int:
    """Feeds runs of all kinds for so long, waits until they have ended and it is quiet; how many they were."""
    site.port.reset()
    feed, runs = site.feed(site.topic), 0
    began_s = time.monotonic()
    while (past_s := time.monotonic() - began_s) < seconds:
        while runs < past_s * _PER_S:
            for action in _ACTIONS:
                for record in site.workload.records(action, 1):
                    feed.produce(record)
                    runs += 1
        time.sleep(0.05)
    feed.flush()
    site.wait_ended(runs)
    time.sleep(_QUIET_S)
    return runs


def _taken(agent: AgentProcess, home: Path) -> dict[str, float]:
    kept = [home / f"{agent.name}.state", home / "tmp"]
    return {
        "resident memory": resident_mib(agent.pid),
        "open files": open_files(agent.pid),
        "threads": threads(agent.pid),
        "files kept": sum(path.is_file() for folder in kept for path in folder.rglob("*")),
    }


SCENARIOS = (Scenario("steady", "an agent that is kept busy, 60 runs a second of three kinds", _steady),)
