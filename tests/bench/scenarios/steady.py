"""Whether an agent grows that is kept busy: what it has of everything at the beginning and at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figures import Figure, Floor, at_most, ratio_at_most
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import ECHO, PYTHON, QUICK, TASKS, routes
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
    with lab.site(routes(QUICK, ECHO, PYTHON, TASKS)) as site:
        temporary = site.home / "tmp"
        temporary.mkdir()
        agent = site.start_agent(TMPDIR=str(temporary))
        _load(site, min(120.0, seconds / 4))  # pools fill, and what is made once is made
        before = _taken(agent, site)
        runs = _load(site, seconds)
        after = _taken(agent, site)
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


def _taken(agent: AgentProcess, site: Site) -> dict[str, float]:
    kept = [site.home / f"{agent.name}.state", site.home / "tmp"]
    return {
        "resident memory": resident_mib(agent.pid),
        "open files": open_files(agent.pid),
        "threads": threads(agent.pid),
        "tasks": _tasks(site),
        "files kept": sum(path.is_file() for folder in kept for path in folder.rglob("*")),
    }


def _tasks(site: Site) -> int:
    """Counted by a run, whose own are among them."""
    site.port.reset()
    site.produce(site.workload.records("tasks", 1))
    site.wait_ended(1)
    return int((site.home / "tasks").read_text())


SCENARIOS = (Scenario("steady", "an agent that is kept busy, 60 runs a second of three kinds", _steady),)
