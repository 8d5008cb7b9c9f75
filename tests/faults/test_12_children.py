"""Commands that heed no signal, leave others behind, flood or garble their output: each run ends, nothing stays."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from agent.domain.json import JsonObject
from tests.broker.waiting import wait_until
from tests.faults.at_work import all_ended, at_work, check_nothing_was_a_defect, pid_of, summary
from tests.whole.one_agent import OneAgent, Results

_FLOOD_BYTES = 256 * 1024 * 1024
_LOG_MAX_BYTES = 64 * 1024

ROUTES = rf"""
- name: deaf
  match: {{action: deaf}}
  timeout: 1s
  process:
    command: [sh, -c, "trap '' TERM INT HUP; echo pid $$; while :; do sleep 600; done"]
    kill_grace: 200ms
- name: leaked-stdout
  match: {{action: leaked_stdout}}
  process: {{command: [sh, -c, 'sleep 600 & echo "pid $!"; exit 0'], kill_grace: 200ms}}
- name: new-session
  match: {{action: new_session}}
  process:
    command:
      - sh
      - -c
      - |
        setsid sh -c 'setsid sh -c "echo pid \$\$ >told; exec sleep 600" &' </dev/null >/dev/null 2>&1
        until [ -s told ]; do sleep 0.01; done; cat told
- name: zombies
  match: {{action: zombies}}
  process: {{command: [sh, -c, "for i in $(seq 300); do (sh -c 'exit 0' &); done; sleep 0.2; echo all begun"]}}
- name: talkative
  match: {{action: talkative}}
  process:
    command:
      - sh
      - -c
      - |
        flood() {{ yes "a line of a very long output, the same each time" | head -c $1; echo; }}
        echo first; until [ -e "$1" ]; do flood 16777216; done; flood {_FLOOD_BYTES}; echo last
      - sh
      - "{{{{ .inputs.gate }}}}"
- name: no-newline
  match: {{action: no_newline}}
  process: {{command: [sh, -c, 'printf "no end"; printf " of line" >&2; exit 3']}}
- name: garbled
  match: {{action: garbled}}
  process:
    command:
      - {sys.executable}
      - -c
      - "import sys; sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))"
      - "{{{{ .inputs.hex }}}}"
- name: long-line
  match: {{action: long_line}}
  process: {{command: [sh, -c, "head -c 1048576 /dev/zero | tr '\\0' x; echo; echo after; exit 4"]}}
- name: beside
  match: {{action: beside}}
  process: {{command: [echo, beside]}}
"""

GARBLED = {
    "invalid UTF-8": (b"caf\xe9 \xc3\xa9 \xff\n", "caf\ufffd é \ufffd"),
    "ANSI": (b"\x1b[1;31mred\x1b[0m and \x1b]8;;http://x\x07a link\n", "red and a link"),
    "NUL": (b"before\0after\n", "beforeafter"),
    "CRLF": (b"one\r\ntwo\r\n", "one\ntwo"),
    "CR": (b"10%\r20%\rdone\r\n", "done"),
}
"""What is written, and what is in the run's log."""

ORDERS: dict[str, tuple[str, JsonObject]] = {
    **{name: (name, {}) for name in ("deaf", "leaked_stdout", "new_session", "zombies", "no_newline", "long_line")},
    **{name: ("garbled", {"hex": raw.hex()}) for name, (raw, _) in GARBLED.items()},
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneAgent]:
    settings = {"AGENT_LOG_MAX_BYTES": str(_LOG_MAX_BYTES), "AGENT_MAX_CONCURRENT_RUNS": "20"}
    with at_work(tmp_path_factory.mktemp("children"), ROUTES, settings) as agent:
        yield agent
        check_nothing_was_a_defect(agent, agent.world)
        children = _children(agent)
        assert not children, f"left behind by all that ran: {children}"


@pytest.fixture(scope="module")
def results(agent: OneAgent) -> Results:
    """They all run at once."""
    return agent.invoke_all(ORDERS)


