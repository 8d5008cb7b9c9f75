"""Reports that Port must still take, and when there are too many of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Backlog:
    """Counts the reports that are under way: while Port is away they pile up, and that must have a bound."""

    def __init__(self, max_reports: int, max_bytes: int) -> None:
        self._max_reports = max_reports
        self._max_bytes = max_bytes
        self._reports = 0
        self._bytes = 0

    @property
    def has_room(self) -> bool:
        """Whether more runs may end; one large report may pass the bound, the next may not begin."""
        return self._reports < self._max_reports and self._bytes < self._max_bytes

    @contextmanager
    def counting(self, size_bytes: int) -> Iterator[None]:
        """One report, from when it is ready until Port has it."""
        self._reports += 1
        self._bytes += size_bytes
        try:
            yield
        finally:
            self._reports -= 1
            self._bytes -= size_bytes
