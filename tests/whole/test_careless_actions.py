"""Python actions with mistakes: they take every thread, the event loop, too much time; or say no texts."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.sandbox.records import RunRecord
from tests.whole.one_agent import OneAgent, Results
from tests.whole.world import World

ROUTES_HERE = """\
routes:
  - {name: holding, match: {action: holding}, python: {callable: "whole_actions:holding_threads"}}
  - {name: resisting, match: {action: resisting}, python: {callable: "whole_actions:resisting"}}
  - {name: blocking, match: {action: blocking}, python: {callable: "whole_actions:blocking"}}
  - {name: loose, match: {action: loose}, python: {callable: "whole_actions:loose"}}
  - {name: forgetful, match: {action: forgetful}, python: {callable: "whole_actions:forgetful"}}
  - {name: looking-up, match: {action: looking_up}, python: {callable: "whole_actions:looking_up"}}
  - {name: leaving, match: {action: leaving}, python: {callable: "whole_actions:leaving"}}
  - name: staying
    match: {action: staying}
    process: {command: [sh, -c, 'echo $$ >"$1.new"; mv "$1.new" "$1"; exec sleep 300', sh, "{{ .inputs.file }}"]}
  - {name: echo, match: {action: echo}, process: {command: [echo, "here I am"]}}
  - name: by-name
    match: {action: by_name}
    http: {method: GET, url: "http://localhost:{{ .inputs.port }}/by-name"}
"""


@dataclass
class Held:
    """An agent whose actions hold every thread, what it did all the same, and how long it took to stop."""

    agent: OneAgent
    mistaken: Results
    holding: str
    process: RunRecord
    by_name: RunRecord
    exit_code: int
    stop_took_s: float


@pytest.fixture(scope="module")
def held(world: World) -> Iterator[Held]:
    settings = {"AGENT_MAX_CONCURRENT_RUNS": "8", "AGENT_DRAIN_TIMEOUT_S": "0.5", "AGENT_KILL_GRACE_S": "1"}
    agent = OneAgent(world, "held", settings, ROUTES_HERE)
    agent.start()
    try:
        agent.wait_ready()
        assert agent.result_of("blocking").terminal_statuses == ["SUCCESS"]
        assert agent.result_of("resisting").terminal_statuses == ["SUCCESS"]
        mistaken = agent.invoke_all({name: (name, {}) for name in ("loose", "forgetful", "looking_up")})
        for name in mistaken.run_ids:
            mistaken(name)
        holding = agent.invoke("holding")
        agent.wait_metric("agent_runs_in_flight", 1, executor="python")
        port = world.target.url.rpartition(":")[2]
        done = agent.invoke_all({"echo": ("echo", {}), "by name": ("by_name", {"port": port})})
        process, by_name = done("echo"), done("by name")
        begun_s = time.monotonic()
        agent.send(signal.SIGTERM)
        code = agent.wait_end()
        yield Held(agent, mistaken, holding, process, by_name, code, time.monotonic() - begun_s)
    finally:
        agent.kill()


def test_other_runs_do_not_wait_for_a_thread(held: Held) -> None:
    assert (held.process.terminal_statuses, held.process.log_text) == (["SUCCESS"], "here I am")
    assert held.by_name.terminal_statuses == ["SUCCESS"], held.by_name


def test_the_stop_is_orderly_and_takes_no_longer_than_was_said(held: Held) -> None:
    (said,) = held.agent.lines("started")
    assert held.exit_code == 0, held.agent.process.last_words()
    assert held.stop_took_s < said["stop_takes_at_most_s"]
    assert held.agent.lines("stopped", exit_code=0)
    assert held.agent.lines("source failing") == []


def test_the_run_that_held_the_threads_is_told(held: Held, world: World) -> None:
    run = world.ledger.runs[held.holding]
    assert run.terminal_statuses == ["FAILURE"]
    assert "agent was stopped" in (run.summary or "")


def test_nothing_is_left_of_its_workspaces(held: Held) -> None:
    assert [path for path in (held.agent.home / "state" / "workspaces").rglob("*") if path.is_file()] == []


def test_a_blocked_event_loop_is_logged_with_whose_actions_were_there(held: Held) -> None:
    line = held.agent.wait_line("event loop stood still", python_routes=["blocking"])
    assert line["level"] == "warning"
    assert 1.0 < line["for_s"] < 10.0


def test_what_is_no_text_becomes_one(held: Held) -> None:
    run = held.mistaken("loose")
    assert (run.terminal_statuses, run.summary) == (["FAILURE"], '{"code":7}')
    assert (run.log_text, run.links) == ("an exception", ["123"])


def test_a_forgotten_await_is_no_silent_success(held: Held) -> None:
    run = held.mistaken("forgetful")
    assert run.terminal_statuses == ["FAILURE"]
    assert "upsert_entity was called without await" in (run.summary or "")
    assert run.entities == []


def test_a_reason_says_where_it_went_wrong(held: Held) -> None:
    run = held.mistaken("looking_up")
    assert run.summary is not None
    assert re.fullmatch(r"KeyError: 'b' \(whole_actions\.py:\d+, in looking_up\)", run.summary)
    assert held.agent.wait_line("run finished", run_id=run.id)["detail"] == run.summary


def test_an_action_that_ends_the_interpreter_leaves_no_process_behind(world: World, tmp_path: Path) -> None:
    agent = OneAgent(world, "left", {"AGENT_KILL_GRACE_S": "1"}, ROUTES_HERE)
    agent.start()
    try:
        agent.wait_ready()
        file = tmp_path / "pid"
        agent.invoke("staying", {"file": str(file)})
        agent.wait_until(file.exists, "the process that stays")
        agent.invoke("leaving")
        assert agent.wait_end() == 1, agent.process.last_words()
        assert not Path(f"/proc/{file.read_text().strip()}").exists()
    finally:
        agent.kill()
