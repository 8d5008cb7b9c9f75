"""The command line itself: its help, what it says of wrong usage, and its exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from agent import cli

_ROOT = Path(__file__).parents[2]
_COMMANDS = ("run", "check", "explain", "migrate", "doctor", "schema", "sandbox")
_OPTIONS = {
    "check": ["--message FILE"],
    "explain": ["FILE", "--change-log"],
    "migrate": ["--env FILE", "--values FILE", "--mapping FILE", "--out DIRECTORY", "--force"],
    "sandbox": ["--once", "--port NUMBER", "--routes FILE"],
}


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["action-agent", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_says_what_it_is_for_and_lists_every_command(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, option) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "usage: action-agent [-h] [--version] COMMAND ..." in said.out
    assert "takes action runs off Kafka, executes them,\nand reports back." in said.out
    listed = [line.split()[0] for line in said.out.splitlines() if line.startswith("    ") and line[4] != " "]
    assert listed == list(_COMMANDS)
    assert "Settings are environment variables, see .env.example" in said.out


@pytest.mark.parametrize("command", _COMMANDS)
def test_help_of_a_command_says_what_it_does_and_each_options_default(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, command, "--help") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: action-agent {command} ")
    options = _OPTIONS.get(command, [])
    for option in options:
        assert f"\n  {option} " in said, said
    assert said.count("Default: ") == sum(option.startswith("--") for option in options)


def test_nothing_asked_is_wrong_usage_and_gets_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: action-agent ")
    assert "    sandbox " in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "action-agent: argument COMMAND: invalid choice: 'nope' (choose from "),
        (["--nope"], "action-agent: unknown: --nope\nusage: action-agent [-h] [--version] COMMAND ...\n"),
        (["check", "--nope", "x"], "action-agent check: unknown: --nope x\nusage: action-agent check "),
        (["check", "--mess", "x"], "action-agent check: unknown: --mess x\n"),
        (["check", "--message"], "action-agent check: argument --message: expected one argument\n"),
        (["run", "x"], "action-agent run: unknown: x\nusage: action-agent run [-h]\n"),
        (["explain"], "action-agent explain: the following arguments are required: FILE\n"),
        (["sandbox", "--port", "x"], "action-agent sandbox: argument --port: invalid int value: 'x'\n"),
    ],
)
def test_wrong_usage_says_where_what_and_how_it_is_used(
    arguments: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(words)
    assert said.err.endswith(f"\n{words.partition(':')[0]} --help says more.\n")


def test_an_interrupt_ends_it_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_file: Path) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_message", interrupted)
    assert call(monkeypatch, "check", "--message", "x") == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", ["schema", "--help"])
def test_a_reader_that_has_gone_is_no_reason_for_a_traceback(command: str, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        ended = _spoken_to(tmp_path, command, stdout=writes)
    finally:
        os.close(writes)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parametrize("command", ["schema", "check", "sandbox", "--help", "--version"])
def test_a_stdout_that_takes_nothing_is_told_without_a_traceback(command: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = _spoken_to(tmp_path, command, stdout=full.fileno())
    assert ended.stderr == "action-agent: stdout cannot be written: No space left on device\n"
    assert ended.returncode == 1


def test_a_sandbox_whose_reader_has_gone_ends_without_a_traceback(tmp_path: Path) -> None:
    """Of the agent's log, which it shows, nothing is said at its end; what could not be shown is still there."""
    (tmp_path / "routes.yaml").write_text("routes: []\n")
    command = [sys.executable, "-P", "-m", "agent", "sandbox", "--routes", "routes.yaml"]
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as sandbox:
        assert sandbox.stdout is not None
        assert sandbox.stderr is not None
        for line in sandbox.stdout:
            if "Ctrl-C ends it all" in line:
                break
        sandbox.stdout.close()
        sandbox.send_signal(signal.SIGTERM)
        assert (sandbox.wait(60), sandbox.stderr.read()) == (1, "")


def test_what_a_newer_python_hands_to_each_command_is_taken() -> None:
    """From 3.14 on a command's parser gets its parent's ``color``; here another of argparse's own stands for it."""
    assert cli._Parser("x", "does", exit_on_error=False).exit_on_error is False


def test_what_stdout_cannot_say_is_escaped_and_no_reason_for_a_traceback(tmp_path: Path) -> None:
    ended = _spoken_to(tmp_path, "check", more={"PYTHONIOENCODING": "ascii"})
    assert "(in Port: \\u2026 menu > Organization)" in ended.stdout
    assert (ended.returncode, ended.stderr) == (1, "")


def test_without_a_stdout_it_does_what_it_is_asked(tmp_path: Path) -> None:
    ended = _spoken_to(tmp_path, "schema", closes_stdout=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def _spoken_to(
    cwd: Path,
    command: str,
    *,
    more: Mapping[str, str] | None = None,
    closes_stdout: bool = False,
    stdout: int = subprocess.PIPE,
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with no settings."""
    shell = ["sh", "-c", 'exec "$@" >&-', "sh"] if closes_stdout else []
    return subprocess.run(
        [*shell, sys.executable, "-P", "-m", "agent", command],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **(more or {})},
        cwd=cwd,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("file", ["runtime.txt", "otel.txt"])
def test_nothing_for_pretty_terminals_is_installed(file: str) -> None:
    """structlog and httpx load these where they find them, which an agent that never writes to a terminal keeps."""
    lines = (_ROOT / "requirements" / file).read_text().splitlines()
    installed = {line.partition("==")[0] for line in lines if "==" in line}
    assert "structlog" in installed
    assert not installed & {"typer", "click", "rich", "pygments", "markdown-it-py", "shellingham", "colorama"}
