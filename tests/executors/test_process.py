from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agent.domain.errors import ConfigurationError, TemplateError
from agent.domain.json import Json, JsonObject
from agent.domain.outcome import Failed, FailureKind, Succeeded
from agent.executors.oom import OomCounter
from agent.executors.process import ProcessFactory
from agent.ports import ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_invocation, fake_services
from tests.executors.process_helpers import execute


@pytest.fixture
def run() -> Iterator[FakeRun]:
    with FakeRun({"name": "a b; $(touch x)", "size": {"cpu": 2}, "none": None}) as run:
        yield run


# ── what the command gets ─────────────────────────────────────────────────────────────────────────────


def test_arguments_are_rendered_and_no_shell_reads_them(run: FakeRun) -> None:
    argv: Json = ["printf", "%s\n", "{{ .inputs.name }}", "{{ .inputs.size }}", "n={{ .inputs.name }}", 3, True]
    assert execute(run, argv) == Succeeded()
    assert run.log_text.splitlines() == ["a b; $(touch x)", '{"cpu":2}', "n=a b; $(touch x)", "3", "true"]


def test_a_null_inside_of_an_argument_fails_the_run(run: FakeRun) -> None:
    outcome = execute(run, ["true", "svc-{{ .inputs.none }}"])
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.BAD_TEMPLATE
    assert "routes[0].process.command[1]" in outcome.reason
    assert "gave null inside of text" in outcome.reason


def test_stdin_is_the_invocation_as_json(run: FakeRun) -> None:
    assert execute(run, "cat") == Succeeded()
    assert json.loads(run.log_text) == run.view.value


def test_stdin_can_be_empty(run: FakeRun) -> None:
    assert execute(run, "cat; echo end", stdin="none") == Succeeded()
    assert run.log_text == "end"


@pytest.mark.parametrize("script", ["true", "exec <&-; sleep 0.01", "head -c 1 >/dev/null"])
def test_stdin_that_is_not_read_disturbs_nobody(script: str) -> None:
    with FakeRun({"large": "x" * 4_000_000}) as run:
        assert execute(run, script) == Succeeded()


def test_environment_is_only_what_the_route_names(run: FakeRun) -> None:
    agents = {"TOKEN": "of-the-agent", "REGION": "eu", "PORT_CLIENT_SECRET": "hidden"}
    env: Json = {"SIZE": "{{ .inputs.size }}", "ABSENT": "{{ .inputs.none }}", "LANG": "de"}
    assert execute(run, "env -0", environment=agents, pass_env=["REGION", "UNKNOWN"], env=env) == Succeeded()
    found = dict(entry.split("=", 1) for entry in run.log_text.split("\0") if entry)
    tracking_id, pwd = found.pop("AGENT_RUN_TRACKING_ID"), found.pop("PWD")
    workspace = str(run.workspace)
    assert tracking_id
    assert pwd == f"{workspace}/work"
    assert found.pop("_", "") in {"", "/usr/bin/env"}
    assert found == {
        "RUN_ID": "r_0000000000000001",
        "RUN_ATTEMPT": "1",
        "ACTION": "create_microservice",
        "BLUEPRINT": "microservice",
        "PORT_API_BASE_URL": "https://api.port.io",
        "AGENT_OUTPUT": f"{workspace}/output",
        "HOME": workspace,
        "TMPDIR": workspace,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "de",
        "REGION": "eu",
        "SIZE": '{"cpu":2}',
    }


def test_a_message_without_a_run_gives_an_empty_run_id() -> None:
    with FakeRun(invocation=fake_invocation(run_id=None)) as run:
        assert execute(run, 'echo "<$RUN_ID>"') == Succeeded()
        assert run.log_text == "<>"


def test_the_directory_is_empty_and_everything_private(run: FakeRun) -> None:
    assert execute(run, "ls -A; umask; touch made") == Succeeded()
    assert run.log_text.splitlines() == ["0077"]
    assert stat.S_IMODE((run.workspace / "work" / "made").stat().st_mode) == 0o600


def test_the_command_leads_a_session_and_inherits_no_file(run: FakeRun) -> None:
    leaked = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leaked, True)
    try:
        assert execute(run, "ls /proc/$$/fd; test $(ps -o sid= -p $$) = $$") == Succeeded()
    finally:
        os.close(leaked)
    assert [line for line in run.log_text.split() if int(line) > 2] in ([], ["10"])  # dash keeps a copy of its own


