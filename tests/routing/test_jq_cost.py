"""Which expressions may run where nothing can stop them."""

from __future__ import annotations

import time

import jq  # type: ignore[import-not-found]  # ships no types
import pytest

from agent.routing.jq_cost import is_affordable, weight
from agent.routing.jq_tokens import tokenize


def weigh(source: str) -> int | None:
    return weight(list(tokenize(source)), source)


@pytest.mark.parametrize(
    "source",
    [
        '.inputs.tags | join(",")',
        '.a.b // "none"',
        ".inputs | keys | map(ascii_upcase) | sort",
        'if .a == 1 and (.b | not) then {a, "b": [.c, 1]} else null end',
        '"\\(.a)-\\(.b | @base64)"',
        "{repeat: 1, input: .x} | .repeat",
        ".x // []",
        "[]",
        "env.REGION + $ENV.REGION",
        ".a[1:3]",
        ".a?",
    ],
)
def test_gentle_expressions_have_a_weight(source: str) -> None:
    found = weigh(source)
    assert found is not None
    assert is_affordable(found, 2000)


@pytest.mark.parametrize(
    "source",
    [
        "repeat(1)",
        "[range(9)]",
        "..",
        ".[]",
        ".a[]",
        ".[]?",
        '"a"[]',
        "$ENV[]",
        ". as $x | $x",
        "$x",
        "1 * 2",
        ".a - 1",
        ".a |= 1",
        ".a = 1",
        ".a // = 1",
        'test("a")',
        "def f: f; f",
        'split("a"; "g")',
        "recurse",
        "reduce .a as $x (0; 1)",
        "limit(1; .a)",
        "try .a catch .",
        '.a | getpath(["a"])',
        "any(.a; .)",
        '"\\(repeat(1))"',
        "[{a: repeat(1)}]",
        "{(repeat(1)): 1}",
        "." + " " * 1001,
    ],
)
def test_everything_else_has_none(source: str) -> None:
    assert weigh(source) is None


@pytest.mark.parametrize(
    "stage", ["[.,.]", "{a:.,b:.}", ".+.", "tojson", "@json", "@sh", "@uri", "(.,.)", '"\\(.)\\(.)"', "map(.,.)"]
)
def test_what_multiplies_step_by_step_soon_leaves_the_process(stage: str) -> None:
    found = weigh(" | ".join([stage] * 16))
    assert found is not None
    assert not is_affordable(found, 2)


@pytest.mark.parametrize("comment", ['# \\\n"', '# }} "', '# \\\r\n"'])
def test_a_comment_hides_nothing(comment: str) -> None:
    assert weigh(f'{comment}\n[limit(1e9; repeat(1))]\n# "') is None


@pytest.mark.parametrize(
    "source",
    [
        "map(ascii_downcase)",
        "to_entries",
        "map({key: tostring, value: 1}) | from_entries",
        'join(",")',
        "add",
        "group_by(.) | map(length)",
        "unique | sort | reverse",
        "to_entries | map(.value)",
        "tojson | fromjson",
        '[map(tojson), map(@base64)] | map(join(""))',
        'map(select(. == "x" or . == "y")) | length',
    ],
)
def test_what_is_affordable_is_quick_on_the_largest_message(source: str) -> None:
    """On the largest text that still runs here, made of as many small items as fit."""
    found = weigh(source)
    assert found is not None
    text = "[]"
    while is_affordable(found, len(text) + 5000):
        text = "[" + ",".join(['"aa"'] * (len(text) // 5 + 1000)) + "]"
    program = jq.compile(source)
    begun_s = time.thread_time()
    program.input_text(text).first()
    assert time.thread_time() - begun_s < 0.5
