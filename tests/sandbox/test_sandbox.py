"""The sandbox as users start it: a process with real children, which must all be gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from agent.sandbox.actions import ACTIONS

DEADLINE_S = 90.0
PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from agent.sandbox import main
say = partial(print, flush=True)
kind, *rest = sys.argv[1:]
if kind == "port":
    sys.exit(main(say, once=False, port=int(rest[0])))
sys.exit(main(say, once=kind == "once", routes=Path(rest[0]) if rest else None))
"""
Arguments = tuple[str, ...]


@dataclass
class Started:
    """A running sandbox whose temporary files, and those of its children, stand under ``home``."""

    process: subprocess.Popen[str]
    home: Path

    def processes(self) -> dict[int, str]:
        """Every process that belongs to this sandbox, with its command line."""
        marker = f"TMPDIR={self.home}\0".encode()
        found: dict[int, str] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                inside = (entry / "cwd").readlink().is_relative_to(self.home)
                if inside or marker in (entry / "environ").read_bytes() + b"\0":
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        return found

    def agent(self) -> int | None:
        """The agent's process id, once it runs."""
        return next((pid for pid, command in self.processes().items() if "-m agent run" in command), None)

    def shown_url(self) -> str:
        """The page's address, as soon as it is printed: then the agent is ready."""
        assert self.process.stdout is not None
        line = "-"
        while line and "Sandbox" not in line:
            line = self.process.stdout.readline()
        assert line, "the sandbox ended before it was ready"
        return line.split()[-1]

    def until(self, condition: Callable[[], int | str | bool | None]) -> None:
        until = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until, "it did not happen in time"
            time.sleep(0.02)

    def end(self) -> tuple[int, str, str]:
        """Exit code and output; afterwards nothing may be left."""
        output, errors = self.process.communicate(timeout=DEADLINE_S)
        assert self.processes() == {}
        assert list(self.home.iterdir()) == []
        return self.process.returncode, output, errors


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    started: list[Started] = []

    def begin(*arguments: str, cwd: Path | None = None, **variables: str) -> Started:
        home = tmp_path / "tmp"
        home.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={"TMPDIR": str(home), "PATH": "/usr/local/bin:/usr/bin:/bin", "PORT_ORG_ID": "must not be used"}
            | variables,
        )
        started.append(Started(process, home))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def test_every_example_ends_as_it_says(start: Callable[..., Started]) -> None:
    code, output, errors = start("once").end()
    assert code == 0, output + errors
    assert output.count("✓") == len(ACTIONS), output
    assert "✗" not in output
    assert all(action.identifier in output for action in ACTIONS)


def test_ctrl_c_ends_everything(start: Callable[..., Started]) -> None:
    sandbox = start("page")
    with urllib.request.urlopen(sandbox.shown_url()) as page:  # noqa: S310 - loopback
        assert b"Create microservice" in page.read()
    sandbox.process.send_signal(signal.SIGINT)
    code, output, errors = sandbox.end()
    assert code == 0, errors
    assert "The copied examples are deleted" in output


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_a_number_that_is_no_port_is_refused_with_a_sentence(start: Callable[..., Started], port: str) -> None:
    code, output, errors = start("port", port).end()
    assert (code, output) == (2, "")
    assert errors == f"--port {port}: a port is a number from 1 to 65535, or 0 for any free one.\n"


def test_interrupted_before_it_is_ready_it_leaves_nothing_either(start: Callable[..., Started]) -> None:
    sandbox = start("once")
    sandbox.until(sandbox.agent)
    sandbox.process.send_signal(signal.SIGTERM)
    assert sandbox.end()[0] == 130


