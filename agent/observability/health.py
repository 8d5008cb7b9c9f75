"""What the probes answer: whether the agent should get work (ready), and whether it should go on (alive).

Neither asks the broker or Port's API: an outage there is no reason to restart the agent.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence

from agent.domain.events import (
    AliveChanged,
    ClaimsAsked,
    DrainStarted,
    Event,
    PartitionStatus,
    Polled,
    ReadyChanged,
    Rebalanced,
    SourceFailed,
    TokenRefreshed,
    WaitingChanged,
)
from agent.domain.invocation import InvocationKind
from agent.observability.observers import EventTable
from agent.ports import Clock, Ear, Health, Observer

_BEAT_S = 1.0
_LEAST_TELLING = "_ALL_BROKERS_DOWN"
"""It follows whatever else went wrong, and says nothing of why."""
_NO_TOKEN = {
    "refused": "Port's API refuses the credentials; are PORT_CLIENT_ID and PORT_CLIENT_SECRET right?",
    "error": "Port's API gives no access token",
}


class Readiness:
    """Ready once the source joined its group, be it with zero partitions, and Port took the credentials.

    From then on until the drain begins, unless the group is lost; an outage of Port later on changes nothing.
    Where the ``source`` is ``polling``: while the last claim of action runs succeeded.
    Tells ``announce`` a `ReadyChanged` whenever the answer changes, so that it is logged and counted. Facts come
    from the consumer's thread and the event loop's; both only ever set attributes.
    """

    def __init__(self, announce: Observer, *, source: str = "kafka") -> None:
        self._announce = announce
        self._health = Health(ok=False, reason="")
        self._waiting = "waiting to claim runs" if source == "polling" else "waiting to join the consumer group"
        self._client = "polling" if source == "polling" else "the Kafka client"
        self._group = self._waiting
        self._group_error = ""
        self._port = "waiting for Port's API"
        self._draining = False
        self._become_what_is_true()
        self._table = EventTable()
        self._table.on(Rebalanced, self._rebalanced)
        self._table.on(SourceFailed, self._source_failed)
        self._table.on(ClaimsAsked, self._claims_asked)
        self._table.on(TokenRefreshed, self._token_refreshed)
        self._table.on(DrainStarted, self._drain_started)

    def check(self) -> Health:
        """The answer for ``/readyz``."""
        return self._health

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return self._table.ears(kind)

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
            self._group = f"{self._client} failed for good: {failure}"
        elif self._group and not (event.code == _LEAST_TELLING and self._group_error):
            self._group_error = failure
            self._group = f"{self._waiting}; last error: {failure}"
        self._become_what_is_true()

    def _claims_asked(self, event: ClaimsAsked) -> None:
        if event.kind == InvocationKind.ACTION_RUN:
            failing = f"{self._waiting}; last error: {event.detail}"
            self._group = "" if event.result == "ok" else failing
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
    """Alive while what has work makes progress: the event loop, the source's thread, each partition.

    Whatever stands still for longer than ``stall_timeout_s`` fails it: the loop without a beat; the source
    without a poll (from the first one on, for until then it may be waiting for its credentials); a partition of
    which nothing is read although its broker answers and has more; messages that were given back, whatever else
    goes on; messages that were read and are in nobody's hands. What waits for others is no standstill: for Kafka,
    for Port, for a slot, for a run that takes its time. Nor is anything once the drain began, which has its own
    deadline.

    Tells ``announce`` an `AliveChanged` whenever a check finds the answer changed. ``loop_users`` names whose code
    may hold the loop at the moment. Thread-safe.
    """

    def __init__(
        self,
        clock: Clock,
        announce: Observer,
        *,
        stall_timeout_s: float = 120.0,
        loop_users: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._clock = clock
        self._announce = announce
        self._timeout_s = stall_timeout_s
        self._loop_users = loop_users
        self._beat_at_s = clock.monotonic()
        self._polled_at_s: float | None = None
        self._unread_for_s: dict[tuple[str, int], float] = {}
        self._unsettled: dict[tuple[str, int], tuple[int, float]] = {}
        self._held: dict[tuple[str, int], tuple[int, float]] = {}
        self._idle_since_s: float | None = self._beat_at_s
        self._draining = False
        self._alive = True
        self._lock = threading.Lock()
        self._table = EventTable(self._lock)
        self._table.on(Polled, self._polled)
        self._table.on(PartitionStatus, self._stands)
        self._table.on(Rebalanced, self._rebalanced)
        self._table.on(WaitingChanged, self._waiting_changed)
        self._table.on(DrainStarted, self._drain_started)

    def check(self) -> Health:
        """The answer for ``/livez``."""
        with self._lock:
            standstill = self._standstill(self._clock.monotonic())
            health = Health(ok=standstill is None, reason=standstill or "alive")
            changed = health.ok != self._alive
            self._alive = health.ok
        if changed:
            self._announce.notify(AliveChanged(health.ok, health.reason))
        return health

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return self._table.ears(kind)

    def notify(self, event: Event) -> None:
        """Takes note of ``event``."""
        self._table.notify(event)

    def beat(self) -> None:
        """The event loop is turning."""
        self._beat_at_s = self._clock.monotonic()

    async def keep_beating(self) -> None:
        """Beats once a second on the running event loop, and checks, until it is cancelled."""
        while True:
            self.beat()
            self.check()
            await asyncio.sleep(_BEAT_S)

    # ── what stands still ────────────────────────────────────────────────────────────────────────────

    def _standstill(self, now_s: float) -> str | None:
        if self._draining:
            return None
        standstills = (
            self._loop(now_s),
            self._source(now_s),
            self._unread(),
            self._given_back(now_s),
            self._unheld(now_s),
        )
        return next(filter(None, standstills), None)

    def _loop(self, now_s: float) -> str | None:
        silent_s = now_s - self._beat_at_s
        if silent_s <= self._timeout_s:
            return None
        users = ", ".join(self._loop_users())
        suspects = f" (Python actions of these routes are being executed: {users})" if users else ""
        return f"the event loop has stood still for {silent_s:.0f} s{suspects}"

    def _source(self, now_s: float) -> str | None:
        unpolled_s = 0.0 if self._polled_at_s is None else now_s - self._polled_at_s
        return f"the consumer has not polled for {unpolled_s:.0f} s" if unpolled_s > self._timeout_s else None

    def _unread(self) -> str | None:
        for (topic, index), for_s in self._unread_for_s.items():
            if for_s > self._timeout_s:
                return f"nothing was read of {topic}[{index}] for {for_s:.0f} s, though the broker has more"
        return None

    def _given_back(self, now_s: float) -> str | None:
        """A defect of ours did it; a restart has them delivered again."""
        for (topic, index), (count, since_s) in self._held.items():
            for_s = now_s - since_s
            if for_s > self._timeout_s:
                what = "1 message" if count == 1 else f"{count} messages"
                return f"{what} of {topic}[{index}], given back unfinished, can only come again after a restart"
        return None

    def _unheld(self, now_s: float) -> str | None:
        """A restart has such messages delivered again."""
        if self._idle_since_s is None:
            return None
        for (topic, index), (count, since_s) in self._unsettled.items():
            for_s = now_s - max(since_s, self._idle_since_s)
            if for_s > self._timeout_s:
                what = "1 message is" if count == 1 else f"{count} messages are"
                return f"{what} read of {topic}[{index}], not finished, and in nobody's hands for {for_s:.0f} s"
        return None

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────

    def _polled(self, _event: Polled) -> None:
        self._polled_at_s = self._clock.monotonic()

    def _stands(self, event: PartitionStatus) -> None:
        partition = (event.topic, event.index)
        self._unread_for_s[partition] = event.unread_for_s or 0.0
        self._count(self._unsettled, partition, event.uncommitted)
        self._count(self._held, partition, event.held)

    def _count(
        self, counted: dict[tuple[str, int], tuple[int, float]], partition: tuple[str, int], count: int
    ) -> None:
        """With the time since when it is not 0."""
        if count:
            _count, since_s = counted.get(partition, (0, self._clock.monotonic()))
            counted[partition] = count, since_s
        else:
            counted.pop(partition, None)

    def _rebalanced(self, event: Rebalanced) -> None:
        for partition in event.partitions:
            self._unread_for_s.pop(partition, None)
            self._unsettled.pop(partition, None)
            self._held.pop(partition, None)

    def _waiting_changed(self, event: WaitingChanged) -> None:
        if event.in_hand:
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = self._clock.monotonic()

    def _drain_started(self, _event: DrainStarted) -> None:
        self._draining = True
