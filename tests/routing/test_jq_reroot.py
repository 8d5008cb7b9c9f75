"""A rewritten expression gives of the wrapped document what the first one gives of the document."""

from __future__ import annotations

import itertools

import jq  # type: ignore[import-not-found]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.json import Json
from agent.routing.jq_reroot import rerooted

DOCUMENTS: list[Json] = [
    {"a": {"a": 1, "b": "x", "c": [1, {"a": 2}]}, "b": {"b": {"c": 3}}, "c": "t"},
    {"a": None, "b": [], "c": {"a": "y"}},
    {"a": "text", "b": 7, "c": True, "a b": {"a": 5}},
    {},
]


def result(source: str, document: Json) -> tuple[str, Json]:
    """The first result, or that it failed."""
    try:
        return "gave", next(iter(jq.compile(source).input_value(document)), None)
    except ValueError:
        return "failed", None


def message(name: str) -> str:
    return f".message.{name}" if name else ".message"


@pytest.mark.parametrize(
    ("source", "anew"),
    [
        (".a.b", ".message.a.b"),
        (".", ".message"),
        ('.["a b"]', '.message["a b"]'),
        ('."a b".a', '.message."a b".a'),
        ('"x" + .a.b', '"x" + .message.a.b'),
        (".a | .b", ".message.a | .b"),
        (".a as $x | .b as $y | $x + .c", ".message.a as $x | .message.b as $y | $x + .message.c"),
        ("(.a | .b) + .c", "(.message.a | .b) + .message.c"),
        ("if .a | not then .b else . end", "if .message.a | not then .message.b else .message end"),
        ("{a: .a, b: (.b | .b)}", "{a: .message.a, b: (.message.b | .b)}"),
        ("{a: .a | .b, b: .c}", "{a: .message.a | .b, b: .message.c}"),
        ('"\\(.a | .b)-\\(.c)"', '"\\(.message.a | .b)-\\(.message.c)"'),
        (".c[.a.a]", ".message.c[.message.a.a]"),
        ("env.a + .a", "env.a + .message.a"),
        ("[.a, .b][0]", "[.message.a, .message.b][0]"),
        ('@uri "x\\(.c)"', '@uri "x\\(.message.c)"'),
        ("try .a.b", "try .message.a.b"),
    ],
)
def test_reads_of_the_document_are_written_anew(source: str, anew: str) -> None:
    assert rerooted(source, message) == anew
    for document in DOCUMENTS:
        assert result(anew, {"message": document}) == result(source, document)


@pytest.mark.parametrize(
    "source",
    [
        "length",
        "{a}",
        '{"a"}',
        "{@text}",
        '{"\\(.a)": 1}',
        "map(.a)",
        "..",
        ".a = 1",
        ".a |= 2",
        "def f: .a; f",
        "reduce .b[] as $x (0; . + $x)",
        "@json",
        "try error(.a) catch .",
        ". as [$x] ?// $x | $x",
        'has("a")',
    ],
)
def test_where_it_cannot_be_told_nothing_is_rewritten(source: str) -> None:
    assert rerooted(source, message) is None


def test_a_member_that_has_no_place_gives_up() -> None:
    places = {"body": ".message", "response": ".response"}
    assert rerooted(".body.a + .response.b", places.get) == ".message.a + .response.b"
    assert rerooted(".payload.a", places.get) is None
    assert rerooted(".", places.get) is None


TERMS = st.sampled_from(
    [".", ".a", ".a.b", ".b?", ".c[0]", ".a.c[1].a", '"t"', "1", "null", "$ENV.x", "env.x", ".[]?"]
)


def composed(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda p: f"{p[0]} | {p[1]}"),
        pair.map(lambda p: f"({p[0]}) + ({p[1]})"),
        pair.map(lambda p: f"({p[0]}) // ({p[1]})"),
        pair.map(lambda p: f"({p[0]}) == ({p[1]})"),
        pair.map(lambda p: f"[{p[0]}, {p[1]}]"),
        pair.map(lambda p: f"{{a: ({p[0]}), b: ({p[1]})}}"),
        pair.map(lambda p: f'"\\({p[0]})-\\({p[1]})"'),
        pair.map(lambda p: f"({p[0]}) as $v | ({p[1]}) + $v"),
        pair.map(lambda p: f"(({p[0]}) as $v | {p[1]})"),
        pair.map(lambda p: f"if {p[0]} then {p[1]} else . end"),
        pair.map(lambda p: f"({p[0]}) | map({p[1]})"),
        inner.map(lambda e: f"({e})?"),
        inner.map(lambda e: f"({e}) | tostring"),
    )


@settings(max_examples=300, deadline=None)
@given(st.recursive(TERMS, composed, max_leaves=6))
def test_whatever_the_expression(source: str) -> None:
    anew = rerooted(source, message)
    if anew is None:
        return
    for document in DOCUMENTS:
        assert result(anew, {"message": document}) == result(source, document), anew


def test_most_expressions_can_be_rewritten() -> None:
    """Else the test above would show nothing."""
    simple = [".", ".a", ".a.b", '"t"', "env.x"]
    made = [f"({one}) as $v | {other} | [$v]" for one, other in itertools.product(simple, simple)]
    assert all(rerooted(source, message) for source in made)
