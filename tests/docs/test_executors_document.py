"""docs/executors.md is true: the environment of commands, and the tests of an action that it shows."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from agent.domain.outcome import Succeeded
from agent.executors.process import ProcessFactory
from agent.testing import FakeRun, FakeTemplates, fake_services

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TEXT = (Path(__file__).parents[2] / "docs" / "executors.md").read_text()


def test_the_environment_of_a_command_is_what_the_table_says() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| .* \| (yes|no) \|$", TEXT, re.MULTILINE)
    ours = {name: who == "yes" for names, who in rows for name in re.findall(r"\w+", names)}
    may_be_set = {name for name, yes in ours.items() if yes}
    assert _environment({}).keys() == ours.keys()
    by_env = _environment({"env": dict.fromkeys(may_be_set | {"MORE"}, "by the route")})
    assert {name for name, value in by_env.items() if value == "by the route"} == may_be_set | {"MORE"}
    assert by_env.keys() == ours.keys() | {"MORE"}
    by_pass_env = _environment({"pass_env": [*may_be_set, "THERE", "NOT_THERE"]})
    assert {name for name, value in by_pass_env.items() if value == "the agent's"} == may_be_set | {"THERE"}


def test_the_values_are_what_the_table_says() -> None:
    run = FakeRun(traceparent=TRACEPARENT)
    seen = _environment({}, run)
    assert seen["HOME"] == seen["TMPDIR"] == str(Path(seen["AGENT_OUTPUT"]).parent)
    assert (seen["RUN_ID"], seen["ACTION"], seen["BLUEPRINT"]) == (
        run.run_id,
        "create_microservice",
        "microservice",
    )
    assert f"| `PATH` | `{seen['PATH']}` |" in TEXT
    assert seen["TRACEPARENT"] == TRACEPARENT
    assert "TRACEPARENT" not in _environment({}, FakeRun())
    assert f"| `LANG` | `{seen['LANG']}` |" in TEXT


def _environment(options: dict[str, object], run: FakeRun | None = None) -> dict[str, str]:
    """What a command with these options has for an environment; the agent's has everything."""
    names = ("HOME", "TMPDIR", "PATH", "LANG", "TRACEPARENT", "THERE", "OTHER")

    async def scenario(run: FakeRun) -> None:
        factory = ProcessFactory(fake_services(environment=dict.fromkeys(names, "the agent's")))
        executor = factory.prepare({"command": ["/usr/bin/env"], **options}, "process", FakeTemplates())  # type: ignore[dict-item]  # JSON, all of it
        assert await executor.execute(run) == Succeeded()
        await factory.close()

    with run or FakeRun(traceparent=TRACEPARENT) as used:
        asyncio.run(scenario(used))
        return dict(line.text.split("=", 1) for line in used.lines)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ModuleType, str]]:
    """The tests that the document shows, beside the action that they are about."""
    action, tests = re.findall(r"^```python \S+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "my_actions.py").write_text(action)
    (tmp_path / "shown_tests.py").write_text(tests)
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        yield importlib.import_module("shown_tests"), tests
    finally:
        for name in ("my_actions", "shown_tests"):
            sys.modules.pop(name, None)


def test_the_tests_of_an_action_pass(modules: tuple[ModuleType, str]) -> None:
    module, source = modules
    names = re.findall(r"^def (test_\w+)", source, re.MULTILINE)
    assert len(names) == 3
    for name in names:
        getattr(module, name)()


def test_everything_that_a_fake_run_records_is_described() -> None:
    with FakeRun() as run:
        for name in [*vars(run), "sync", "lines", "log_text", "dropped_bytes", "workspace"]:
            assert name.startswith("_") or f"`{name}`" in TEXT or f"`run.{name}`" in TEXT, name
