"""What shows of a command before it is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.domain.json import Json
from agent.domain.outcome import Failed
from agent.executors.process import ProcessFactory
from agent.ports import Noting
from agent.testing import FakeRun, FakeTemplates, fake_services
from tests.executors.process_helpers import execute


def notes(command: list[Json], **options: Json) -> list[str]:
    """What `check` would be told of a route with this command."""
    services = fake_services(environment={"PATH": "/nowhere"})
    executor = ProcessFactory(services).prepare(
        {"command": command, **options}, "routes[0].process", FakeTemplates()
    )
    assert isinstance(executor, Noting)
    return list(executor.notes())


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, int], str]:
    def write(text: str, mode: int) -> str:
        file = tmp_path / "script"
        file.write_text(text, newline="")
        file.chmod(mode)
        return str(file)

    return write


def test_a_command_that_can_be_run_gives_no_notes(script: Callable[[str, int], str], tmp_path: Path) -> None:
    assert notes(["sh", "-c", "exit"]) == []
    assert notes([script("#! /bin/sh\n", 0o755)]) == []
    assert notes(["./script"], cwd=str(tmp_path)) == []
    assert notes(["script"], env={"PATH": str(tmp_path)}) == []


def test_what_depends_on_the_message_gives_no_notes() -> None:
    assert notes(["{{ .inputs.program }}"]) == []
    assert notes(["no-such-program"], env={"PATH": "{{ .inputs.path }}"}) == []


def test_a_program_that_is_not_there_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert notes(["./none.sh"]) == [f"its program {tmp_path}/none.sh does not exist here"]
    [note] = notes(["./none.sh bill"])
    assert note.endswith('each is an element of the list: ["./none.sh", "bill"]')
    [note] = notes(["no-such-program"])
    assert note.startswith("its program no-such-program is not on the PATH that the route gives (/usr/local/sbin:")
    [note] = notes(["sh"], pass_env=["PATH"])
    assert note.endswith("(/nowhere)")


def test_a_program_that_cannot_be_executed_is_noted(script: Callable[[str, int], str]) -> None:
    file = script("#!/bin/sh\n", 0o644)
    assert notes([file]) == [f"its program {file} is not executable (chmod +x)"]


def test_a_directory_that_is_not_there_is_noted_once() -> None:
    assert notes(["./x.sh"], cwd="/no/such") == ["its directory /no/such does not exist here"]


def test_windows_line_ends_are_told_before_and_when_it_is_run(script: Callable[[str, int], str]) -> None:
    file = script("#!/bin/sh\r\necho hi\r\n", 0o755)
    [note] = notes([file])
    with FakeRun() as run:
        outcome = execute(run, [file])
    assert isinstance(outcome, Failed)
    for told in (note, outcome.reason):
        assert "the line ends as on Windows; save the script with Unix line ends (LF)" in told
    [note] = notes([script("#!/no/such/interpreter\n", 0o755)])
    assert note.endswith("the interpreter that its first line names does not exist")
