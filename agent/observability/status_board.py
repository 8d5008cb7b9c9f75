"""What the status page shows, gathered from facts: an observer with a picture of the agent at any moment."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agent.domain import events
from agent.domain.invocation import RunId
from agent.domain.route import Route
from agent.observability.in_flight import RunInFlight, RunsInFlight
from agent.observability.observers import EventTable
from agent.observability.outage import Outage
from agent.observability.partitions import Partitions, Standing
from agent.observability.phrases import duration, plural
from agent.ports import Clock, Ear, Health, HealthCheck

MAX_RECENT = 100
MAX_TROUBLES = 20
MAX_TEXT_CHARS = 2000
_AWAY = "Port's API does not answer; reports are kept and sent until it does"
_WAS_AWAY = "Port's API was away"


@dataclass(frozen=True, slots=True)
class RecentRun:
    """A run that ended. ``report`` tells whether Port knows: delivered, refused, undelivered, nothing, pending."""

    run_id: RunId | None
    route: str
    executor: str
    action: str | None
    status: str
    reason: str
    detail: str
    duration_s: float
    ended_at_epoch_s: float
    report: str = "pending"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that an operator should know of, with its latest detail and how often it came."""

    text: str
    detail: str
    last_epoch_s: float
    times: int = 1


@dataclass(frozen=True, slots=True)
class Status:
    """The agent at one moment. Sequences that have an order in time begin with what matters first."""

    version: str
    about: Mapping[str, str]
    now_epoch_s: float
    now_s: float
    uptime_s: float
    ready: Health
    draining: bool
    max_concurrent_runs: int
    in_flight: tuple[RunInFlight, ...]
    waiting: int
    waiting_since_s: float | None
    recent: tuple[RecentRun, ...]
    troubles: tuple[Trouble, ...]
    partitions: tuple[Standing, ...]
    assigned: Mapping[str, int]
    routes: tuple[Route, ...]
    totals: Counter[str]
    api_remaining: int | None
    api_limit: int | None
    api_unanswered_s: float | None


