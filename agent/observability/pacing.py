"""Rendering that cannot take the event loop over, however often it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

_SHARE = 0.1


class Paced:
    """Renders anew only so often that rendering takes at most a tenth of one core; else gives the last one.

    What took 5 ms is thus up to 50 ms old, never more, and a crowd of clients costs what one costs. Belongs to
    the event loop's thread.
    """

    def __init__(
        self,
        render: Callable[[], bytes],
        *,
        now_s: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        self._render = render
        self._now_s = now_s
        self._cpu_s = cpu_s
        self._body = b""
        self._good_until_s = float("-inf")

    def __call__(self) -> bytes:
        """What `render` gives, or gave a moment ago. Raises what it raises."""
        if self._now_s() >= self._good_until_s:
            begun_s = self._cpu_s()
            self._body = self._render()
            self._good_until_s = self._now_s() + (self._cpu_s() - begun_s) / _SHARE
        return self._body