def test_a_relative_program_is_found_from_the_agents_directory(
    run: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "create.sh"
    script.write_text("#!/bin/sh\npwd\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert execute(run, ["./create.sh"]) == Succeeded()
    assert run.log_text == str(run.workspace / "work")


def test_a_directory_of_the_route_is_where_it_starts(run: FakeRun, tmp_path: Path) -> None:
    assert execute(run, "pwd", cwd=str(tmp_path)) == Succeeded()
    assert run.log_text == str(tmp_path)


# ── how it ends ───────────────────────────────────────────────────────────────────────────────────────


def test_exit_code_and_last_lines_are_the_reason(run: FakeRun) -> None:
    script = "for i in $(seq 30); do echo line $i; done; printf '\\033[31mred\\033[0m\\r\\nend' >&2; exit 3"
    outcome = execute(run, script)
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.EXIT_CODE
    first, *tail = outcome.reason.splitlines()
    assert first == "exit code 3"
    assert set(tail) >= {"red", "end", "line 30"}
    assert len(tail) == 10


def test_exit_codes_that_the_route_calls_good_are_success(run: FakeRun) -> None:
    assert execute(run, "exit 2", ok_exit_codes=[0, 2]) == Succeeded()


def test_exit_zero_may_be_a_failure(run: FakeRun) -> None:
    assert execute(run, "exit 0", ok_exit_codes=[2]) == Failed("exit code 0", FailureKind.EXIT_CODE)


def test_a_signal_is_named(run: FakeRun) -> None:
    assert execute(run, "kill -USR1 $$") == Failed("killed by SIGUSR1", FailureKind.SIGNAL)


def test_a_kill_from_elsewhere_may_be_for_memory(run: FakeRun) -> None:
    assert execute(run, "kill -KILL $$") == Failed("killed by SIGKILL (out of memory?)", FailureKind.SIGNAL)


@pytest.mark.parametrize(
    ("script", "what"),
    [("kill -KILL $$", "killed by SIGKILL"), ("sh -c 'kill -KILL $$'; exit $?", "exit code 137")],
)
def test_killed_for_memory_is_told_apart(run: FakeRun, tmp_path: Path, script: str, what: str) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom 3\noom_kill 3\noom_group_kill 0\n")
    rise = f"printf 'oom 4\\noom_kill 4\\n' >{counter}; "
    outcome = execute(run, rise + script, oom=OomCounter(counter))
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.OUT_OF_MEMORY
    assert outcome.reason.splitlines()[0] == f"out of memory: {what} at the agent's memory limit"


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["no-such-program"], "could not start no-such-program: it does not exist, or is not on the PATH"),
        (["/etc/passwd"], "could not start /etc/passwd: no permission; is it executable?"),
        (["{{ .inputs.size }}x/y"], "does not exist"),
        (
            ["no-such bill"],
            '; if these are a program and its arguments, each is an element of the list: ["no-such", ',
        ),
        ([""], "could not start"),
        (["true", "x" * 4_000_000], "are too long; let it read stdin"),
    ],
)
def test_what_cannot_start_says_why(run: FakeRun, argv: Json, expected: str) -> None:
    outcome = execute(run, argv)
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.NOT_STARTED
    assert expected in outcome.reason


