"""One agent at work in a world of its own, and what its runs came to, for the scenarios that need no more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agent.sandbox.records import RunRecord
from tests.whole.one_agent import OneAgent
from tests.whole.world import World, opened


@contextmanager
def at_work(
    home: Path,
    routes: str,
    settings: Mapping[str, str] | None = None,
    *,
    backlog: Callable[[OneAgent], object] = lambda _agent: None,
    started: Callable[[int], object] = lambda _pid: None,
) -> Iterator[OneAgent]:
    """An agent with these routes (a list in YAML), ready; its log is at DEBUG.

    ``backlog`` may deliver to it before it starts; ``started`` is told its process id as soon as there is one. At
    the end it must have lived through it all, or ended in order, and no run may have been ended twice.
    """
    with opened(home) as world:
        agent = OneAgent(world, "faults", {"LOG_LEVEL": "DEBUG"} | dict(settings or {}), f"routes:\n{routes}")
        world.broker.create_topic(agent.topic)
        backlog(agent)
        try:
            agent.start()
            started(pid_of(agent))
            agent.wait_ready()
            yield agent
            assert agent.process.exit_code in (None, 0), agent.process.last_words()
        finally:
            agent.kill()
        world.check_nothing_ended_twice()


def pid_of(agent: OneAgent) -> int:
    """The agent's process id."""
    return agent.process._started().pid


def all_ended(agent: OneAgent, run_ids: Iterable[str], timeout_s: float = 60.0) -> list[RunRecord]:
    """The runs, once each of them has a terminal status; fails with those that have none, and what is committed."""
    world = agent.world
    runs = [world.ledger.runs[run_id] for run_id in run_ids]
    deadline_s = time.monotonic() + timeout_s
    while left := [run for run in runs if not run.terminal_statuses]:
        if time.monotonic() > deadline_s or agent.process.exit_code is not None:
            committed = world.broker.committed(agent.group, agent.topic)
            exit_code = agent.process.exit_code
            raise AssertionError(
                f"{len(left)} of {len(runs)} runs have no terminal status: {[run.id for run in left][:20]}; "
                f"committed with metadata: {committed}; exit code: {exit_code}; "
                f"the log ends with\n{agent.process.last_words()}"
            )
        time.sleep(0.02)
    return runs


def summary(run: RunRecord) -> str:
    """The run's summary; fails where there is none."""
    assert run.summary is not None, run
    return run.summary


def check_nothing_was_a_defect(agent: OneAgent, world: World) -> None:
    """The agent never had to say that something is its own fault, and Port never got what it does not take."""
    errors = [line for line in agent.lines() if line["level"] in ("error", "critical")]
    assert not errors, errors
    refused = [request for request in world.ledger.requests if request.status in (400, 422)]
    assert not refused, refused
