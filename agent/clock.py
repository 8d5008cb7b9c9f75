"""The machine's clock."""

from __future__ import annotations

import time


class SystemClock:
    """`agent.ports.Clock` over the operating system's clocks, which are asked some thirty times a run."""

    monotonic = staticmethod(time.monotonic)
    """Seconds that only go forward."""

    epoch = staticmethod(time.time)
    """Seconds since 1970."""
