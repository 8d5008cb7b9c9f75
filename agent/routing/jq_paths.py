"""Plain paths (``.entity.tags[0]``), walked in Python with jq's own results: most expressions are no more."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from agent.domain.json import Json
from agent.routing.jq_tokens import Token, tokenize

PlainPath: TypeAlias = tuple[str | int, ...]
"""The steps of a path: names of members and indices of items."""

_INDEX = re.compile(r"[0-9]{1,9}")
_SURROGATES = re.compile("[\ud800-\udfff]")
_EXACT_FLOAT = 2.0**53
_LARGEST = 1.7976931348623157e308


class PathError(Exception):
    """A step that jq refuses, in jq's words."""


def parse_path(source: str) -> PlainPath | None:
    """The steps of ``source`` if it is a plain path, else ``None``: then only jq can tell whether it is valid."""
    tokens = list(tokenize(source))
    if [t.text for t in tokens] == ["."]:
        return ()
    steps: list[str | int] = []
    position = 0
    while position < len(tokens):
        step, position = _step(tokens, position)
        if step is None:
            return None
        steps.append(step)
    return tuple(steps) or None


def walk(value: Json, path: PlainPath) -> Json:
    """What jq gives for ``path``. Raises `PathError` where jq does, `RecursionError` for a bottomless result."""
    for step in path:
        if value is None:
            return None
        if isinstance(step, str):
            if not isinstance(value, Mapping):
                raise PathError(f"Cannot index {_type_name(value)} with string")
            value = value.get(step)
        else:
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise PathError(f"Cannot index {_type_name(value)} with number")
            value = value[step] if -len(value) <= step < len(value) else None
    return as_jq(value)


def as_jq(value: Json) -> Json:
    """``value`` as it comes back from jq: plain dicts and lists, no lone surrogates, NaN or infinities."""
    match value:
        case str():
            return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
        case float():
            return _number(value)
        case None | bool() | int():
            return value
        case Mapping():
            return {str(as_jq(name)): as_jq(member) for name, member in value.items()}
        case _:
            return [as_jq(item) for item in value]


def _step(tokens: list[Token], position: int) -> tuple[str | int | None, int]:
    """The step that begins at ``position`` (``None``: not a plain one), and where the next one begins."""
    token = tokens[position]
    if token.kind == "field":
        return token.text[1:], position + 1
    texts = [t.text for t in tokens[position : position + 5]]
    if token.text == ".":
        if position + 1 < len(tokens) and tokens[position + 1].kind == "string":
            return _string(tokens[position + 1].text), position + 2
        texts, position = texts[1:], position + 1
    elif position == 0:
        return None, position  # only a dot may begin a path: `["a"]` makes a list
    if len(texts) >= 3 and texts[0] == "[" and texts[2] == "]":
        if tokens[position + 1].kind == "string":
            return _string(texts[1]), position + 3
        if _INDEX.fullmatch(texts[1]):
            return int(texts[1]), position + 3
    if len(texts) >= 4 and texts[:2] == ["[", "-"] and texts[3] == "]" and _INDEX.fullmatch(texts[2]):
        return -int(texts[2]), position + 4
    return None, position


def _string(literal: str) -> str | None:
    try:
        text = json.loads(literal, strict=False)
    except ValueError:
        return None
    return text if isinstance(text, str) and not _SURROGATES.search(text) else None


def _number(value: float) -> Json:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return math.copysign(_LARGEST, value)
    return int(value) if value.is_integer() and abs(value) < _EXACT_FLOAT else value


def _type_name(value: Json) -> str:
    match value:
        case bool():
            return "boolean"
        case str():
            return "string"
        case int() | float():
            return "number"
        case Mapping():
            return "object"
        case _:
            return "array"
