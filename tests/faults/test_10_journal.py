"""Outcomes outlive the agent: killed in an outage of Port, it tells them when it comes back. And disks fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.delivery.offset_map import OffsetMap
from agent.domain.earlier import Ending
from agent.sandbox.port_api import Fault
from tests.faults.conftest import Begin
from tests.whole.one_agent import OneAgent
from tests.whole.world import World

ROUTES = """\
routes:
  - name: work
    match: {action: work}
    on_interrupted: %(rule)s
    process:
      command:
        - sh
        - -c
        - 'echo "$RUN_ID" >>"$EXECUTIONS"; echo "link=https://made.example/$RUN_ID" >>"$AGENT_OUTPUT"'
      env: {EXECUTIONS: "%(executions)s"}
  - name: forward
    match: {action: forward}
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/journal"}
"""
QUICK_TAKE_OVER = {"KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000", "LOG_LEVEL": "DEBUG"}


def start_again(agent: OneAgent) -> None:
    """The same agent: its settings, its state directory."""
    agent.world.loop.run(agent.process.start())
    agent.wait_ready()


@pytest.mark.parametrize("rule", ["fail", "rerun"])
def test_outcomes_survive_a_kill_9_in_an_outage_and_are_told_first(
    world: World, begin: Begin, tmp_path: Path, rule: str
) -> None:
    executions = tmp_path / "executions"
    executions.touch()
    agent = begin(f"survivor_{rule}", ROUTES % {"executions": executions, "rule": rule}, QUICK_TAKE_OVER)
    world.misbehave(Fault("/v1/actions/runs/*", status=503, times=None))
    run_ids = [agent.invoke("work") for _ in range(5)]
    agent.wait_metric("agent_journal_pending_reports", 5)
    agent.wait_until(lambda: len(agent.lines("run finished")) == 5, "all to end")
    agent.kill()
    assert not any(world.ledger.runs[run_id].terminal_statuses for run_id in run_ids)

    world.loop.call(world.port.script.clear)
    start_again(agent)
    for run_id in run_ids:
        run = world.ended(run_id)
        assert run.terminal_statuses == ["SUCCESS"]
        assert run.links == [f"https://made.example/{run_id}"]
    fresh = agent.result_of("work")
    assert fresh.terminal_statuses == ["SUCCESS"]
    # Their messages come again, and are passed over: everything is committed, and nothing was executed twice.
    agent.wait_committed()
    assert sorted(executions.read_text().split()) == sorted([*run_ids, fresh.id])
    assert all(world.ledger.runs[run_id].refused_statuses == [] for run_id in run_ids)
    agent.wait_metric("agent_journal_pending_reports", 0)


def test_a_disk_that_cannot_be_written_costs_no_run_and_is_told(begin: Begin) -> None:
    settings = {**QUICK_TAKE_OVER, "AGENT_STATE_DIR": "/proc/no-such-place"}
    agent = begin("diskless", ROUTES % {"executions": "", "rule": "fail"}, settings)
    assert agent.metric("agent_journal_writable") == 0
    assert agent.wait_line("outcomes are not kept on disk")["level"] == "warning"
    assert agent.result_of("forward").terminal_statuses == ["SUCCESS"]
    failed = agent.result_of("work")
    assert failed.terminal_statuses == ["FAILURE"]
    assert "/proc/no-such-place" in (failed.summary or "")
    assert agent.get("/readyz")[0] == 200


def test_what_only_memory_has_is_not_settled_before_port_has_it(world: World, begin: Begin) -> None:
    """Killed then, its commit alone says how the run ended: that is told, without links, and not repeated."""
    settings = {**QUICK_TAKE_OVER, "AGENT_STATE_DIR": "/proc/no-such-place"}
    agent = begin("forgetful", ROUTES % {"executions": "", "rule": "fail"}, settings)
    world.misbehave(Fault("/v1/actions/runs/*", status=503, times=None))
    before = len(world.target.requests("/journal"))
    run_id = agent.invoke("forward")
    agent.wait_metric("agent_journal_pending_reports", 1)
    agent.wait_until(lambda: Ending.SUCCESS in _endings_in_the_commit(agent), "its end to be committed")
    agent.kill()
    world.loop.call(world.port.script.clear)
    start_again(agent)
    run = world.ended(run_id, timeout_s=90)  # the one that had the details gets half a minute to come back
    assert run.terminal_statuses == ["SUCCESS"]
    assert "could not tell Port" in (run.summary or "")
    assert len(world.target.requests("/journal")) == before + 1


def test_an_orderly_stop_in_an_outage_leaves_its_outcomes_to_the_next_start(
    world: World, begin: Begin, tmp_path: Path
) -> None:
    executions = tmp_path / "executions"
    executions.touch()
    settings = {**QUICK_TAKE_OVER, "AGENT_REPORT_TIMEOUT_S": "1", "AGENT_DRAIN_TIMEOUT_S": "1"}
    agent = begin("patient", ROUTES % {"executions": executions, "rule": "rerun"}, settings)
    world.misbehave(Fault("/v1/actions/runs/*", status=503, times=None))
    run_ids = [agent.invoke("work") for _ in range(3)]
    agent.wait_metric("agent_journal_pending_reports", 3)
    assert world.loop.run(agent.process.stop()) == 0, agent.process.last_words()
    world.loop.call(world.port.script.clear)
    start_again(agent)
    for run_id in run_ids:
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    agent.wait_committed()
    assert sorted(executions.read_text().split()) == sorted(run_ids)


def _endings_in_the_commit(agent: OneAgent) -> set[Ending | None]:
    committed = agent.world.broker.committed(agent.group, agent.topic).values()
    maps = [OffsetMap.decode(metadata.rstrip("\0"), offset) for offset, metadata in committed]
    return {note.ended for known in maps if known is not None for note in known.notes.values()}
