"""Plain paths give exactly what jq gives."""

from __future__ import annotations

import json
from collections.abc import Callable

import jq  # type: ignore[import-not-found]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.invocation import View
from agent.domain.json import Json
from agent.routing.jq_errors import without_values
from agent.routing.jq_paths import PathError, as_jq, parse_path, walk

NAMES = st.sampled_from(["a", "b", "if", "_x1"]) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
EXACT = st.integers(-(2**53), 2**53)
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | EXACT | st.floats() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def paths(draw: st.DrawFn) -> str:
    """Source of a path, in every spelling that jq has for a step."""
    source = ""
    for _ in range(draw(st.integers(1, 3))):
        name = draw(NAMES)
        spellings = [f".{json.dumps(name)}", f".[{json.dumps(name)}]", f".[ {draw(st.integers(-3, 3))} ]"]
        if name.isascii() and name.isidentifier():
            spellings.append(f".{name}")
        if source:
            spellings += [f"[{json.dumps(name)}]", f" [{draw(st.integers(-3, 3))}]"]
        source += draw(st.sampled_from(spellings))
    return source


def outcome(evaluate: Callable[[], Json]) -> tuple[str, Json]:
    """What came of it, comparable: a value, or jq's words without values."""
    try:
        return "value", evaluate()
    except PathError as error:
        return "error", str(error)
    except ValueError as error:
        return "error", without_values(str(error), "")


@settings(deadline=None, max_examples=200)
@given(source=paths() | st.just("."), value=st.dictionaries(NAMES, VALUES, max_size=3) | VALUES)
def test_a_path_gives_what_jq_gives(source: str, value: Json) -> None:
    steps = parse_path(source)
    assert steps is not None, source
    assert outcome(lambda: walk(value, steps)) == outcome(
        lambda: jq.compile(source).input_text(json.dumps(value)).first()
    )


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from('.[]"a0- #?|,()\\'), max_size=8))
def test_what_counts_as_a_path_is_valid_jq(source: str) -> None:
    if parse_path(source) is not None:
        jq.compile(source)


@pytest.mark.parametrize(
    "source", ["", "..", '.["\\q"]', ".[]", ".a?", ".a|.b", '["a"]', ".[1.5]", ".[.a]", '.["a\\(1)"]', "env"]
)
def test_what_is_more_than_a_path_is_left_to_jq(source: str) -> None:
    assert parse_path(source) is None


def test_large_integers_stay_exact() -> None:
    large = 12345678901234567891
    assert walk({"id": large}, ("id",)) == large


def test_values_come_out_as_jq_would_have_them() -> None:
    assert walk({"a": "x\ud800y"}, ("a",)) == "x�y"
    assert walk({"a": {"b\udfff": [float("nan"), float("-inf"), 2.0]}}, ("a",)) == {
        "b�": [None, -1.7976931348623157e308, 2]
    }
    assert isinstance(as_jq(2.0), int)
    assert View({"a": (1, 2)}).value == {"a": (1, 2)}
    assert walk({"a": (1, 2)}, ("a",)) == [1, 2]
