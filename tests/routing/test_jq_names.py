"""Names that no view has are refused at load, and nothing that may be meant otherwise."""

from __future__ import annotations

import jq  # type: ignore[import-not-found]  # ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.invocation import InvocationMethod
from agent.routing.jq_names import AFTER_THE_WORK, BEFORE_THE_WORK, top_names
from agent.routing.jq_tokens import tokenize
from tests.routing.helpers import invocation


def read_names(source: str) -> list[str]:
    jq.compile(source)
    return list(top_names(list(tokenize(source))))


def test_the_names_are_those_of_the_views() -> None:
    assert tuple(invocation(method=InvocationMethod()).view.value) == BEFORE_THE_WORK
    assert set(AFTER_THE_WORK) - set(BEFORE_THE_WORK) == {"response", "request", "outputs"}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        (".a", ["a"]),
        (".a.b.c", ["a"]),
        (".a[0].b", ["a"]),
        ('.a["b"]', ["a"]),
        (".a | .b", ["a"]),
        (".a // .b", ["a", "b"]),
        ("[.a, {x: .b, y: .c}]", ["a", "b", "c"]),
        ("(.a | .b) + .c", ["a", "c"]),
        ('"x\\(.a)y\\(.b | .c)z" + .d', ["a", "b", "d"]),
        ('@uri "x\\(.a)"', ["a"]),
        ("if .a then .b elif .c and .d then 1 else .e end", ["a", "b", "c", "d", "e"]),
        ("-.a < .b", ["a", "b"]),
        ("{(.a): 1}", ["a"]),
        ("{a: .b | .c, d: .e}", ["b"]),
        (".a # .b", ["a"]),
    ],
)
def test_names_that_are_surely_read(source: str, names: list[str]) -> None:
    assert read_names(source) == names


@pytest.mark.parametrize(
    "source",
    [
        ".",
        '.["a"]',
        '."a"',
        ".a?",
        "..",
        ".. | .a",
        "[..|.a?]",
        "map(.a)",
        "to_entries | map(.value.a)",
        ".[].a",
        ".[.a]",
        ". as $x | .a",
        ". as {a: $x} | $x",
        "reduce .a[] as $x (0; . + $x.b)",
        "def f: .a; f",
        "try .a catch .b",
        ".a = 1 | .b",
        ".a |= 1",
        ".a += 1",
        'has("a") and .a',
        'select(.a) | "x"',
        "first(.a)",
        "env.a",
        "$ENV.a",
        "{a: 1}.a",
        "(. + {a: 1}).a",
        "[1][0].a",
        '"x\\(1)".a',
        "if . then . else . end.a",
        "{a}",
        '{"a": 1, label: 2} | .a',
        '".a"',
        'error("no .a")',
        "now.a",
    ],
)
def test_what_may_see_something_else_is_let_through(source: str) -> None:
    assert read_names(source) == []


FREE = st.sampled_from([".zzz", ".zzz.y", ".zzz[0]", ".inputs.zzz", "map(.zzz)", '"\\(.zzz)"', "[.zzz, 1]"])
"""What reads a name that no view has."""
KNOWN = st.sampled_from(
    [".inputs", ".inputs.zzz", ".entity.zzz[0].run", ".", ".run.id", ".[]", "1", '"zzz .zzz"', "null"]
)


@st.composite
def legitimate(draw: st.DrawFn, depth: int = 3) -> str:
    """An expression that reads known names of the document, and any names of what it makes of them."""
    if depth == 0:
        return draw(KNOWN)
    inner = legitimate(depth - 1)
    form = draw(st.integers(0, 13))
    one, two, free = draw(inner), draw(inner), draw(FREE)
    operator = draw(st.sampled_from(["+", "//", "==", ",", "and", "<=", "-"]))
    return [
        one,
        f"({one}) {operator} ({two})",
        f"({one} | {free})",
        f"[{one}, {two}]",
        f'{{zzz: ({one}), "x": {draw(KNOWN)}}}',
        f'"\\({one}) .zzz \\({two})"',
        f"map({free})",
        f"[{one} | {free}, {free}]",
        f"({one}).zzz",
        f"(({one}) as $zzz | {free} | $zzz)",
        f"if {one} then {two} else {draw(inner)} end",
        f"({one} | select({free}))",
        f"(try ({free}) catch {free})",
        f"{{zzz: {draw(KNOWN)} | {free}}}",
    ][form]


@settings(deadline=None, max_examples=300)
@given(legitimate())
def test_no_legitimate_expression_reads_an_unknown_name(source: str) -> None:
    assert "zzz" not in read_names(source)


@st.composite
def mistaken(draw: st.DrawFn, depth: int = 3) -> str:
    """An expression that reads ``.zzz`` of the document itself, where no reader can doubt it."""
    if depth == 0:
        return draw(st.sampled_from([".zzz", ".zzz.inputs", ".zzz[0]", '.zzz["a"].b', ".zzz[]"]))
    wrong, known = draw(mistaken(depth - 1)), draw(KNOWN)
    operator = draw(st.sampled_from(["+", "//", "==", ",", "or", ">", "*"]))
    return [
        wrong,
        f"({wrong})",
        f"{known} {operator} ({wrong})",
        f"{wrong} | {known}",
        f"[{known}, {wrong}]",
        f"{{x: {known}, y: ({wrong})}}",
        f'"a\\({known})b\\({wrong})"',
        f"if {wrong} then {known} else {known} end",
        f"({known} | .x) {operator} ({wrong})",
        f"{wrong} | map(.y)",
    ][draw(st.integers(0, 9))]


@settings(deadline=None, max_examples=300)
@given(mistaken())
def test_a_name_that_is_plainly_read_of_the_document_is_found(source: str) -> None:
    assert "zzz" in read_names(source)