def test_an_agent_that_is_killed_is_noticed_and_what_it_ran_is_ended(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("""routes: [{name: x, match: {action: build_report}, process: {command: [sleep, "600"]}}]""")
    sandbox = start("page", str(routes))
    _invoke(sandbox.shown_url(), "build_report")
    sandbox.until(lambda: "sleep 600 " in sandbox.processes().values())
    os.kill(sandbox.agent() or 0, signal.SIGKILL)
    code, _, errors = sandbox.end()
    assert (code, "exit code -9" in errors) == (1, True), errors


def test_routes_that_the_agent_refuses_end_the_sandbox_with_its_words(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("routes: [{name: x, match: {action: y}, nonsense: {}}]")
    code, _, errors = start("page", str(routes)).end()
    assert code == 1
    assert "nonsense" in errors
    assert "the agent ended by itself" in errors


def test_routes_of_ones_own_have_no_expectations_to_be_checked_once(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    code, output, errors = start("once", str(tmp_path / "routes.yaml")).end()
    assert (code, output) == (2, "")
    assert errors.startswith("--once invokes the examples, which your routes do not know")


OWN_ROUTES = """
routes:
  - {name: here, match: {action: build_report}, process: {command: [./mark.sh, here]}}
  - {name: there, match: {action: deploy_to_production}, process: {command: [./mark.sh, there], cwd: sub}}
  - {name: module, match: {action: create_microservice}, python: {callable: "own_module:mark"}}
"""
MARK = """#!/bin/sh
echo "$0" > "%s/$1.mark"
"""
MODULE = """
from pathlib import Path

def mark(run):
    Path(r"%s", "module.mark").touch()
"""


def test_in_routes_of_ones_own_what_is_relative_counts_from_here_as_with_run(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "routes.yaml").write_text(OWN_ROUTES)
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "own_module.py").write_text(MODULE % tmp_path)
    (tmp_path / ".env").write_text("PORT_ORG_ID=org_other\nKAFKA_RUNS_TOPIC=another\nKAFKA_CONSUMER_GROUP_ID=x.y\n")
    (tmp_path / "sub").mkdir()
    for script in (tmp_path / "mark.sh", tmp_path / "sub" / "mark.sh"):
        script.write_text(MARK % tmp_path)
        script.chmod(0o755)
    sandbox = start("page", "conf/routes.yaml", cwd=tmp_path, AGENT_PYTHONPATH="modules")
    page_url = sandbox.shown_url()
    for action in ("build_report", "deploy_to_production", "create_microservice"):
        _invoke(page_url, action)
    marks = {name: tmp_path / f"{name}.mark" for name in ("here", "there", "module")}
    sandbox.until(lambda: all(mark.exists() for mark in marks.values()))
    sandbox.until(lambda: "mark.sh" in marks["there"].read_text())
    sandbox.until(lambda: "mark.sh" in marks["here"].read_text())
    assert marks["here"].read_text() == f"{tmp_path}/mark.sh\n"
    assert marks["there"].read_text() == "./mark.sh\n"
    sandbox.process.send_signal(signal.SIGINT)
    code, _, errors = sandbox.end()
    assert code == 0, errors


PRINTING = """
def shout(run):
    print("printed by the action", flush=True)
"""


def test_the_page_tells_what_the_agent_does_with_ones_own_routes(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    good = "routes: [{name: mine, match: {action: shout}, python: {callable: 'own_printing:shout'}}]"
    routes.write_text(good)
    (tmp_path / "own_printing.py").write_text(PRINTING)
    sandbox = start("page", str(routes))
    page_url = sandbox.shown_url()
    with urllib.request.urlopen(f"{page_url}/events", timeout=DEADLINE_S) as stream:  # noqa: S310 - loopback
        told = _Told(stream)
        told.until("routes", lambda routes: [one["action"] for one in routes["suggestions"]] == ["shout"])
        _invoke(page_url, "shout")
        told.until("runs", lambda runs: [run["status"] for run in runs] == ["SUCCESS"])
        _invoke(page_url, "whisper")
        told.until("runs", lambda runs: runs[1]["passedOver"] == "passed over: no route takes it")
        routes.write_text(good + "\nnonsense: 1")
        told.until("routes", lambda routes: "nonsense" in "".join(routes["problems"]))
        routes.write_text(good.replace("action: shout", "action: whisper"))
        told.until("routes", lambda routes: [one["action"] for one in routes["suggestions"]] == ["whisper"])
        assert told.last["problems"] == []
        _invoke(page_url, "whisper")
        told.until("runs", lambda runs: [run["status"] for run in runs[2:]] == ["SUCCESS"])
    sandbox.process.send_signal(signal.SIGINT)
    code, output, errors = sandbox.end()
    assert code == 0, errors
    assert output.count("printed by the action\n") == 2
    assert "run finished" in output
    assert "[debug" not in output
    assert "copied examples" not in output
    assert routes.exists()


class _Told:
    """The page's events, one after another."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.last: Any = None

    def until(self, wanted: str, condition: Callable[[Any], bool]) -> None:
        """Reads on to an event of this name that fulfils the condition; its content is `last`."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            name = self._stream.readline().decode().removeprefix("event: ").strip()
            self.last = json.loads(self._stream.readline().decode().removeprefix("data: "))
            self._stream.readline()
            if name == wanted and condition(self.last):
                return
        raise AssertionError(f"no such event of {wanted}; the last was {self.last}")


def _invoke(page_url: str, action: str) -> None:
    body = json.dumps({"own": True, "action": action, "inputs": {}}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{page_url}/invoke", body, headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
        assert answer.status == 200
