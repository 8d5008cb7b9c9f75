"""What the probes answer: whether the agent should get work (ready), and whether it should go on (alive).

Neither asks the broker or Port's API: an outage there is no reason to restart the agent.
"""

from __future__ import annotations

import asyncio

from agent.domain.events import (
    DrainStarted,
    Event,
    Polled,
    ReadyChanged,
    Rebalanced,
    SourceFailed,
    TokenRefreshed,
)
from agent.observability.observers import EventTable
from agent.ports import Clock, Health, Observer

_BEAT_S = 1.0
_LEAST_TELLING = "_ALL_BROKERS_DOWN"
"""It follows whatever else went wrong, and says nothing of why."""
_NO_TOKEN = {
    "refused": "Port's API refuses the credentials; are PORT_CLIENT_ID and PORT_CLIENT_SECRET right?",
    "error": "Port's API cannot be reached",
}


class Readiness:
    """Ready once the source joined its group, be it with zero partitions, and Port took the credentials.

    From then on until the drain begins, unless the group is lost; an outage of Port later on changes nothing.
    Tells ``announce`` a `ReadyChanged` whenever the answer changes, so that it is logged and counted. Facts come
    from the consumer's thread and the event loop's; both only ever set attributes.
    """

    def __init__(self, announce: Observer) -> None:
        self._announce = announce
        self._health = Health(ok=False, reason="")
        self._group = "waiting to join the consumer group"
        self._group_error = ""
        self._port = "waiting for Port's API"
        self._draining = False
        self._become_what_is_true()
        self._table = EventTable()
        self._table.on(Rebalanced, self._rebalanced)
        self._table.on(SourceFailed, self._source_failed)
        self._table.on(TokenRefreshed, self._token_refreshed)
        self._table.on(DrainStarted, self._drain_started)

    def check(self) -> Health:
        """The answer for ``/readyz``."""
        return self._health

    def notify(self, event: Event) -> None:
        """Takes note of ``event``."""
        self._table.notify(event)

    def explain_port(self, problem: str) -> None:
        """Says why Port's API cannot be used, as far as it still counts."""
        if self._port:
            self._port = f"Port's API cannot be used: {problem}"
            self._become_what_is_true()

    def _rebalanced(self, event: Rebalanced) -> None:
        if event.event == "assigned":
            self._group = self._group_error = ""
        elif event.event == "lost":
            self._group = "lost its partitions; rejoining the consumer group"
            self._group_error = ""
        self._become_what_is_true()

    def _source_failed(self, event: SourceFailed) -> None:
        failure = f"{event.code}: {event.detail}"
        if event.fatal:
            self._group = f"the Kafka client failed for good: {failure}"
        elif self._group and not (event.code == _LEAST_TELLING and self._group_error):
            self._group_error = failure
            self._group = f"waiting to join the consumer group; last error: {failure}"
        self._become_what_is_true()

    def _token_refreshed(self, event: TokenRefreshed) -> None:
        if event.result == "ok":
            self._port = ""
        elif self._port:
            self._port = _NO_TOKEN.get(event.result, self._port)
        self._become_what_is_true()

    def _drain_started(self, _event: DrainStarted) -> None:
        self._become(Health(ok=False, reason="draining: no new runs are started"))
        self._draining = True

    def _become_what_is_true(self) -> None:
        missing = "; ".join(filter(None, (self._group, self._port)))
        self._become(Health(ok=not missing, reason=missing or "ready"))

    def _become(self, health: Health) -> None:
        if self._draining:
            return
        changed = health.ok != self._health.ok
        self._health = health
        if changed:
            self._announce.notify(ReadyChanged(health.ok, health.reason))


class Liveness:
    """Alive while the event loop beats and the consumer's thread polls; how the broker answers is no matter.

    Polls count from the first one on, for until then the source may be waiting for its credentials; and no
    longer once the drain began, which has its own deadline.
    """

    def __init__(self, clock: Clock, *, poll_limit_s: float = 120.0, beat_limit_s: float = 60.0) -> None:
        self._clock = clock
        self._poll_limit_s = poll_limit_s
        self._beat_limit_s = beat_limit_s
        self._beat_at_s = clock.monotonic()
        self._polled_at_s: float | None = None
        self._draining = False
        self._table = EventTable()
        self._table.on(Polled, self._polled)
        self._table.on(DrainStarted, self._drain_started)

    def check(self) -> Health:
        """The answer for ``/livez``."""
        now_s = self._clock.monotonic()
        silent_s = now_s - self._beat_at_s
        if silent_s > self._beat_limit_s:
            return Health(ok=False, reason=f"the event loop has not beaten for {silent_s:.0f} s")
        if self._polled_at_s is not None and not self._draining:
            unpolled_s = now_s - self._polled_at_s
            if unpolled_s > self._poll_limit_s:
                return Health(ok=False, reason=f"the consumer has not polled for {unpolled_s:.0f} s")
        return Health(ok=True, reason="alive")

    def notify(self, event: Event) -> None:
        """Takes note of ``event``."""
        self._table.notify(event)

    def beat(self) -> None:
        """The event loop is turning."""
        self._beat_at_s = self._clock.monotonic()

    async def keep_beating(self) -> None:
        """Beats once a second on the running event loop, until it is cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(_BEAT_S)

    def _polled(self, _event: Polled) -> None:
        self._polled_at_s = self._clock.monotonic()

    def _drain_started(self, _event: DrainStarted) -> None:
        self._draining = True
