from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.invocation import View
from agent.domain.json import JsonObject
from agent.domain.outcome import Outcome, Succeeded
from agent.executors.registry import GROUP, ExecutorRegistry
from agent.ports import Executor, ExecutorServices, RunContext, TemplateCompiler
from agent.testing import FakeRun, FakeTemplates, fake_services

_PLUG_IN = """
class Good:
    def __init__(self, services): self.services = services
    def options_schema(self): return {"type": "object"}
    def prepare(self, options, path, templates): return (options, path)
    async def close(self): pass

class Bad(Good):
    def __init__(self, services): raise RuntimeError("no licence")

class Useless:
    def __init__(self, services): pass
    def prepare(self, options, path, templates): pass
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on the path in which distributions can be installed."""
    (tmp_path / "plug_in_of_a_stranger.py").write_text(_PLUG_IN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(where: Path, distribution: str, **executors: str) -> None:
    info = where / f"{distribution}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    lines = [f"{name} = plug_in_of_a_stranger:{attribute}" for name, attribute in executors.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))


def problems(caught: pytest.ExceptionInfo[ConfigurationError]) -> tuple[Problem, ...]:
    return caught.value.problems


def test_the_built_in_executors_are_found_like_any_other() -> None:
    registry = ExecutorRegistry.load(fake_services())
    assert {"http", "process", "python"} <= set(registry.names)
    assert registry.names == tuple(sorted(registry.names))
    for name in registry.names:
        assert registry.options_schema(name)["type"] == "object"
    asyncio.run(registry.close())


def test_a_strangers_executor_stands_beside_them(installed: Path) -> None:
    install(installed, "stranger", ansible="Good")
    registry = ExecutorRegistry.load(fake_services())
    assert "ansible" in registry.names
    prepared: object = registry.prepare("ansible", {"a": 1}, "routes[0].ansible", FakeTemplates())
    assert prepared == ({"a": 1}, "routes[0].ansible")
    asyncio.run(registry.close())


def test_broken_ones_refuse_to_start_and_all_are_named(installed: Path) -> None:
    install(installed, "first", one="Bad", two="Missing")
    install(installed, "second", three="Useless")
    with pytest.raises(ConfigurationError) as caught:
        ExecutorRegistry.load(fake_services())
    text = {problem.where: str(problem) for problem in problems(caught)}
    assert set(text) == {"executor 'one'", "executor 'two'", "executor 'three'"}
    assert "of first 1.2 cannot be loaded: RuntimeError: no licence" in text["executor 'one'"]
    assert "AttributeError" in text["executor 'two'"]
    assert "it has no options_schema, close" in text["executor 'three'"]
    assert "second 1.2" in text["executor 'three'"]


def test_a_name_that_two_claim_refuses_to_start(installed: Path) -> None:
    install(installed, "stranger", http="Good")
    with pytest.raises(ConfigurationError) as caught:
        ExecutorRegistry.load(fake_services())
    (problem,) = problems(caught)
    assert "stranger 1.2" in problem.message
    assert "port-action-agent" in problem.message
    assert problem.where == "executor 'http'"


def test_a_setting_that_an_executor_refuses_is_told_as_it_is() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ExecutorRegistry.load(fake_services(environment={"ALL_PROXY": "socks5://p"}))
    assert [problem.where for problem in problems(caught)] == ["ALL_PROXY"]


def test_an_entry_point_without_distribution_is_named_all_the_same() -> None:
    point = EntryPoint("odd", "no.such.module:Thing", GROUP)
    with pytest.raises(ConfigurationError, match=r"no\.such\.module:Thing of an unknown distribution"):
        ExecutorRegistry.load(fake_services(), [point])


def test_unknown_names_are_key_errors() -> None:
    registry = ExecutorRegistry({})
    with pytest.raises(KeyError):
        registry.options_schema("nothing")
    with pytest.raises(KeyError):
        registry.prepare("nothing", {}, "", FakeTemplates())


class Sound:
    """A factory, typed as strangers would write it."""

    def __init__(self, services: ExecutorServices) -> None:
        self.services = services
        self.closed = 0

    def options_schema(self) -> JsonObject:
        return {"type": "object"}

    def prepare(self, options: JsonObject, path: str, templates: TemplateCompiler) -> Executor:
        del options, path, templates
        return _SoundExecutor()

    async def close(self) -> None:
        self.closed += 1


class _SoundExecutor:
    async def execute(self, run: RunContext) -> Outcome:
        del run
        return Succeeded()

    async def preview(self, view: View) -> JsonObject:
        return view.value


class Stuck(Sound):
    async def close(self) -> None:
        raise OSError("stuck")


def test_closing_reaches_every_factory_even_if_one_is_stuck() -> None:
    stuck, sound = Stuck(fake_services()), Sound(fake_services())
    registry = ExecutorRegistry({"a": stuck, "b": sound})
    assert asyncio.run(registry.prepare("b", {}, "", FakeTemplates()).execute(FakeRun())) == Succeeded()
    with pytest.raises(ExceptionGroup, match="could not be closed"):
        asyncio.run(registry.close())
    assert sound.closed == 1
