"""What becomes of runs that a command executes, seen from Port."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.domain.json import JsonObject
from tests.broker.waiting import wait_until
from tests.whole.one_agent import OneAgent, Results
from tests.whole.world import World

ROUTES = r"""
- name: exits
  match: {action: exits}
  process: {command: [sh, -c, 'echo first; echo "quota exceeded" >&2; exit "$1"', sh, "{{ .inputs.code }}"]}
- name: signalled
  match: {action: signalled}
  process: {command: [sh, -c, 'kill -"$1" $$', sh, "{{ .inputs.signal }}"]}
- name: too-slow
  match: {action: too_slow}
  timeout: 700ms
  process:
    command: [sh, -c, 'sleep 600 & echo "pid $!"; setsid sleep 600 & echo "pid $!"; trap "" TERM; wait; sleep 600']
    kill_grace: 200ms
- name: missing-command
  match: {action: missing_command}
  process: {command: [./no-such-command.sh]}
- name: leaking-pipe
  match: {action: leaking_pipe}
  process: {command: [sh, -c, 'sleep 600 & echo "pid $!"'], kill_grace: 200ms}
- name: literal
  match: {action: literal}
  process: {command: [printf, "%s|%s", "{{ .inputs.text }}", "before {{ .inputs.number }} after"]}
- name: environment-of-command
  match: {action: environment_of_command, blueprint: service}
  process:
    command: [env]
    env: {REGION: "{{ .inputs.region }}", NOTHING: "{{ .inputs.nothing }}"}
    pass_env: [VISIBLE]
- name: stdin
  match: {action: stdin}
  process: {command: [cat]}
- name: workspace
  match: {action: workspace}
  process: {command: [sh, -c, 'pwd; ls -A; stat -c %a .; echo x >file; mkdir dir; echo y >"$TMPDIR/z"']}
- name: streaming
  match: {action: streaming}
  process:
    command: [sh, -c, 'echo began; while [ ! -e "$1" ]; do sleep 0.05; done; echo ended', sh, "{{ .inputs.gate }}"]
- name: outputs
  match: {action: outputs}
  process:
    command:
      - sh
      - -c
      - |
        {
          echo "link=https://one.example/"; echo "link=https://two.example/?q=a=b"
          echo "status_label=deployed"; echo "external_run_id=4711"
          printf 'summary<<EOF\nline one\nline two\nEOF\n'
          printf 'entity<<END\n{"blueprint": "service", "identifier": "from-file", "title": "Grüße"}\nEND\n'
          printf 'entity<<END\n{"blueprint": "service", "identifier": "from-file", "verb": "delete"}\nEND\n'
          echo "not a pair"
        } >>"$AGENT_OUTPUT"
- name: bad-entity
  match: {action: bad_entity}
  process: {command: [sh, -c, 'echo "entity=this is no JSON" >>"$AGENT_OUTPUT"']}
- name: with-entities
  match: {action: with_entities}
  process:
    command: [sh, -c, 'echo "made=$1" >>"$AGENT_OUTPUT"; exit "$2"', sh, "{{ .inputs.name }}", "{{ .inputs.code }}"]
  entities:
    - blueprint: service
      identifier: "{{ .outputs.made }}"
      title: "{{ .inputs.name }}"
      properties: {tier: "{{ .inputs.tier }}"}
    - blueprint: service
      identifier: "{{ .outputs.made }}"
      verb: patch
      properties: {extra: true}
      when: .inputs.extra
    - {blueprint: service, identifier: "{{ .outputs.made }}", verb: delete, on: failure}
- name: chatty
  match: {action: chatty}
  process:
    command:
      - sh
      - -c
      - i=0; while [ $i -lt 20000 ]; do echo "line $i of a chatty tool"; i=$((i+1)); done; echo "the very end"
"""


HARMLESS = """$(id); `id` && "x" > 'y' \\ *\n{{ .inputs.number }} ü"""

ORDERS: dict[str, tuple[str, JsonObject]] = {
    "exit 0": ("exits", {"code": 0}),
    "exit 3": ("exits", {"code": 3}),
    "SIGTERM": ("signalled", {"signal": "TERM"}),
    "SIGKILL": ("signalled", {"signal": "KILL"}),
    "SIGSEGV": ("signalled", {"signal": "SEGV"}),
    "too slow": ("too_slow", {}),
    "missing command": ("missing_command", {}),
    "leaking pipe": ("leaking_pipe", {}),
    "literal": ("literal", {"text": HARMLESS, "number": 0.5}),
    "environment": ("environment_of_command", {"region": "eu", "nothing": None}),
    "stdin": ("stdin", {"name": "Grüße", "small": 0.000001}),
    "workspace": ("workspace", {}),
    "outputs": ("outputs", {}),
    "bad entity": ("bad_entity", {}),
    "chatty": ("chatty", {}),
}


@pytest.fixture(scope="module")
def results(agent: OneAgent) -> Results:
    return agent.invoke_all(ORDERS)


def _gone(pid: str) -> bool:
    """Whether the process has ended; a zombie that nobody has reaped yet has."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def _pids(log_text: str) -> list[str]:
    return [line.removeprefix("pid ") for line in log_text.splitlines() if line.startswith("pid ")]


def test_exit_0_is_success_and_the_output_is_the_log(results: Results) -> None:
    run = results("exit 0")
    assert run.terminal_statuses == ["SUCCESS"]
    assert sorted(run.log_text.splitlines()) == ["first", "quota exceeded"]


