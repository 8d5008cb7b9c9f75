"""Whether Port's API is away, as told by what became of the requests to it: pure, with the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass

from agent.domain.events import ApiRequested

_HICCUP_S = 5.0


@dataclass(frozen=True, slots=True)
class PastOutage:
    """How long no request was answered, and how many failed meanwhile."""

    lasted_s: float
    failed_requests: int

    @property
    def is_hiccup(self) -> bool:
        """Whether it was so short that the requests, sent once more, hardly came later."""
        return self.lasted_s < _HICCUP_S


class Outage:
    """Begins with a request that nobody answers, or that ends in a 5xx, and is over with the next answer.

    A refusal (4xx, also 429) is an answer; a request that was cancelled tells nothing. Not thread-safe: each
    observer keeps its own, under its own lock. Times are monotonic.
    """

    def __init__(self) -> None:
        self.since_s: float | None = None
        """Since when no request is answered; ``None`` while they are."""
        self._failed = 0

    def requested(self, event: ApiRequested, now_s: float) -> PastOutage | None:
        """Takes note of a request that ended; the outage that its answer ended, if one was."""
        if event.code == "cancelled":
            return None
        if not event.code.isdigit() or int(event.code) >= 500:
            self.since_s = now_s if self.since_s is None else self.since_s
            self._failed += 1
            return None
        if self.since_s is None:
            return None
        over = PastOutage(now_s - self.since_s, self._failed)
        self.since_s, self._failed = None, 0
        return over
