"""What is said of the jq here is what it does; of jq 1.5 its own source tells."""

from __future__ import annotations

import jq  # type: ignore[import-not-found]  # ships no types
import pytest

from agent.domain.json import Json
from agent.routing.jq_dialect import DIFFERENCES, differences

FAILS = "fails"

HERE: list[tuple[str, str, Json]] = [
    ("@uri", '"a!*\'()~" | @uri', "a%21%2A%27%28%29~"),
    ("indices", '"äxbx" | indices("x")', [1, 3]),
    ("indices", '"aaa" | indices("aa")', [0, 1]),
    ("index", '"äx" | index("x")', 1),
    ("rindex", '"äxx" | rindex("x")', 2),
    ("tonumber", '" 1" | tonumber', FAILS),
    ("ltrimstr", '1 | ltrimstr("a")', FAILS),
    ("rtrimstr", '1 | rtrimstr("a")', FAILS),
    ("join", '[1, true, null] | join(",")', "1,true,"),
    ("limit", "[limit(-1; 1, 2)]", FAILS),
    ("last", "[last(empty)]", []),
    ("nth", "[nth(5; 1, 2)]", []),
    ("gsub", '"ababc" | gsub("^ab"; "")', "abc"),
    ("gsub", '"ab" | gsub(""; "-")', "-a-b-"),
    ("mktime", "[2015, 2] | mktime", 1425081600),
    ("..", "[{a: null} | ..]", [{"a": None}, None]),
    ("recurse", "[{a: null} | recurse]", [{"a": None}, None]),
    ("map_values", "{a: 1} | map_values(empty)", {}),
    ("|=", "{a: 1} | .a |= empty", {}),
    ("try", '[try 1 | error("x")]', FAILS),
]


@pytest.mark.parametrize(("word", "source", "result"), HERE)
def test_what_it_does_here(word: str, source: str, result: Json) -> None:
    assert list(differences(source)) == [word]
    if result == FAILS:
        with pytest.raises(ValueError, match=r"."):
            jq.compile(source).input_value(None).first()
    else:
        assert jq.compile(source).input_value(None).first() == result


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("2 | if . == 1 then 3 end", 2),
        ('"a" * 0', ""),
        ("[-1 as $x | 1, $x]", [1, -1]),
        ("1.0 | tostring", "1.0"),
        ("100000000000000000001 | tostring", "100000000000000000001"),
        ('"abc" | indices("")', []),
    ],
)
def test_what_no_word_tells(source: str, result: Json) -> None:
    assert jq.compile(source).input_value(None).first() == result


def test_all_of_them_are_looked_at() -> None:
    assert {word for word, _, _ in HERE} == set(DIFFERENCES)


@pytest.mark.parametrize(
    "source", [".index", "{index: .a}", ".a | last", ".a | nth(1)", '"gsub"', ".limit.join", "nth(last)", "[.a][0]"]
)
def test_names_that_call_nothing_of_the_kind_are_left_alone(source: str) -> None:
    assert list(differences(source)) == []
