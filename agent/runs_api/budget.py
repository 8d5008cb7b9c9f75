"""The organisation's request budget, as the last answers tell it; pure but for what it remembers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from agent.domain.events import RateBudget
from agent.domain.retry import reset_wait_s

_LOW_SHARE = 0.1
_LOW_COUNT = 50
_WINDOW_S = 60.0
"""How long word of a budget is believed where the answer does not say when it ends."""
_SHORTEST_S = 0.05


@dataclass(frozen=True, slots=True)
class Window:
    """The window that goes on, as an answer told it.

    ``remaining`` requests are left, ``spare`` of them beyond the reserve; less than 0: so many fewer than the
    reserve. It lasts until ``ends_s`` (monotonic), which was ``left_s`` from the answer on. Each later one allows
    ``usual_rate`` a second beyond the reserve; ``None`` where Port does not tell.
    """

    remaining: int
    spare: float
    left_s: float
    ends_s: float
    usual_rate: float | None


class RequestBudget:
    """Knows whether requests that can wait should wait. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._low_until_s = 0.0
        self.window: Window | None = None
        """As the last answer told it; ``None`` before the first that did."""

    def note(self, headers: Mapping[str, str], now_s: float, now_epoch_s: float) -> RateBudget | None:
        """Reads an answer's ``x-ratelimit-*`` headers; ``None`` where it has none."""
        remaining = _count(headers.get("x-ratelimit-remaining"))
        if remaining is None:
            return None
        limit, reserve, usual_rate = _terms(headers.get("x-ratelimit-limit"), headers.get("x-ratelimit-period"))
        wait_s = reset_wait_s(headers.get("x-ratelimit-reset"), now_epoch_s)
        left_s = _WINDOW_S if wait_s is None else wait_s
        self._low_until_s = now_s + left_s if remaining < reserve else 0.0
        self.window = Window(remaining, remaining - reserve, max(_SHORTEST_S, left_s), now_s + left_s, usual_rate)
        return RateBudget(remaining, limit)

    def low_for_s(self, now_s: float) -> float:
        """How long the budget will be low; 0 while there is enough."""
        return max(0.0, self._low_until_s - now_s)


@lru_cache(4)
def _terms(limit: str | None, period: str | None) -> tuple[int | None, float, float | None]:
    """The limit, the reserve, and the usual rate beyond it: the same in all answers, as a rule."""
    count, period_s = _count(limit), _number(period)
    reserve = _reserve(count)
    usual_rate = (count - reserve) / period_s if count and period_s and period_s > 0 else None
    return count, reserve, usual_rate


def _reserve(limit: int | None) -> float:
    """What is kept for requests that cannot wait.

    A tenth of the limit or fifty requests, whichever is more; but half of a very small limit.
    """
    if limit is None:
        return _LOW_COUNT
    return max(_LOW_SHARE * limit, min(_LOW_COUNT, limit / 2))


def _count(value: str | None) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _number(value: str | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
