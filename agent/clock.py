"""The machine's clock."""

from __future__ import annotations

import time


class SystemClock:
    """`agent.ports.Clock` over the operating system's clocks."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    def epoch(self) -> float:
        """Seconds since 1970."""
        return time.time()
