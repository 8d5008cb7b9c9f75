"""SIGTERM at every moment: nothing is lost, children are gone, and the end comes when it was said."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.sandbox.port_api import Effect, Fault
from tests.broker.waiting import wait_until
from tests.executors.process_helpers import is_alive
from tests.faults.conftest import Begin
from tests.whole.one_agent import OneAgent
from tests.whole.world import World

ROUTES = """\
routes:
  - name: gated
    match: {action: gated}
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/gate/{{ .inputs.gate }}"}
  - name: stubborn
    match: {action: stubborn}
    process:
      command: [sh, -c, 'trap "" TERM; setsid sleep 600 & echo $$ $! >>"$PIDS"; while :; do sleep 0.1; done']
      env: {PIDS: "%(pids)s"}
      kill_grace: 500ms
  - name: once-more
    match: {action: once_more}
    env: [TARGET]
    http:
      url: "{{ env.TARGET }}/gate/{{ .inputs.gate }}"
      body: {attempt: "{{ .run.attempt }}"}
"""
BLOCKING_ROUTES = """\
routes:
  - name: blocking
    match: {action: blocking}
    python: {callable: "blocking_actions:block"}
"""
BLOCKING = """\
import time

from agent import Run


async def block(run: Run) -> None:
    time.sleep(600)
"""
LOSING_ROUTES = """\
routes:
  - name: losing
    match: {action: losing}
    python: {callable: "losing_actions:lose"}
"""
LOSING = """\
import asyncio
import gc
import time
from pathlib import Path

from agent import Run
from agent.domain.errors import SourceLostError
from agent.kafka.handoff import Handoff


async def lose(run: Run) -> None:
    [handoff] = [one for one in gc.get_objects() if isinstance(one, Handoff)]
    handoff.fail(SourceLostError("as if the client had failed for good"))
    while not Path(run.inputs["until"]).exists():
        await asyncio.sleep(0.01)
    time.sleep(600)
