"""A clock that a test sets."""

from __future__ import annotations


class StillClock:
    """Stands still unless ``now_s`` is changed."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s

    def epoch(self) -> float:
        return 1_700_000_000.0 + self.now_s
