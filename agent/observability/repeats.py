"""When something that happens again and again is worth another line: pure, for tests with a clock of their own."""

from __future__ import annotations

from collections.abc import Hashable

_REMEMBERED = 256


class Repeats:
    """Lets the same thing through ``burst`` times per ``interval_s`` and counts what it held back. Not thread-safe.

    An interval begins with the first that is let through. Remembers the latest 256 different things; one forgotten
    counts as new.
    """

    def __init__(self, interval_s: float = 60.0, burst: int = 1) -> None:
        self._interval_s = interval_s
        self._burst = burst
        self._seen: dict[Hashable, tuple[float, int]] = {}

    def ask(self, key: Hashable, now_s: float) -> int | None:
        """``None``: hold this one back. Else let it through; how many were held back since the last one."""
        begun_at_s, asked = self._seen.pop(key, (float("-inf"), 0))
        if now_s - begun_at_s < self._interval_s:
            self._seen[key] = (begun_at_s, asked + 1)
            return 0 if asked < self._burst else None
        self._seen[key] = (now_s, 1)
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return max(0, asked - self._burst)
