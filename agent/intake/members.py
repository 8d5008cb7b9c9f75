"""The members of a JSON object together with where they stand in the text, so that some can be cut out of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

from agent.intake.skim import value_end

_DECODER = json.JSONDecoder()
_MAX_DECODED_CHARS = 4 * 1024 * 1024
"""Members of longer texts are not decoded to find their ends: decoded, some take a hundred times the memory."""


class Member(NamedTuple):
    """One ``"name": value`` of an object, which stands in ``source`` from ``start`` to ``end``."""

    name: str
    source: str
    start: int
    value_start: int
    end: int

    @property
    def text(self) -> str:
        """Name and value as they were received."""
        return self.source[self.start : self.end]

    @property
    def label(self) -> str:
        """What stands before the value: the name and its colon."""
        return self.source[self.start : self.value_start]

    @property
    def is_object(self) -> bool:
        """Whether the value is an object."""
        return self.source[self.value_start] == "{"


def members(source: str, position: int) -> list[Member]:
    """The members of the object that opens at ``position``, also repeated ones.

    ``source`` must be valid JSON, but for numbers of whatever size and nesting of whatever depth.
    """
    found: list[Member] = []
    position = skip_space(source, position + 1)
    while source[position] != "}":
        name, name_end = _DECODER.raw_decode(source, position)
        colon = skip_space(source, name_end)
        value_start = skip_space(source, colon + 1)
        end = _end(source, value_start)
        found.append(Member(name, source, position, value_start, end))
        position = skip_space(source, end)
        if source[position] == ",":
            position = skip_space(source, position + 1)
    return found


def _end(source: str, start: int) -> int:
    if len(source) <= _MAX_DECODED_CHARS:
        try:
            return _DECODER.raw_decode(source, start)[1]
        except (ValueError, RecursionError):  # too many digits, or too deep
            pass
    return value_end(source, start)


def rewritten(parts: Iterable[Member], rewrite: Callable[[Member], str | None]) -> str:
    """An object of ``parts``, each replaced by ``rewrite`` of it or, where that is ``None``, cut.

    Between the members the result has no spaces.
    """
    pieces = (rewrite(member) for member in parts)
    return "{" + ",".join(piece for piece in pieces if piece is not None) + "}"


def skip_space(source: str, position: int) -> int:
    """The next position at or after ``position`` that holds something else than JSON's white space."""
    while source[position] in " \t\n\r":
        position += 1
    return position