def test_another_exit_code_is_failure_with_the_code_and_the_last_lines(results: Results) -> None:
    run = results("exit 3")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert run.summary.startswith("exit code 3\n")
    assert "quota exceeded" in run.summary


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV"])
def test_a_signal_is_another_reason_than_an_exit_code(name: str, results: Results) -> None:
    run = results(name)
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert f"killed by {name}" in run.summary
    assert "exit code" not in run.summary


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(results: Results) -> None:
    run = results("too slow")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "timed out after" in run.summary
    pids = _pids(run.log_text)
    assert len(pids) == 2
    assert all(map(_gone, pids))


def test_a_command_that_is_not_there_is_a_reason_of_its_own(results: Results) -> None:
    run = results("missing command")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "could not start" in run.summary
    assert "no-such-command.sh" in run.summary


def test_what_a_command_leaves_behind_neither_holds_the_run_nor_lives_on(results: Results) -> None:
    run = results("leaking pipe")
    assert run.terminal_statuses == ["SUCCESS"]
    (pid,) = _pids(run.log_text)
    assert _gone(pid)


def test_no_shell_ever_sees_an_argument(results: Results) -> None:
    run = results("literal")
    assert run.log_text == f"{HARMLESS}|before 0.5 after"


def test_a_command_gets_only_its_own_variables(world: World, agent: OneAgent, results: Results) -> None:
    run = results("environment")
    seen = dict(line.split("=", 1) for line in run.log_text.splitlines())
    own = {
        "RUN_ID": run.id,
        "RUN_ATTEMPT": "1",
        "ACTION": "environment_of_command",
        "BLUEPRINT": "service",
        "REGION": "eu",
    }
    given = {"PORT_API_BASE_URL": world.port.url, "VISIBLE": "a visible value"}
    assert seen.items() >= (own | given).items()
    assert {"AGENT_OUTPUT", "PATH", "HOME"} <= set(seen)
    foreign = {*agent.settings, "NOTHING"} - {"PATH", "VISIBLE", "PORT_API_BASE_URL"}
    assert not foreign & set(seen)


def test_a_command_reads_the_invocation_as_json(results: Results) -> None:
    run = results("stdin")
    document = json.loads(run.log_text)
    assert document["run"]["id"] == run.id
    assert document["action"]["identifier"] == "stdin"
    assert document["inputs"] == {"name": "Grüße", "small": 0.000001}
    assert document["message"]["context"]["runId"] == run.id


def test_a_command_works_in_a_private_place_that_is_removed(agent: OneAgent, results: Results) -> None:
    run = results("workspace")
    place, mode = run.log_text.splitlines()
    assert mode == "700"
    assert Path(place).is_relative_to(agent.home / "state")
    agent.wait_settled(run.id)
    wait_until(lambda: not Path(place).parent.exists(), timeout_s=30, what="the workspace's end")


def test_output_streams_while_the_command_runs(world: World, agent: OneAgent) -> None:
    gate = agent.home / "streaming-gate"
    run_id = agent.invoke("streaming", {"gate": str(gate)})
    run = world.ledger.runs[run_id]
    agent.wait_until(lambda: run.log_text == "began", "the first line, before the end")
    assert run.status == "IN_PROGRESS"
    gate.touch()
    assert world.ended(run_id).log_text == "began\nended"


def test_the_output_file_says_links_labels_ids_summaries_and_entities(world: World, results: Results) -> None:
    run = results("outputs")
    assert run.terminal_statuses == ["SUCCESS"]
    assert run.links == ["https://one.example/", "https://two.example/?q=a=b"]
    assert (run.status_label, run.external_run_id, run.summary) == ("deployed", "4711", "line one\nline two")
    written = [(entity.verb, entity.identifier, entity.run_id) for entity in run.entities]
    assert written == [("merge", "from-file", run.id), ("delete", "from-file", run.id)]
    assert run.entities[0].body["title"] == "Grüße"
    assert "$AGENT_OUTPUT line 15" in run.log_text
    assert ("service", "from-file") not in world.ledger.catalogue


def test_an_entity_that_cannot_be_read_fails_the_run(results: Results) -> None:
    run = results("bad entity")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "$AGENT_OUTPUT line 1" in run.summary


@pytest.mark.parametrize(
    ("code", "extra", "verbs"), [(0, False, ["merge"]), (0, True, ["merge", "patch"]), (1, True, [])]
)
def test_a_routes_entities_are_written_as_their_conditions_say(
    code: int,
    extra: bool,  # noqa: FBT001 - an input
    verbs: list[str],
    world: World,
    agent: OneAgent,
) -> None:
    name = f"made-{code}-{extra}"
    run = agent.result_of("with_entities", {"name": name, "code": code, "extra": extra, "tier": 3})
    assert [(entity.verb, entity.identifier, entity.run_id) for entity in run.entities] == [
        (verb, name, run.id) for verb in verbs
    ]
    if verbs:
        assert world.ledger.catalogue["service", name]["title"] == name
    else:
        assert "entities[2]" in run.log_text, "what was never there cannot be deleted"


def test_output_beyond_the_cap_is_cut_with_a_notice_and_its_end_is_kept(world: World, results: Results) -> None:
    run = results("chatty")
    assert run.terminal_statuses == ["SUCCESS"]
    lines = run.log_text.splitlines()
    assert lines[:2] == ["line 0 of a chatty tool", "line 1 of a chatty tool"]
    assert lines[-1] == "the very end"
    assert len(run.log_text) < 3 * 65536
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line ")]
    assert numbers == sorted(set(numbers)), "in order, none twice"
    assert any("left out" in line for line in lines)
    assert len(world.requests_of(run.id)) < 12
