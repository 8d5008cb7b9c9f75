"""When and how long to wait before a request is sent once more; pure, so that it can be tested as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache

_EPOCH_THRESHOLD = 10**8
"""Port documents ``x-ratelimit-reset`` both as epoch seconds and as seconds to wait: no window lasts 3 years."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits, of which the upper ``jitter`` share (0 to 1) is drawn by lot. All times in seconds."""

    first_s: float = 0.5
    factor: float = 2.0
    cap_s: float = 32.0
    jitter: float = 0.2

    def wait_s(self, attempt: int, random01: float) -> float:
        """The wait after failed attempt number ``attempt`` (1, 2, …); ``random01`` is drawn by the caller."""
        exponent = min(attempt - 1, 63)
        full = min(self.cap_s, self.first_s * self.factor**exponent)
        return full * (1 - self.jitter * random01)


def is_transient(status_code: int) -> bool:
    """Whether the same request may succeed after this answer: 408, 429, 5xx; 401 calls for a fresh token first."""
    return status_code in (408, 429) or 500 <= status_code < 600


def server_wait_s(headers: Mapping[str, str], now_epoch_s: float, *, throttled: bool) -> float | None:
    """How long the server asks us to wait, or ``None`` if it does not say.

    ``Retry-After`` (seconds or a date) counts always, ``x-ratelimit-reset`` only when the request was
    ``throttled`` (429) and no request remains in the window. Never negative. ``headers`` must find names
    regardless of case; ``now_epoch_s`` is best taken from `server_epoch_s`, so that a wrong clock of ours does
    not matter.
    """
    wait = _retry_after_s(headers.get("retry-after"), now_epoch_s)
    if wait is None and throttled and not _finite(headers.get("x-ratelimit-remaining")):
        wait = reset_wait_s(headers.get("x-ratelimit-reset"), now_epoch_s)
    return wait


def reset_wait_s(value: str | None, now_epoch_s: float) -> float | None:
    """Seconds until the rate-limit window ends, by either reading of ``x-ratelimit-reset``.

    Below 10^8 it is seconds to wait, above it epoch seconds. ``None`` where it is missing or no number.
    """
    number = _finite(value)
    if number is None:
        return None
    return max(0.0, number if number < _EPOCH_THRESHOLD else number - now_epoch_s)


def server_epoch_s(headers: Mapping[str, str]) -> float | None:
    """The server's clock by its ``Date`` header, in epoch seconds to the second; ``None`` if it tells none."""
    return _date_epoch_s(headers.get("date", ""))


def _retry_after_s(value: str | None, now_epoch_s: float) -> float | None:
    if value is None:
        return None
    number = _finite(value)
    if number is not None:
        return max(0.0, number)
    date = _date_epoch_s(value)
    return None if date is None else max(0.0, date - now_epoch_s)


@lru_cache(16)
def _date_epoch_s(value: str) -> float | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    # "-0000" says UTC without saying where: such a date comes without a zone.
    return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()


def _finite(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