def test_a_script_that_cannot_run_says_why(run: FakeRun, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo no first line\n")
    script.chmod(0o755)
    without = execute(run, [str(script)])
    script.write_text("#!/no/such/interpreter\n")
    run.close()
    with FakeRun() as second:
        missing = execute(second, [str(script)])
        nowhere = execute(second, ["true"], cwd=str(tmp_path / "nowhere"))
    assert isinstance(without, Failed)
    assert isinstance(missing, Failed)
    assert isinstance(nowhere, Failed)
    assert "neither a program nor a script that begins with #!" in without.reason
    assert "the interpreter that its first line names does not exist" in missing.reason
    assert nowhere.reason == f"could not start the command: its directory {tmp_path}/nowhere does not exist"


@pytest.mark.parametrize(("text", "what"), [("a\0b", "a NUL character"), ("a\ud800b", "a lone surrogate")])
@pytest.mark.parametrize("place", ["argument", "variable"])
def test_what_no_command_line_can_carry_is_a_failure(text: str, what: str, place: str) -> None:
    with FakeRun({"bad": text}) as run:
        argument: Json = {"command": ["true", "{{ .inputs.bad }}"]}
        variable: Json = {"command": ["true"], "env": {"BAD": "{{ .inputs.bad }}"}}
        options = {"argument": argument, "variable": variable}[place]
        assert isinstance(options, dict)
        outcome = execute(run, **options)
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.BAD_TEMPLATE
    assert what in outcome.reason


def test_an_expression_that_fails_is_a_failure(run: FakeRun) -> None:
    outcome = execute(run, ["true", "{{ .inputs.name.deeper }}"])
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.BAD_TEMPLATE


@pytest.mark.parametrize("argv", [["{{ .inputs.none }}"], ["true", "{{ .inputs.nobody }}"]])
def test_an_argument_that_is_null_is_a_failure_and_nothing_is_started(run: FakeRun, argv: list[str]) -> None:
    outcome = execute(run, argv)
    assert outcome == Failed(
        f"routes[0].process.command[{len(argv) - 1}]: `{argv[-1]}` gave null, which is no argument; where it may "
        'be missing, end the expression with // "…"',
        FailureKind.BAD_TEMPLATE,
    )


# ── what a route may say ──────────────────────────────────────────────────────────────────────────────


def _problems(options: JsonObject) -> str:
    services = fake_services(
        ExecutorSettings(client_secret=lambda: "of-the-agent", kill_grace_s=10),
        environment={"PORT_CLIENT_SECRET": "of-the-agent", "COPY": "of-the-agent"},
    )
    with pytest.raises(ConfigurationError) as caught:
        ProcessFactory(services).prepare(options, "routes[0].process", FakeTemplates())
    return str(caught.value)


def test_a_shell_string_is_refused_with_a_hint() -> None:
    message = _problems({"command": "echo hi"})
    assert 'routes[0].process.command: a command is a list of arguments, not one text (write ["program"' in message


@pytest.mark.parametrize("name", ["PORT_CLIENT_SECRET", "PORT_CLIENT_SECRET_FILE", "PORT_CLIENT_ID", "COPY"])
def test_the_agents_credentials_are_never_passed_on(name: str) -> None:
    assert f"{name} is the agent's own credential" in _problems({"command": ["true"], "pass_env": [name]})


def test_every_problem_is_found_at_once() -> None:
    message = _problems({"command": [], "env": {"RUN_ID": "x"}, "kill_grace": "1m"})
    assert "routes[0].process.command: expected a list with the program and its arguments" in message
    assert "routes[0].process.env: RUN_ID is set by the agent itself" in message
    assert "routes[0].process.kill_grace: 1m is longer than the agent itself waits, which is 10 s" in message


def test_the_schema_is_one_and_knows_right_from_wrong() -> None:
    schema = dict(ProcessFactory(fake_services()).options_schema())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    good: list[Json] = [
        {"command": ["true"]},
        {"command": ["a", 1], "env": {"A": None}, "kill_grace": "5s", "stdin": "none", "signal_scope": "leader"},
    ]
    bad: list[Json] = [
        {},
        {"command": "echo hi"},
        {"command": ["a"], "env": {"A B": "x"}},
        {"command": ["a"], "x": 1},
    ]
    assert [validator.is_valid(value) for value in good] == [True, True]
    assert [validator.is_valid(value) for value in bad] == [False] * 4


def test_an_argument_that_says_null_is_refused() -> None:
    message = _problems({"command": ["echo", None]})
    assert message == 'routes: routes[0].process.command[1]: an argument cannot be null (write "", or leave it out)'


def test_preview_of_a_null_argument_says_which(run: FakeRun) -> None:
    executor = ProcessFactory(fake_services()).prepare(
        {"command": ["echo", "{{ .inputs.none }}"]}, "routes[0].process", FakeTemplates()
    )
    with pytest.raises(TemplateError, match=r"command\[1\]: `\{\{ \.inputs\.none \}\}` gave null"):
        asyncio.run(executor.preview(run.view))


def test_preview_hides_what_is_passed_through(run: FakeRun) -> None:
    services = fake_services(environment={"TOKEN": "hidden"})
    options: JsonObject = {
        "command": ["deploy", "{{ .inputs.size }}"],
        "env": {"NAME": "{{ .inputs.name }}"},
        "pass_env": ["TOKEN"],
    }
    executor = ProcessFactory(services).prepare(options, "routes[0].process", FakeTemplates())
    assert asyncio.run(executor.preview(run.view)) == {
        "command": ["deploy", '{"cpu":2}'],
        "env": {"NAME": "a b; $(touch x)", "TOKEN": "(from the agent's environment)"},
    }
