"""Bytes of the search read as decisions, so that one bit more or less is one decision more or less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Choices:
    """Takes decisions from ``source`` until it is used up; after that all numbers are their smallest."""

    def __init__(self, source: bytes) -> None:
        self._rest = source

    def __bool__(self) -> bool:
        return bool(self._rest)

    def raw(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer where no more are left."""
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.raw(len(self._rest))

    def number(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        size = ((high - low).bit_length() + 7) // 8
        return low + int.from_bytes(self.raw(size), "big") % (high - low + 1)

    def one_of(self, items: Sequence[Item]) -> Item:
        """One of ``items``."""
        return items[self.number(0, len(items) - 1)]

    def flag(self) -> bool:
        """Yes or no."""
        return self.number(0, 1) == 1