class StatusBoard:
    """Gathers what the page shows. Thread-safe; what it keeps is bounded.

    ``about`` are facts for the page's head (organisation, consumer group …), ``routes`` gives the routes in
    force, ``ready`` is the readiness probe.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        version: str,
        about: Mapping[str, str],
        max_concurrent_runs: int,
        routes: Callable[[], Iterable[Route]],
        ready: HealthCheck,
    ) -> None:
        self._clock = clock
        self._version = version
        self._about = dict(about)
        self._limit = max_concurrent_runs
        self._routes = routes
        self._ready = ready
        self._started_at_s = clock.monotonic()
        self._lock = threading.Lock()
        self._in_flight = RunsInFlight()
        self._partitions = Partitions()
        self._waiting = events.WaitingChanged(0, None)
        self._recent: deque[RecentRun] = deque(maxlen=MAX_RECENT)
        self._troubles: dict[str, Trouble] = {}
        self._totals: Counter[str] = Counter()
        self._budget: events.RateBudget | None = None
        self._outage = Outage()
        self._draining = False
        self._table = EventTable(self._lock)
        self._hear()

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return self._table.ears(kind)

    def notify(self, event: events.Event) -> None:
        """Takes note of ``event``."""
        self._table.notify(event)

    def status(self) -> Status:
        """The picture as it is now."""
        ready, routes = self._ready(), tuple(self._routes())
        with self._lock:
            now_s = self._clock.monotonic()
            unanswered_s = self._outage.lasts_s(now_s)
            if unanswered_s is None:
                self._troubles.pop(_AWAY, None)
            return Status(
                version=self._version,
                about=self._about,
                now_epoch_s=self._clock.epoch(),
                now_s=now_s,
                uptime_s=now_s - self._started_at_s,
                ready=ready,
                draining=self._draining,
                max_concurrent_runs=self._limit,
                in_flight=tuple(self._in_flight.all()),
                waiting=self._waiting.count,
                waiting_since_s=self._waiting.oldest_since_s,
                recent=tuple(reversed(self._recent)),
                troubles=tuple(reversed(self._troubles.values())),
                partitions=tuple(self._partitions.standing()),
                assigned=self._partitions.assigned(),
                routes=routes,
                totals=self._totals.copy(),
                api_remaining=self._budget.remaining if self._budget else None,
                api_limit=self._budget.limit if self._budget else None,
                api_unanswered_s=unanswered_s,
            )

    def _hear(self) -> None:
        on = self._table.on
        on(events.MessageIgnored, lambda _: self._count("messages_ignored"))
        on(events.MessageRejected, self._rejected)
        on(events.RunReceived, lambda _: self._count("received"))
        on(events.RunStarted, lambda e: self._in_flight.start(e, self._clock.monotonic()))
        on(events.RunFinished, self._finished)
        on(events.RunReported, self._reported)
        on(events.WaitingChanged, self._waiting_changed)
        on(events.ApiRequested, self._api_requested)
        on(events.ApiRetried, lambda e: self._unanswered(e.detail))
        on(events.TokenRefreshed, lambda e: self._unanswered(e.detail))
        on(events.RateBudget, self._rate_budget)
        on(events.LogSent, lambda e: self._count("log_lines", e.lines))
        on(events.LogDropped, lambda e: self._count("log_lines_dropped", e.lines))
        on(events.Rebalanced, self._partitions.rebalanced)
        on(events.PartitionStatus, lambda e: self._partitions.stands(e, self._clock.monotonic()))
        on(events.SourceFailed, lambda e: self._trouble(f"source failed: {e.code}", e.detail))
        on(events.RoutesReloaded, self._routes_reloaded)
        on(events.AliveChanged, self._alive_changed)
        on(events.DrainStarted, self._drain_started)

    def _count(self, what: str, by: int = 1) -> None:
        self._totals[what] += by

    def _rejected(self, event: events.MessageRejected) -> None:
        self._count("messages_rejected")
        self._trouble(f"message rejected: {event.reason}", event.detail)

    def _finished(self, event: events.RunFinished) -> None:
        self._in_flight.finish(event)
        self._count(event.status)
        self._recent.append(
            RecentRun(
                run_id=event.run_id,
                route=event.route,
                executor=event.executor,
                action=event.action,
                status=event.status,
                reason=event.reason,
                detail=event.detail[:MAX_TEXT_CHARS],
                duration_s=event.duration_s,
                ended_at_epoch_s=self._clock.epoch(),
            )
        )

    def _reported(self, event: events.RunReported) -> None:
        for index in range(len(self._recent) - 1, -1, -1):
            run = self._recent[index]
            if run.run_id == event.run_id and run.report == "pending":
                self._recent[index] = replace(run, report=event.result)
                break
        if event.result == "undelivered":
            self._count("undelivered")
            self._trouble("report undelivered", f"{event.run_id}: {event.detail}")

    def _waiting_changed(self, event: events.WaitingChanged) -> None:
        self._waiting = event

    def _api_requested(self, event: events.ApiRequested) -> None:
        self._count("api_requests")
        over = self._outage.requested(event, self._clock.monotonic())
        if over is None:
            return
        self._troubles.pop(_AWAY, None)
        if not over.is_hiccup:
            failed = plural(over.failed_requests, "request")
            self._trouble(_WAS_AWAY, f"for {duration(over.lasted_s)}; {failed} failed")

    def _unanswered(self, detail: str) -> None:
        if self._outage.lasts_s(self._clock.monotonic()) is not None:
            self._trouble(_AWAY, detail)

    def _rate_budget(self, event: events.RateBudget) -> None:
        self._budget = event

    def _routes_reloaded(self, event: events.RoutesReloaded) -> None:
        refused = "routes reload refused; the routes read before stay in force"
        if event.ok:
            self._troubles.pop(refused, None)
        else:
            self._trouble(refused, "\n".join(event.problems))

    def _alive_changed(self, event: events.AliveChanged) -> None:
        if not event.alive:
            self._trouble("stood still", event.reason)

    def _drain_started(self, _event: events.DrainStarted) -> None:
        self._draining = True

    def _trouble(self, text: str, detail: str) -> None:
        before = self._troubles.pop(text, None)
        times = before.times + 1 if before else 1
        self._troubles[text] = Trouble(text, detail[:MAX_TEXT_CHARS], self._clock.epoch(), times)
        if len(self._troubles) > MAX_TROUBLES:
            del self._troubles[next(iter(self._troubles))]