def _children(agent: OneAgent) -> dict[str, str]:
    """What the agent has under it but its own jq worker: names by process id, zombies included."""
    pid = pid_of(agent)
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    names: dict[str, str] = {}
    for child in found:
        with suppress(OSError):  # it has just ended
            names[child] = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
    return {child: name for child, name in names.items() if "agent.routing" not in name}


def _pid(log_text: str) -> str:
    (pid,) = [line.removeprefix("pid ") for line in log_text.splitlines() if line.startswith("pid ")]
    return pid


def _is_gone(pid: str) -> bool:
    """Not even a zombie of it is left."""
    return not Path(f"/proc/{pid}").exists()


def test_a_child_that_ignores_sigterm_is_killed_and_its_run_fails(results: Results) -> None:
    run = results("deaf")
    assert run.terminal_statuses == ["FAILURE"]
    assert summary(run).startswith("timed out after 1 s")
    assert "did not end after SIGTERM and was killed" in run.log_text
    assert _is_gone(_pid(run.log_text))


def test_a_child_that_forks_and_exits_does_not_hold_its_run_by_the_leaked_stdout(results: Results) -> None:
    run = results("leaked_stdout")
    assert run.terminal_statuses == ["SUCCESS"]
    assert "killed what the command had left running (1): sleep" in run.log_text
    assert _is_gone(_pid(run.log_text))


def test_a_grandchild_in_a_session_of_its_own_does_not_outlive_its_run(results: Results) -> None:
    run = results("new_session")
    assert run.terminal_statuses == ["SUCCESS"]
    assert _is_gone(_pid(run.log_text))


def test_a_flood_of_orphans_leaves_no_zombies(agent: OneAgent, results: Results) -> None:
    run = results("zombies")
    assert run.terminal_statuses == ["SUCCESS"]
    assert run.log_text == "all begun"
    all_ended(agent, results.run_ids.values())
    wait_until(lambda: not _children(agent), timeout_s=30, what=lambda: f"{_children(agent)} to be gone")


def test_output_without_a_newline_is_in_the_log_and_in_the_reason(results: Results) -> None:
    run = results("no_newline")
    assert run.terminal_statuses == ["FAILURE"]
    assert set(summary(run).splitlines()) == {"exit code 3", "no end", " of line"}
    assert sorted(run.log_text.splitlines()) == [" of line", "no end"]


@pytest.mark.parametrize("name", GARBLED)
def test_bytes_that_are_no_plain_text_reach_port_as_text_and_cost_no_other_line(
    name: str, agent: OneAgent, results: Results
) -> None:
    run = results(name)
    assert run.terminal_statuses == ["SUCCESS"]
    assert run.log_text == GARBLED[name][1]
    assert all_ended(agent, [agent.invoke("beside")])[0].log_text == "beside"


def test_a_line_of_1_mib_is_cut_and_what_comes_after_it_is_there(results: Results) -> None:
    run = results("long_line")
    assert run.terminal_statuses == ["FAILURE"]
    assert summary(run) == "exit code 4\nafter"
    assert run.log_text.startswith("xxxx")
    assert run.log_text.endswith("after")
    assert len(run.log_text) < 4 * _LOG_MAX_BYTES


def test_a_child_that_writes_hundreds_of_mib_costs_the_agent_little_memory_and_delays_nobody(
    agent: OneAgent, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    flooding = agent.invoke("talkative", {"gate": str(gate)})
    run = agent.world.ledger.runs[flooding]
    agent.wait_until(lambda: "first" in run.log_text, "the first line")
    before_kib = _peak_kib(agent)
    beside = all_ended(agent, [agent.invoke("beside") for _ in range(20)])
    assert {run.log_text for run in beside} == {"beside"}
    gate.touch()
    all_ended(agent, [flooding], timeout_s=100)
    assert run.terminal_statuses == ["SUCCESS"]
    assert run.log_text.splitlines()[0] == "first"
    assert run.log_text.splitlines()[-1] == "last"
    assert len(run.log_text) < 4 * _LOG_MAX_BYTES
    assert _peak_kib(agent) - before_kib < 32 * 1024


def _peak_kib(agent: OneAgent) -> int:
    """The most memory that the agent has ever had."""
    status = Path(f"/proc/{pid_of(agent)}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
