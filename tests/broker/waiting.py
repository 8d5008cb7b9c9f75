"""Waiting for something that happens in another process, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], *, timeout_s: float, what: str | Callable[[], str], pause_s: float = 0.05
) -> T:
    """The first true value of ``condition``; fails the test if none comes within ``timeout_s``.

    ``what`` says what was waited for; as a function it is called only then, and may tell how things stand.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline_s:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {timeout_s:g} s for {told}; last seen: {value!r}")
        time.sleep(pause_s)
