from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.domain.errors import ConfigurationError
from agent.executors.callables import load_callable


@pytest.fixture(autouse=True)
def _house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules can be put into ``tmp_path``; they are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_may_stand_in_a_package_and_in_a_class(tmp_path: Path) -> None:
    (tmp_path / "house_actions").mkdir()
    (tmp_path / "house_actions" / "scaffold.py").write_text(
        "class Repo:\n    @staticmethod\n    def create(run, retries=3): return f'made for {run}'\n"
    )
    assert load_callable("house_actions.scaffold:Repo.create", "path")("ada") == "made for ada"


def test_a_function_in_c_that_does_not_tell_its_parameters_is_trusted() -> None:
    assert load_callable("builtins:print", "path") is print


@pytest.mark.parametrize(
    ("source", "name", "expected"),
    [
        (None, "no_such_module:f", "there is no module 'no_such_module' (set AGENT_PYTHONPATH"),
        (None, "json.no_such:f", "there is no module 'json.no_such' (set AGENT_PYTHONPATH"),
        ("import no_such_thing", "house:f", "house needs the module 'no_such_thing', which is missing"),
        ("1 / 0", "house:f", "importing house failed: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "house:f", "importing house failed: SystemExit: 3"),
        ("def create(): ...", "house:crate", "has no 'crate' (did you mean 'create'?)"),
        ("f = 7", "house:f", "house:f is a int, not a function"),
        ("def f(): ...", "house:f", "house:f takes (), not one argument (it is called with the run"),
        ("def f(run, name): ...", "house:f", "house:f takes (run, name), not one argument"),
        ("def f(*, run): ...", "house:f", "house:f takes (*, run), not one argument"),
    ],
)
def test_what_is_wrong_with_a_function(tmp_path: Path, source: str | None, name: str, expected: str) -> None:
    if source is not None:
        (tmp_path / "house.py").write_text(source)
    with pytest.raises(ConfigurationError) as caught:
        load_callable(name, "routes[0].python.callable")
    (problem,) = caught.value.problems
    assert problem.path == "routes[0].python.callable"
    assert expected in f"{problem.message} ({problem.hint})"
