"""SIGTERM: what goes on may end, what does not is stopped and told, what has not begun is left for others."""

from __future__ import annotations

import signal
from dataclasses import dataclass

import pytest

from tests.broker.waiting import wait_until
from tests.whole.one_agent import OneAgent
from tests.whole.world import World


@dataclass
class Stop:
    """An agent that was stopped with runs in it: one that ends in the drain, one that never would, one waiting."""

    agent: OneAgent
    finishing: str
    endless: str
    waiting: str
    exit_code: int
    readiness_while_draining: tuple[int, str]
    liveness_while_draining: int


def _place(name: str, agent: OneAgent, world: World) -> tuple[str, str, str]:
    """Each kind of run in a partition of its own, all of them begun but the waiting one."""
    finishing = agent.invoke("gated", {"gate": name}, key="finishing")
    endless = agent.invoke("endless", key="endless")
    world.target.wait_at_gate(name)
    waiting = agent.invoke("gated", {"gate": name}, key="waiting")
    agent.wait_metric("agent_runs_in_flight", 1, executor="process")
    agent.wait_metric("agent_runs_waiting", 1)
    return finishing, endless, waiting


@pytest.fixture(scope="module")
def stop(world: World, stopping: OneAgent) -> Stop:
    finishing, endless, waiting = _place("stopping", stopping, world)
    stopping.send(signal.SIGTERM)
    wait_until(lambda: stopping.get("/readyz")[0] == 503, timeout_s=30, what="the drain's begin", pause_s=0.01)
    readiness, liveness = stopping.get("/readyz"), stopping.get("/livez")[0]
    world.target.open_gate("stopping")
    code = stopping.wait_end()
    return Stop(stopping, finishing, endless, waiting, code, readiness, liveness)


def test_an_orderly_stop_exits_with_0(stop: Stop) -> None:
    assert stop.exit_code == 0, stop.agent.process.last_words()
    assert stop.agent.lines("stopped", exit_code=0)


def test_while_it_drains_it_is_alive_and_not_ready(stop: Stop) -> None:
    assert stop.readiness_while_draining[0] == 503
    assert "draining" in stop.readiness_while_draining[1]
    assert stop.liveness_while_draining == 200


def test_a_run_that_ends_in_the_drain_ends_as_ever(stop: Stop, world: World) -> None:
    assert world.ledger.runs[stop.finishing].terminal_statuses == ["SUCCESS"]


def test_a_run_that_does_not_is_stopped_and_port_is_told_why(stop: Stop, world: World) -> None:
    run = world.ledger.runs[stop.endless]
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "agent was stopped" in run.summary


def test_a_run_that_had_not_begun_is_neither_touched_nor_lost(stop: Stop, world: World) -> None:
    assert world.requests_of(stop.waiting) == []
    assert len(world.target.requests("/gate/stopping")) == 1


def test_all_that_ended_is_committed_and_no_more(stop: Stop, world: World) -> None:
    agent = stop.agent
    ends = world.broker.end_offsets(agent.topic)
    committed = {p: offset for p, (offset, _) in world.broker.committed(agent.group, agent.topic).items()}
    assert sum(ends.values()) - sum(committed.values()) == 1, (ends, committed)


def test_the_workspaces_are_gone(stop: Stop) -> None:
    left = [path for path in (stop.agent.home / "state" / "workspaces").rglob("*") if path.is_file()]
    assert left == []


def test_a_second_signal_skips_the_drain(world: World, hurried: OneAgent) -> None:
    finishing, endless, waiting = _place("hurried", hurried, world)
    hurried.send(signal.SIGTERM)
    hurried.wait_line("draining")
    assert hurried.process.exit_code is None
    hurried.send(signal.SIGTERM)
    assert hurried.wait_end() == 0
    for run_id in (finishing, endless):
        run = world.ledger.runs[run_id]
        assert run.terminal_statuses == ["FAILURE"]
        assert run.summary is not None
        assert "agent was stopped" in run.summary
    assert world.requests_of(waiting) == []
