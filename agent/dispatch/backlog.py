"""Reports that Port must still take, and when there are too many of them. Pure."""

from __future__ import annotations


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

    def begin(self, size_bytes: int) -> bool:
        """One more report is ready to be told. Whether that took the last room."""
        return self._count(1, size_bytes)

    def end(self, size_bytes: int) -> bool:
        """Port has it, or nobody tells it any more. Whether there is room again."""
        return self._count(-1, -size_bytes)

    def _count(self, reports: int, size_bytes: int) -> bool:
        had_room = self.has_room
        self._reports += reports
        self._bytes += size_bytes
        return self.has_room != had_room