"""
SHORT = {"AGENT_DRAIN_TIMEOUT_S": "1", "AGENT_KILL_GRACE_S": "1", "AGENT_REPORT_TIMEOUT_S": "2"}
TOTAL_S = 1 + 1 + 2 + 9
SLACK_S = 15
"""A process takes so long at most to be gone, on a busy machine; what it stands in would take ten minutes."""


def stop(agent: OneAgent, between: Callable[[], object] = lambda: None) -> float:
    """SIGTERM, then the end, which must be an orderly one; how long it took."""
    begun_s = time.monotonic()
    agent.send(signal.SIGTERM)
    between()
    code = agent.wait_end()
    assert code == 0, agent.process.last_words()
    return time.monotonic() - begun_s


@pytest.mark.parametrize("count", [0, 1, 12])
def test_runs_that_end_in_the_drain_end_as_ever(world: World, begin: Begin, tmp_path: Path, count: int) -> None:
    agent = begin(f"drained_{count}", ROUTES % {"pids": tmp_path / "pids"}, {"AGENT_DRAIN_TIMEOUT_S": "30"})
    gate = f"drained_{count}"
    run_ids = [agent.invoke("gated", {"gate": gate}) for _ in range(count)]
    if count:
        world.target.wait_at_gate(gate, count)

    def let_them_end() -> None:
        agent.wait_line("draining")
        world.target.open_gate(gate)

    stop(agent, let_them_end)
    for run_id in run_ids:
        assert world.ledger.runs[run_id].terminal_statuses == ["SUCCESS"]


def test_what_does_not_end_is_killed_with_its_tree_and_told_within_the_time_that_was_said(
    world: World, begin: Begin, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    agent = begin("killed", ROUTES % {"pids": pids}, SHORT)
    run_ids = [agent.invoke("stubborn") for _ in range(3)]
    agent.wait_until(lambda: pids.exists() and len(pids.read_text().splitlines()) == 3, "three to begin")
    took_s = stop(agent)
    (said,) = agent.lines("started")
    assert said["stop_takes_at_most_s"] == TOTAL_S
    assert took_s < TOTAL_S
    for run_id in run_ids:
        run = world.ledger.runs[run_id]
        assert run.terminal_statuses == ["FAILURE"]
        assert "agent was stopped" in (run.summary or "")
    assert [pid for pid in map(int, pids.read_text().split()) if is_alive(pid)] == []


def test_a_stop_while_it_begins_is_a_stop(world: World, begin: Begin, tmp_path: Path) -> None:
    """Also one that comes while it joins its group."""
    settings = {**SHORT, "KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000"}
    agent = begin("early", ROUTES % {"pids": tmp_path / "pids"}, settings)
    stop(agent)
    for what in ("started", "partitions assigned"):
        world.loop.run(agent.process.start())
        agent.wait_line(what)
        stop(agent)
        assert agent.lines("stopped", exit_code=0)


def test_with_redeliver_a_run_that_was_cut_short_is_begun_anew_by_the_next_agent(
    world: World, begin: Begin, tmp_path: Path
) -> None:
    settings = {**SHORT, "AGENT_ON_SHUTDOWN": "redeliver", "KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000"}
    agent = begin("redelivering", ROUTES % {"pids": tmp_path / "pids"}, settings)
    run_id = agent.invoke("once_more", {"gate": "redelivering"})
    world.target.wait_at_gate("redelivering")
    stop(agent)
    assert world.ledger.runs[run_id].terminal_statuses == []
    world.target.open_gate("redelivering")
    world.loop.run(agent.process.start())
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    bodies = [json.loads(request.body) for request in world.target.requests("/gate/redelivering")]
    assert bodies == [{"attempt": 1}, {"attempt": 2}]


def test_an_action_that_blocks_the_loop_does_not_keep_the_agent_beyond_its_time(
    world: World, begin: Begin, tmp_path: Path
) -> None:
    """Nothing orderly is possible then, and whoever asked must not have to kill it."""
    (tmp_path / "blocking_actions.py").write_text(BLOCKING)
    agent = begin("blocked", BLOCKING_ROUTES, {**SHORT, "AGENT_PYTHONPATH": str(tmp_path)})
    run_id = agent.invoke("blocking")
    agent.wait_line("run started", run_id=run_id)
    begun_s = time.monotonic()
    agent.send(signal.SIGTERM)
    assert agent.wait_end() == 1
    took_s = time.monotonic() - begun_s
    assert TOTAL_S - 0.5 < took_s < TOTAL_S + SLACK_S
    assert agent.lines("the stop took too long: ending at once")
    assert world.ledger.runs[run_id].terminal_statuses == []  # it comes again, as an interrupted run


def test_a_stop_that_nobody_asked_for_has_the_same_end(world: World, begin: Begin, tmp_path: Path) -> None:
    """Of a drain nothing else tells that it hangs: it fails no probe."""
    (tmp_path / "losing_actions.py").write_text(LOSING)
    agent = begin("lost", LOSING_ROUTES, {**SHORT, "AGENT_PYTHONPATH": str(tmp_path), "AGENT_DRAIN_TIMEOUT_S": "5"})
    drains = agent.home / "drains"
    run_id = agent.invoke("losing", {"until": str(drains)})
    agent.wait_line("draining")
    begun_s = time.monotonic()
    drains.touch()
    assert agent.wait_end() == 1
    took_s = time.monotonic() - begun_s
    assert took_s < TOTAL_S + 4 + SLACK_S
    assert agent.lines("the source was lost: draining, then exiting to be started again")
    assert agent.lines("the stop took too long: ending at once")
    assert world.ledger.runs[run_id].terminal_statuses == []


def test_a_grace_period_that_is_too_short_is_refused_at_the_start(world: World) -> None:
    agent = OneAgent(world, "too_short", {**SHORT, "AGENT_TERMINATION_GRACE_S": "13"}, ROUTES % {"pids": "/"})
    agent.start()
    try:
        assert agent.wait_end() == 2
        assert "AGENT_TERMINATION_GRACE_S" in agent.output()
        assert "terminationGracePeriodSeconds" in agent.output()
    finally:
        agent.kill()


def test_it_ends_while_its_last_report_hangs(world: World, begin: Begin, tmp_path: Path) -> None:
    agent = begin("hanging", ROUTES % {"pids": tmp_path / "pids"}, SHORT)
    run_id = agent.invoke("gated", {"gate": "hanging"})
    world.target.wait_at_gate("hanging")
    world.misbehave(Fault(f"/v1/actions/runs/{run_id}*", effect=Effect.HANG, times=None))
    world.target.open_gate("hanging")
    wait_until(lambda: world.requests_of(run_id), timeout_s=30, what="its report", pause_s=0.01)
    assert stop(agent) < TOTAL_S
    world.loop.call(world.port.script.clear)
