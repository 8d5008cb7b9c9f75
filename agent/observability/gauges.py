"""Gauges: how things stand, worked out when somebody asks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from platform import python_version

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.domain import events
from agent.observability import metric_table as table
from agent.observability.in_flight import RunsInFlight
from agent.observability.metric_table import GaugeSpec
from agent.observability.observers import EventTable
from agent.observability.outage import Outage
from agent.observability.partitions import Partitions, Standing
from agent.ports import Clock, Ear


class Gauges(Collector):
    """Keeps what the gauges need and gives them at each scrape, ages included. Thread-safe."""

    def __init__(
        self,
        *,
        clock: Clock,
        version: str,
        max_concurrent_runs: int,
        executors: Iterable[str],
        topics: Iterable[str],
    ) -> None:
        self._clock = clock
        self._version = version
        self._limit = max_concurrent_runs
        self._executors = tuple(executors)
        self._lock = threading.Lock()
        self._in_flight = RunsInFlight()
        self._partitions = Partitions(topics)
        self._uses_kafka = bool(topics)
        self._waiting = events.WaitingChanged(0, None)
        self._silent_targets = 0
        self._progress_at_s = clock.monotonic()
        self._polled_at_epoch_s = clock.epoch()
        self._api_success_at_epoch_s: float | None = None
        self._outage = Outage()
        self._api_remaining: int | None = None
        self._journal = events.JournalStood(0)
        self._claims_problem = ""
        self._reload_ok = True
        self._ready = False
        self._alive = True
        self._draining = False
        self._table = EventTable(self._lock)
        self._hear()

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return self._table.ears(kind)

    def notify(self, event: events.Event) -> None:
        """Takes note of ``event``."""
        self._table.notify(event)

    def collect(self) -> Iterator[Metric]:
        """Every gauge as it is now; a number that is not known yet is left out."""
        with self._lock:
            return iter([*self._runs(), *self._kafka(), *self._api_and_agent()])

    def _hear(self) -> None:
        on = self._table.on
        on(events.RunReceived, self._progress)
        on(events.RunStarted, self._started)
        on(events.RunFinished, self._finished)
        on(events.RunReported, self._progress)
        on(events.TargetSilent, self._targets_changed)
        on(events.TargetAnswered, self._targets_changed)
        on(events.WaitingChanged, self._waiting_changed)
        on(events.Polled, self._polled)
        on(events.Rebalanced, self._partitions.rebalanced)
        on(events.PartitionStatus, lambda e: self._partitions.stands(e, self._clock.monotonic()))
        on(events.ApiRequested, self._api_requested)
        on(events.RateBudget, self._rate_budget)
        on(events.JournalStood, self._journal_stood)
        on(events.ClaimsKept, self._claims_kept)
        on(events.RoutesReloaded, self._routes_reloaded)
        on(events.ReadyChanged, self._ready_changed)
        on(events.AliveChanged, self._alive_changed)
        on(events.DrainStarted, self._drain_started)

    def _progress(self, _event: events.Event) -> None:
        self._progress_at_s = self._clock.monotonic()

    def _started(self, event: events.RunStarted) -> None:
        self._progress(event)
        self._in_flight.start(event, self._progress_at_s)

    def _finished(self, event: events.RunFinished) -> None:
        self._progress(event)
        self._in_flight.finish(event)

    def _targets_changed(self, event: events.TargetSilent | events.TargetAnswered) -> None:
        self._silent_targets = event.silent_targets

    def _waiting_changed(self, event: events.WaitingChanged) -> None:
        self._waiting = event

    def _polled(self, event: events.Polled) -> None:
        self._polled_at_epoch_s = event.at_epoch_s

    def _api_requested(self, event: events.ApiRequested) -> None:
        self._outage.requested(event, self._clock.monotonic())
        if event.code.startswith("2"):
            self._api_success_at_epoch_s = self._clock.epoch()

    def _rate_budget(self, event: events.RateBudget) -> None:
        self._api_remaining = event.remaining

    def _journal_stood(self, event: events.JournalStood) -> None:
        self._journal = event

    def _claims_kept(self, event: events.ClaimsKept) -> None:
        self._claims_problem = event.problem

    def _routes_reloaded(self, event: events.RoutesReloaded) -> None:
        self._reload_ok = event.ok

    def _ready_changed(self, event: events.ReadyChanged) -> None:
        self._ready = event.ready

    def _alive_changed(self, event: events.AliveChanged) -> None:
        self._alive = event.alive

    def _drain_started(self, _event: events.DrainStarted) -> None:
        self._draining = True

    def _runs(self) -> Iterator[Metric]:
        now_s = self._clock.monotonic()
        runs = self._in_flight.all()
        per_executor = Counter(dict.fromkeys(self._executors, 0))
        per_executor.update(run.executor for run in runs)
        yield _gauge(table.RUNS_IN_FLIGHT, {(name,): count for name, count in per_executor.items()})
        yield _gauge(table.RUNS_IN_FLIGHT_LIMIT, self._limit)
        yield _gauge(table.HTTP_TARGETS_OPEN, self._silent_targets)
        yield _gauge(table.RUNS_WAITING, self._waiting.count)
        yield _gauge(table.RUNS_WAITING_FOR_SLOT, self._waiting.for_slot)
        yield _gauge(table.OLDEST_WAITING, _age(self._waiting.oldest_since_s, now_s))
        yield _gauge(table.OLDEST_IN_FLIGHT, _age(runs[0].since_s if runs else None, now_s))
        unsettled = any(standing.uncommitted for standing in self._partitions.standing())
        busy = bool(runs) or self._waiting.count > 0 or self._waiting.in_hand > 0 or unsettled
        yield _gauge(table.SINCE_PROGRESS, _age(self._progress_at_s if busy else None, now_s))
        yield _gauge(table.JOURNAL_PENDING, self._journal.pending)
        yield _gauge(table.JOURNAL_WRITABLE, not self._journal.problem)
        yield _gauge(table.POLLING_KEPT, not self._claims_problem)

    def _kafka(self) -> Iterator[Metric]:
        standing = self._partitions.standing()
        now_s = self._clock.monotonic()
        where: dict[tuple[str, ...], Standing] = {(s.topic, str(s.index)): s for s in standing}
        lags: dict[tuple[str, ...], float] = {labels: s.lag for labels, s in where.items() if s.lag is not None}
        yield _gauge(table.KAFKA_LAG, lags)
        yield _gauge(table.KAFKA_UNCOMMITTED, {labels: s.uncommitted for labels, s in where.items()})
        yield _gauge(table.KAFKA_SPAN, {labels: s.span for labels, s in where.items()})
        ages = {labels: _age(s.oldest_since_s, now_s) for labels, s in where.items()}
        yield _gauge(table.KAFKA_OLDEST_UNCOMMITTED, ages)
        assigned = self._partitions.assigned()
        yield _gauge(table.KAFKA_ASSIGNED, {(topic,): count for topic, count in assigned.items()})
        paused = Counter(dict.fromkeys(assigned, 0))
        paused.update(s.topic for s in standing if s.paused)
        yield _gauge(table.KAFKA_PAUSED, {(topic,): count for topic, count in paused.items()})
        yield _gauge(table.KAFKA_LAST_POLL, self._polled_at_epoch_s if self._uses_kafka else None)

    def _api_and_agent(self) -> Iterator[Metric]:
        yield _gauge(table.API_REMAINING, self._api_remaining)
        yield _gauge(table.API_LAST_SUCCESS, self._api_success_at_epoch_s)
        yield _gauge(table.API_UNANSWERED, self._outage.lasts_s(self._clock.monotonic()) or 0.0)
        yield _gauge(table.BUILD_INFO, {(self._version, python_version()): 1})
        yield _gauge(table.CONFIG_RELOAD, self._reload_ok)
        yield _gauge(table.ALIVE, self._alive)
        yield _gauge(table.DRAINING, self._draining)
        yield _gauge(table.READY, self._ready)


def _gauge(spec: GaugeSpec, value: float | Mapping[tuple[str, ...], float] | None) -> Metric:
    """One gauge with its series; ``None``: it has none yet."""
    family = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
    series = value if isinstance(value, Mapping) else {} if value is None else {(): value}
    for labels, number in series.items():
        family.add_metric(labels, number)
    return family


def _age(since_s: float | None, now_s: float) -> float:
    return 0.0 if since_s is None else max(0.0, now_s - since_s)
