"""Tokens of jq source."""

from __future__ import annotations

import jq  # type: ignore[import-not-found]  # ships no types
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.routing.jq_tokens import tokenize


def texts(source: str) -> list[str]:
    return [token.text for token in tokenize(source)]


def test_strings_are_whole_unless_they_interpolate() -> None:
    assert texts('"a } b" | "x \\(.y | "z\\(1)") }" , 2') == [
        '"a } b"',
        "|",
        '"',
        "\\(",
        ".y",
        "|",
        '"',
        "\\(",
        "1",
        ")",
        ")",
        ",",
        "2",
    ]


def test_every_token_knows_the_bracket_it_stands_in() -> None:
    enclosing = {token.text: token.enclosing for token in tokenize("{a: [1, (2)]} | 3")}
    assert enclosing == {
        "{": "",
        "a": "{",
        ":": "{",
        "[": "{",
        "1": "[",
        ",": "[",
        "(": "[",
        "2": "(",
        ")": "(",
        "]": "[",
        "}": "{",
        "|": "",
        "3": "",
    }


def test_comments_and_blanks_are_left_out() -> None:
    assert texts(".a # ) input\n | .b") == [".a", "|", ".b"]


COMMENTS = st.text(st.sampled_from('\\\r\n#} "a'), max_size=12)


@given(COMMENTS, COMMENTS)
@example("\\", '"\n[limit(9; repeat(1))]\n# "')
@example("\\\r", "+ 2")
@example('}} "', '+ 2\n# "')
@example("\\\\", "+ 2")
@settings(deadline=None)
def test_a_comment_is_what_jq_takes_for_one(first: str, second: str) -> None:
    """What only looked like a text to us once ran inside of the agent, where nothing could stop it."""
    source = f"1 #{first}\n{second}\n+ 4"
    try:
        wanted = jq.compile(source).input_text("null").all()
    except ValueError:
        return
    assert jq.compile(" ".join(texts(source))).input_text("null").all() == wanted


def test_in_a_template_a_comment_ends_where_the_template_does() -> None:
    assert [t.text for t in tokenize('.a # }} "', in_template=True)] == [".a", "}", "}", '"']
    assert [t.text for t in tokenize('[.a # }} "\n ] }}', in_template=True)] == ["[", ".a", "]", "}", "}"]
    assert texts('.a # }} "') == [".a"]


def test_operators_and_names_are_told_apart() -> None:
    assert [(t.kind, t.text) for t in tokenize("$x::y ?// m::f @uri .5 .. .e //= 1e3")] == [
        ("variable", "$x::y"),
        ("op", "?//"),
        ("name", "m::f"),
        ("format", "@uri"),
        ("number", ".5"),
        ("op", ".."),
        ("field", ".e"),
        ("op", "//="),
        ("number", "1e3"),
    ]


@given(st.text() | st.text(st.sampled_from('"\\(){}[]#\n .a'), max_size=30))
def test_any_text_can_be_cut(source: str) -> None:
    position = 0
    for token in tokenize(source):
        assert token.start >= position
        assert source.startswith(token.text, token.start)
        position = token.start + len(token.text)
