"""Whether Port's API is away, as told by what became of the requests to it: pure, with the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass

from agent.domain.events import ApiRequested

_HICCUP_S = 5.0
_NOBODY_ASKS_S = 420.0
"""More than two tries of a request are ever apart: 300 s that Port may ask for, and 70 s without an answer."""
_QUIET_S = 90.0
"""The same where Port does not ask for more."""


@dataclass(frozen=True, slots=True)
class PastOutage:
    """How long no request was answered, as far as requests told, and how many failed meanwhile."""

    lasted_s: float
    failed_requests: int

    @property
    def is_hiccup(self) -> bool:
        """Whether it was so short that the requests, sent once more, hardly came later."""
        return self.lasted_s < _HICCUP_S


class Outage:
    """Begins with a request that nobody answers, or that ends in a 5xx, and is over with the next answer.

    A refusal (4xx, also 429) is an answer; a request that was cancelled tells nothing. It lasts as long as requests
    have told: from the first that failed to the latest. Where nobody has asked for a while, nobody knows whether it
    goes on. Not thread-safe: each observer keeps its own, under its own lock. Times are monotonic.

    ``by_route``: an answer says nothing of other routes. It is over once each that failed has answered, or with any
    answer when none has failed for a while: what failed may be asked for no more.
    """

    def __init__(self, *, by_route: bool = False) -> None:
        self._by_route = by_route
        self._routes: set[str] = set()
        """Those that have failed and not answered since."""
        self._since_s: float | None = None
        self._latest_s = 0.0
        self._failed = 0

    def lasts_s(self, now_s: float) -> float | None:
        """How long no request has been answered; ``None`` while they are, or nobody asks any more."""
        if self._since_s is None or self._is_stale(now_s):
            return None
        return self._latest_s - self._since_s

    def requested(self, event: ApiRequested, now_s: float) -> PastOutage | None:
        """Takes note of a request that ended; the outage that its answer ended, if one was."""
        if event.code == "cancelled":
            return None
        if not event.code.isdigit() or int(event.code) >= 500:
            if self._since_s is None or self._is_stale(now_s):
                self._begin(now_s)
            if self._by_route:
                self._routes.add(event.route)
            self._latest_s = now_s
            self._failed += 1
            return None
        if self._since_s is None:
            return None
        self._routes.discard(event.route)
        if self._routes and now_s - self._latest_s < _QUIET_S:
            return None
        told_s = self._latest_s if self._routes or self._is_stale(now_s) else now_s
        over = PastOutage(told_s - self._since_s, self._failed)
        self._begin(None)
        return over

    def _begin(self, since_s: float | None) -> None:
        self._since_s, self._failed = since_s, 0
        self._routes.clear()

    def _is_stale(self, now_s: float) -> bool:
        return now_s - self._latest_s >= _NOBODY_ASKS_S
