"""When and how long to wait before a request is sent once more; pure, so that it can be tested as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Answers of Port's API after which the same request may succeed; 401 is handled by a fresh token."""

_EPOCH_THRESHOLD = 10**8
"""Port documents ``x-ratelimit-reset`` both as epoch seconds and as seconds to wait: no window lasts 3 years."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with full jitter on the upper ``jitter`` share. All times in seconds."""

    first_s: float = 0.5
    factor: float = 2.0
    cap_s: float = 32.0
    jitter: float = 0.2

    def wait_s(self, attempt: int, random01: float) -> float:
        """The wait after failed attempt number ``attempt`` (1, 2, …); ``random01`` is drawn by the caller."""
        exponent = min(attempt - 1, 63)
        full = min(self.cap_s, self.first_s * self.factor**exponent)
        return full * (1 - self.jitter * random01)


def server_wait_s(headers: Mapping[str, str], now_epoch_s: float, *, throttled: bool) -> float | None:
    """How long the server asks us to wait, or ``None`` if it does not say.

    ``Retry-After`` (seconds or a date) counts always, ``x-ratelimit-reset`` only when the request was
    ``throttled`` (429), read as seconds below 10^8 and as epoch seconds above. Never negative. ``headers`` must
    find names regardless of case.
    """
    wait = _retry_after_s(headers.get("retry-after"), now_epoch_s)
    if wait is None and throttled:
        wait = reset_wait_s(headers.get("x-ratelimit-reset"), now_epoch_s)
    return wait


def reset_wait_s(value: str | None, now_epoch_s: float) -> float | None:
    """Seconds until the rate-limit window ends, by either reading of ``x-ratelimit-reset``."""
    number = _finite(value)
    if number is None:
        return None
    return max(0.0, number if number < _EPOCH_THRESHOLD else number - now_epoch_s)


def _retry_after_s(value: str | None, now_epoch_s: float) -> float | None:
    if value is None:
        return None
    number = _finite(value)
    if number is not None:
        return max(0.0, number)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_epoch_s)
    except (ValueError, OverflowError):
        return None


def _finite(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and abs(number) < float("inf") else None
