"""What can still be found in a message that cannot be read in full: which run it is, of which action, for whom.

A message may be larger, deeper or stranger than the agent takes, and yet be a run of ours, which must not stay in
progress for ever. Here it is read without what is long or deep in it: enough to end its run, and nothing to act on.
"""

from __future__ import annotations

import json
import re

from agent.domain.json import Json

MAX_SKIMMED_BYTES = 64 * 1024 * 1024
"""Longer ones are not looked at: the client fetches no more than about that at once."""
MAX_TOKENS = 100_000
"""Strings and brackets; it takes some tenths of a second to walk so many."""
MAX_LEFT_CHARS = 1024 * 1024

_LONG_STRING_CHARS = 4096
_LONG_VALUE_CHARS = 64 * 1024
_PLACES_DEPTH = 3
"""What a run, its action and its headers are told by stands no deeper; the values there are small."""
_DEEP = 32
_MAX_DIGITS = 400

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?P<end>")?|[\[\]{}]', re.DOTALL)
"""A string, also one that does not end, or a bracket. Linear on whatever text: nothing is tried twice."""
_SCALAR_END = re.compile(r"[\s,\]}]|\Z")


def skim(body: bytes) -> tuple[str, Json] | None:
    """The text of ``body``, and its document with what is long or deep replaced by ``null`` or ``""``.

    Numbers and words that are no JSON come as 0 and ``null``. ``None`` where not even that can be read, or only at
    length. Never raises.
    """
    if len(body) > MAX_SKIMMED_BYTES:
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    shortened = _shortened(text)
    if shortened is None:
        return None
    try:
        document: Json = _LENIENT.decode(shortened)
    except (ValueError, RecursionError):
        return None
    return text, document


def value_end(text: str, start: int) -> int:
    """Where the JSON value ends that begins at ``start``: past its last character. Bounded by nothing but the text.

    Of what is no JSON it gives some end within the text.
    """
    if text[start : start + 1] not in ('"', "[", "{"):
        found = _SCALAR_END.search(text, start)
        return found.start() if found is not None else len(text)
    depth = 0
    for token in _TOKEN.finditer(text, start):
        first = text[token.start()]
        depth += (first in "[{") - (first in "]}")
        if depth <= 0:
            return token.end()
    return len(text)


def _shortened(text: str) -> str | None:
    cuts = _cuts(text)
    if cuts is None:
        return None
    pieces: list[str] = []
    position = 0
    for start, end in cuts:
        pieces += text[position:start], '""' if text[start] == '"' else "null"
        position = end
    pieces.append(text[position:])
    shortened = "".join(pieces)
    return shortened if len(shortened) <= MAX_LEFT_CHARS else None


def _cuts(text: str) -> list[tuple[int, int]] | None:
    """What is to be left out, in order. ``None`` where brackets or strings do not close, or there are too many."""
    cuts: list[tuple[int, int]] = []
    opened: list[int] = []
    for count, token in enumerate(_TOKEN.finditer(text)):
        start, end = token.span()
        first = text[start]
        if count > MAX_TOKENS:
            return None
        if first == '"':
            if token["end"] is None:
                return None
            if end - start > _LONG_STRING_CHARS:
                cuts.append((start, end))
        elif first in "[{":
            opened.append(start)
        elif not opened:
            return None
        else:
            begun, depth = opened.pop(), len(opened) + 1
            if _is_left_out(text, begun, end, depth):
                while cuts and cuts[-1][0] > begun:
                    cuts.pop()
                cuts.append((begun, end))
    return None if opened else cuts


def _is_left_out(text: str, start: int, end: int, depth: int) -> bool:
    has_no_place = depth > _PLACES_DEPTH or (depth > 1 and text[start] == "[")
    return depth > _DEEP or (has_no_place and end - start > _LONG_VALUE_CHARS)


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else 0


def _number(literal: str) -> float:
    number = float(literal)
    return number if number - number == 0 else 0.0


_LENIENT = json.JSONDecoder(parse_float=_number, parse_int=_integer, parse_constant=lambda _name: None)
