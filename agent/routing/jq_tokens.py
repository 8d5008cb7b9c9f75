"""Cuts jq source into tokens: enough to find where a template ends, and what an expression uses."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

_CODE = re.compile(
    r"""
      (?P<space>[ \t\r\n]+ | \#(?:[^\\\n]|\\(?:\r?\n|[^\n]|\Z))*)
    | (?P<string>"(?:[^"\\]|\\[^(])*")
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<field>\.[A-Za-z_][A-Za-z0-9_]*)
    | (?P<name>(?:[A-Za-z_][A-Za-z0-9_]*::)*[A-Za-z_][A-Za-z0-9_]*)
    | (?P<variable>\$[A-Za-z_][A-Za-z0-9_:]*)
    | (?P<format>@[A-Za-z0-9_]+)
    | (?P<op>\?//=?|//=|[=!<>|+*/%-]=|//|\.\.|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PAIRS = {"(": ")", "[": "]", "{": "}", "\\(": ")"}


@dataclass(frozen=True, slots=True)
class Token:
    r"""One piece of jq source.

    ``kind`` is string, number, field (``.name``), name, variable, format or op. A string with interpolations comes
    as its opening quote and, for each of them, ``\(``, what it encloses and ``)``. ``enclosing`` is the bracket
    that a token stands in (outermost: empty text); an opening bracket stands outside of what it encloses, its
    closing one inside.
    """

    kind: str
    text: str
    start: int
    enclosing: str


def tokenize(source: str, start: int = 0, *, in_template: bool = False) -> Iterator[Token]:
    """The tokens of ``source`` from ``start`` on, without blanks and comments. Never raises.

    A comment ends with its line, unless a backslash at the end continues it on the next one. ``in_template`` it
    also ends at a ``}}`` that stands outside of brackets. Where a string is unfinished the tokens end.
    """
    brackets: list[str] = []
    position = start
    while position < len(source):
        found = _CODE.match(source, position)
        if found is None:  # pragma: no cover - the pattern's last alternative takes any character
            return
        kind, text, position = found.lastgroup or "", found.group(), found.end()
        if kind == "space":
            if in_template and not brackets and (end := text.find("}}")) >= 0:
                position = found.start() + end
            continue
        yield Token(kind, text, found.start(), _top(brackets))
        if text == '"':  # a string that is not plain: it holds interpolations, or never ends
            position = yield from _text(source, position, brackets)
        elif text in _PAIRS:
            brackets.append(text)
        elif brackets and text == _PAIRS[brackets[-1]] and brackets.pop() == "\\(":
            position = yield from _text(source, position, brackets)


def _text(source: str, position: int, brackets: list[str]) -> Generator[Token, None, int]:
    """Inside of a string: up to its end, or into its next interpolation. Returns where to go on."""
    while position < len(source) and source[position] != '"':
        if source.startswith("\\(", position):
            yield Token("op", "\\(", position, _top(brackets))
            brackets.append("\\(")
            return position + 2
        position += 2 if source[position] == "\\" else 1
    return position + 1


def _top(brackets: list[str]) -> str:
    return brackets[-1] if brackets else ""
