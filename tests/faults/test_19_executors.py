"""Every executor in real runs: success, failure, time-out, stop, output beyond the cap, outputs, and nothing left.

What each must do by itself, down to every moment at which it may be cancelled, is in the contract suite.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from agent.executors.registry import GROUP
from tests.contract.executor_rigs import RIGS
from tests.faults.at_work import all_ended, at_work, check_nothing_was_a_defect, pid_of, summary
from tests.whole.one_agent import OneAgent, Results

KINDS = ("process", "python_async", "python_sync", "http")

_LINES = (
    'i=0; while [ $i -lt 20000 ]; do echo "line $i of a chatty tool"; i=$((i+1)); done; echo size=3 >>$AGENT_OUTPUT'
)
_ENDLESS = "trap '' TERM; echo began; sleep 600 & setsid sleep 600 & wait; sleep 600"
_WORKS = {
    "process": {
        "works": f"process: {{command: [sh, -c, '{_LINES}']}}",
        "fails": "process: {command: [sh, -c, 'echo the quota is used up; exit 3']}",
        "hangs": f'process: {{command: [sh, -c, "{_ENDLESS}"], kill_grace: 200ms}}',
    },
    "python_async": {
        "works": 'python: {callable: "whole_actions:chatty"}',
        "fails": 'python: {callable: "whole_actions:failing"}',
        "hangs": 'python: {callable: "whole_actions:endless"}',
    },
    "python_sync": {
        "works": 'python: {callable: "whole_actions:chatty_in_thread"}',
        "fails": 'python: {callable: "whole_actions:failing_in_thread"}',
        "hangs": 'python: {callable: "whole_actions:endless_in_thread"}',
    },
    "http": {
        "works": 'http: {url: "{{ env.TARGET }}/big", max_response_bytes: 1000}',
        "fails": 'http: {url: "{{ env.TARGET }}/echo/500", body: "the quota is used up"}',
        "hangs": 'http: {url: "{{ env.TARGET }}/gate/never", timeout: 10m}',
    },
}


def _route(kind: str, work: str, action: str, **more: str) -> str:
    size = "{{ .outputs.size }}" if kind != "http" else "{{ .response.text | length }}"
    lines = [
        f"- name: {action.replace('_', '-')}",
        f"  match: {{action: {action}}}",
        "  env: [TARGET]",
        f"  {_WORKS[kind][work]}",
        *(f"  {name}: {value}" for name, value in more.items()),
        f'  report: {{status_label: "{size}"}}' if work == "works" else "",
    ]
    return "\n".join(lines)


ROUTES = "\n".join(
    [
        *(_route(kind, work, f"{work}_{kind}") for kind in KINDS for work in ("works", "fails", "hangs")),
        *(_route(kind, "hangs", f"times_out_{kind}", timeout="1s") for kind in KINDS),
    ]
)
SETTINGS = {"AGENT_LOG_MAX_BYTES": "65536", "AGENT_DRAIN_TIMEOUT_S": "1", "AGENT_KILL_GRACE_S": "2"}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneAgent]:
    with at_work(tmp_path_factory.mktemp("executors"), ROUTES, SETTINGS) as agent:
        yield agent


@pytest.fixture(scope="module")
def results(agent: OneAgent) -> Results:
    """All at once, for no executor may hold up another."""
    actions = [f"{work}_{kind}" for kind in KINDS for work in ("works", "fails", "times_out")]
    return agent.invoke_all({action: (action, {}) for action in actions})


def test_the_contract_suite_has_every_executor_that_is_installed() -> None:
    rigs = {rig.name.partition("-")[0] for rig in RIGS}
    assert rigs == {point.name for point in entry_points(group=GROUP) if point.value.startswith("agent.")}


@pytest.mark.parametrize("kind", KINDS)
def test_success_with_its_outputs_and_no_more_output_than_the_cap(kind: str, results: Results) -> None:
    run = results(f"works_{kind}")
    assert run.terminal_statuses == ["SUCCESS"]
    if kind == "http":
        assert run.status_label == "1000"
        return
    assert run.status_label == "3"
    lines = run.log_text.splitlines()
    assert (lines[0], lines[-1]) == ("line 0 of a chatty tool", "line 19999 of a chatty tool")
    assert any("left out" in line for line in lines)
    assert len(run.log_text) < 3 * 65536


@pytest.mark.parametrize("kind", KINDS)
def test_failure_with_its_reason(kind: str, results: Results) -> None:
    run = results(f"fails_{kind}")
    assert run.terminal_statuses == ["FAILURE"]
    assert "the quota is used up" in summary(run)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_takes_too_long_is_ended(kind: str, results: Results) -> None:
    run = results(f"times_out_{kind}")
    assert run.terminal_statuses == ["FAILURE"]
    assert summary(run).startswith("timed out after 1 s")


def test_a_stop_ends_runs_of_every_kind_and_port_is_told_why(agent: OneAgent, results: Results) -> None:
    """The last one: nothing of all that ran here is left."""
    all_ended(agent, results.run_ids.values())
    hanging = [agent.invoke(f"hangs_{kind}") for kind in KINDS]
    agent.wait_until(lambda: sum(_has_begun(agent, run_id) for run_id in hanging) == len(KINDS), "all to begin")
    session_members = _descendants(pid_of(agent))
    assert session_members
    agent.send(signal.SIGTERM)
    assert agent.wait_end() == 0
    for run in all_ended(agent, hanging):
        assert run.terminal_statuses == ["FAILURE"]
        assert "the agent was stopped while the run was in progress" in summary(run)
    assert not [pid for pid in session_members if Path(f"/proc/{pid}").exists()]
    assert not list((agent.home / "state").glob("workspaces/*"))
    check_nothing_was_a_defect(agent, agent.world)


def _has_begun(agent: OneAgent, run_id: str) -> bool:
    run = agent.world.ledger.runs[run_id]
    if run.action == "hangs_http":
        return agent.world.target.at_gate["never"] > 0
    return "began" in run.log_text


def _descendants(pid: int) -> list[int]:
    """All below a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = [int(child) for child in (task / "children").read_text().split()]
        found += [*children, *(below for child in children for below in _descendants(child))]
    return found
