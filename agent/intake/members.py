"""The members of a JSON object together with where they stand in the text, so that some can be cut out of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import NamedTuple

_DECODER = json.JSONDecoder()


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
    """The members of the object that opens at ``position``, also repeated ones. ``source`` must be valid JSON."""
    found: list[Member] = []
    position = skip_space(source, position + 1)
    while source[position] != "}":
        name, name_end = _DECODER.raw_decode(source, position)
        colon = skip_space(source, name_end)
        value_start = skip_space(source, colon + 1)
        end = _DECODER.raw_decode(source, value_start)[1]
        found.append(Member(name, source, position, value_start, end))
        position = skip_space(source, end)
        if source[position] == ",":
            position = skip_space(source, position + 1)
    return found


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
