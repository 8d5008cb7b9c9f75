"""When to ask for which kind of runs next; pure. All times are seconds, those of the clock monotonic."""

from __future__ import annotations

from dataclasses import dataclass

from agent.domain.invocation import InvocationKind
from agent.domain.retry import Backoff

_LEAST_S = 0.05
"""Never asked more often than this, whatever the settings say: requests are counted."""
_LOOK_S = 2.0
"""How soon it is looked for room again: that costs no request."""
_MOST_FACTOR = 1_000.0
_ABSENT_S = 300.0
"""How soon a way of asking is tried again that Port does not know."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often Port is asked.

    ``interval_s`` lies between claims that gave less than was asked for; ``gap_s`` at least between those that are
    made sooner, as more is pending and slots became free. ``jitter`` is the share of a wait after an error that is
    added to it by lot.
    """

    interval_s: float = 10.0
    first_backoff_s: float = 1.0
    backoff_factor: float = 2.0
    max_backoff_s: float = 300.0
    jitter: float = 0.1
    gap_s: float = 0.25

    def backoff_s(self, failures: int, random01: float) -> float:
        """The wait after so many failures in a row; ``random01`` is drawn by the caller."""
        factor = min(self.backoff_factor, _MOST_FACTOR)  # the power of a larger one is no number any more
        backoff = Backoff(self.first_backoff_s, factor, self.max_backoff_s, jitter=0.0)
        return max(_LEAST_S, backoff.wait_s(failures, 0.0)) * (1 + self.jitter * random01)


class Line:
    """The claims of one kind, one after another. ``next_at_s`` is when the next one is due."""

    def __init__(self, kind: InvocationKind, pace: Pace, now_s: float) -> None:
        self.kind = kind
        self.next_at_s = now_s
        self._pace = pace
        self._asked_at_s = now_s
        self._failures = 0
        self._failing_since_s = now_s
        self._has_more = False
        self._was_put_off = False

    @property
    def failing_since_s(self) -> float | None:
        """When the first claim failed of those that failed in a row; ``None`` where the last one did not."""
        return self._failing_since_s if self._failures else None

    def asked(self, now_s: float) -> None:
        """A claim is made now."""
        self._asked_at_s = now_s
        self._was_put_off = False

    def put_off(self, until_s: float) -> bool:
        """Leaves the next claim to others until then. ``False`` the second time, lest it is never made."""
        if self._was_put_off:
            return False
        self._was_put_off = True
        self.next_at_s = until_s
        return True

    def had_no_room(self, now_s: float) -> None:
        """Nothing could be asked for: no slot is free, as far as is known yet."""
        self._has_more = True
        self.next_at_s = now_s + max(_LEAST_S, min(_LOOK_S, self._pace.interval_s))

    def gave(self, count: int, limit: int, now_s: float) -> None:
        """The claim gave ``count`` of the ``limit`` that were asked for: as many mean that there may be more."""
        self._failures = 0
        self._has_more = count >= limit
        self.next_at_s = now_s + max(_LEAST_S, 0.0 if self._has_more else self._pace.interval_s)

    def failed(self, wait_s: float, random01: float, now_s: float) -> float:
        """The claim failed, and Port wants to be left alone for ``wait_s``; returns how long is waited."""
        if not self._failures:
            self._failing_since_s = now_s
        self._failures += 1
        waited_s = max(wait_s, self._pace.backoff_s(self._failures, random01))
        self.next_at_s = now_s + waited_s
        return waited_s

    def is_absent(self, now_s: float) -> None:
        """Port does not know this kind of claim."""
        self._failures = 0
        self.next_at_s = now_s + _ABSENT_S

    def slots_became_free(self) -> None:
        """More is asked for soon, if there may be more."""
        if self._has_more and not self._failures:
            self.next_at_s = min(self.next_at_s, self._asked_at_s + self._pace.gap_s)
