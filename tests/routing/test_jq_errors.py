"""What may be repeated of jq's words."""

from __future__ import annotations

import time

import jq  # type: ignore[import-not-found]  # ships no types
import pytest

from agent.routing.jq_errors import WITHHELD, compile_error, compile_error_alone, shown, without_values
from agent.routing.jq_hints import compile_hint_alone


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('Cannot index number with "pin"', "Cannot index number with"),
        (
            "parse error: Exceeds depth limit for parsing at line 1, column 10001",
            "the message is nested too deeply for jq",
        ),
        ('string ("a (b) c") and number (1) cannot be added', "string cannot be added"),
        ("object ({...) cannot be parsed as a number", "object cannot be parsed as a number"),
        ("Cannot iterate over null (null)", "Cannot iterate over null"),
        ("Invalid numeric literal at EOF at line 1, column 6 (while parsing 's3cret')", "Invalid numeric literal"),
        ("hello is missing", WITHHELD),
        ("4711", WITHHELD),
        ("", WITHHELD),
        ("()", WITHHELD),
    ],
)
def test_values_are_cut_out_or_all_is_withheld(message: str, expected: str) -> None:
    assert without_values(message, ".a") == expected


@pytest.mark.parametrize("piece", ['\\"', '"\\', " (", "at line ", 'date "x" '])
def test_what_a_long_message_says_is_not_searched_for(piece: str) -> None:
    """It was handed to `error`, say as ``error(.inputs.text)``; once this took time with its length squared."""
    begun_s = time.thread_time()
    assert without_values(piece * 200_000, "error(.inputs.text)") == WITHHELD
    assert time.thread_time() - begun_s < 1


def test_a_long_text_of_the_expression_itself_is_told() -> None:
    text = "name is missing " * 100
    assert without_values(text, f'error("{text}")') == text


def test_compile_errors_without_a_place_are_told_too() -> None:
    assert compile_error("jq: error: module not found: a\n\njq: 1 compile error", 2) == "module not found: a"
    assert compile_error("", 2) == "it does not compile"


def test_expressions_are_shown_on_one_line_and_cut() -> None:
    assert shown(".a\n  | .b") == ".a | .b"
    assert shown("x" * 200) == "x" * 119 + "…"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("Bearer s3cret", "syntax error, unexpected a name, expecting end of file (column 8)"),
        (".a\n| Bearer s3cret", "syntax error, unexpected a name, expecting end of file (line 2, column 10)"),
        ("s3cret", "jq knows no such name (column 1)"),
        ("$s3cret", "jq knows no such name (column 1)"),
        ("s3cret::s3cret", "jq knows no such name (column 1)"),
        ("break $s3cret", "jq knows no such name (column 1)"),
        ('"s3cret\\s3cret"', "jq refuses it (column 8)"),
        ("{(1234): 1}", "jq refuses it (column 3)"),
        ('import "s3cret" as $x; 1', "jq refuses it"),
        ("if s3cret then 1", "syntax error, unexpected end of file (column 16)"),
    ],
)
def test_of_an_expression_that_does_not_compile_no_word_is_repeated(source: str, told: str) -> None:
    with pytest.raises(ValueError, match="jq: error") as caught:
        jq.compile(source)
    found = compile_error_alone(str(caught.value), 1)
    assert found == told
    assert "s3cret" not in found + compile_hint_alone(str(caught.value), source)
