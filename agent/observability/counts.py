"""Counters and histograms: what happened since the start, fed by facts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from agent.domain import events
from agent.domain.invocation import RunId
from agent.domain.route import Route
from agent.domain.trace import RunTrace
from agent.observability import metric_table as table
from agent.observability.metric_table import MAX_ROUTES, OTHER, STATUSES, UNROUTED, CounterSpec, HistogramSpec
from agent.observability.observers import EventTable
from agent.ports import Ear

M = TypeVar("M", bound=MetricWrapperBase)

_MAX_LABEL_CHARS = 120
_MAX_EXEMPLAR_CHARS = 120
"""Names and values of OpenMetrics' exemplars have 128 characters together; ``run_id`` itself is some of them."""


class Counts:
    """Turns facts into counters and histograms of ``registry``. Thread-safe.

    ``routes`` gives the routes in force; `prepare` has the series of each start at 0.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        routes: Callable[[], Iterable[Route]],
        executors: Iterable[str],
        sources: Iterable[str],
        topics: Iterable[str],
    ) -> None:
        self._counters = {
            spec.name: _Series(Counter(spec.name, spec.help, spec.labels, registry=registry), spec.max_series)
            for spec in table.COUNTERS
        }
        self._histograms = {
            spec.name: _Series(
                Histogram(spec.name, spec.help, spec.labels, buckets=spec.buckets, registry=registry),
                spec.max_series,
            )
            for spec in table.HISTOGRAMS
        }
        self._routes = routes
        self._sources = tuple(sources)
        self._route_names = _RouteNames()
        self._prepared: tuple[Route, ...] = ()
        self._table = EventTable()
        self._hear_runs()
        self._hear_sources()
        self._hear_api()
        self._table.on(events.LoopTicked, lambda e: self._observe(table.LOOP_LAG, e.late_s))
        self._start_at_zero(executors, topics)

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return self._table.ears(kind)

    def notify(self, event: events.Event) -> None:
        """Counts ``event``."""
        self._table.notify(event)

    def prepare(self) -> None:
        """Has the series of the routes in force start at 0; cheap when they are the same as before."""
        routes = tuple(self._routes())
        if routes == self._prepared:
            return
        self._prepared = routes
        for route in routes:
            name = self._route_names.label(route.name)
            for source in self._sources:
                self._count(table.RUNS_RECEIVED, source, name, by=0)
            self._count(table.RUNS_STARTED, route.executor, name, by=0)
            for status in STATUSES:
                self._count(table.RUNS_FINISHED, route.executor, name, status, by=0)

    def _count(self, spec: CounterSpec, *labels: str, by: float = 1) -> None:
        self._counters[spec.name].at(labels).inc(by)

    def _observe(
        self, spec: HistogramSpec, value: float, *labels: str, example: dict[str, str] | None = None
    ) -> None:
        self._histograms[spec.name].at(labels).observe(value, example)

    def _start_at_zero(self, executors: Iterable[str], topics: Iterable[str]) -> None:
        for spec in table.COUNTERS:
            for labels in spec.known if spec.labels else ((),):
                self._counters[spec.name].at(labels)
        for source in self._sources:
            self._count(table.RUNS_RECEIVED, source, UNROUTED, by=0)
        for topic in topics:
            self._count(table.KAFKA_CONSUMED, topic, by=0)
        for executor in executors:
            self._histograms[table.RUN_QUEUE_WAIT.name].at((executor,))
            for status in ("success", "failure"):
                self._histograms[table.RUN_DURATION.name].at((executor, status))

    def _hear_runs(self) -> None:
        on, count = self._table.on, self._count
        on(events.MessageIgnored, lambda e: count(table.MESSAGES_IGNORED, e.source, e.reason))
        on(events.MessageRejected, lambda e: count(table.RUNS_REJECTED, e.reason))
        on(events.MessageKept, lambda e: count(table.QUARANTINED, e.reason))
        on(events.MessageNotKept, lambda e: count(table.QUARANTINE_FAILURES, e.code))
        on(
            events.RunReceived,
            lambda e: count(table.RUNS_RECEIVED, e.source, self._route_names.label(e.route)),
        )
        on(events.RunRedelivered, lambda e: count(table.RUNS_REDELIVERED, e.outcome))
        on(events.RunStarted, self._started)
        on(events.RunFinished, self._finished)
        on(events.RunReported, lambda e: count(table.RUN_REPORTS, e.result))
        on(events.RunRetried, lambda e: count(table.RUN_RETRIES, e.executor, e.reason))
        on(events.TargetSilent, lambda _: count(table.HTTP_TARGETS_GIVEN_UP))
        on(events.LogSent, self._log_sent)
        on(events.LogDropped, lambda e: count(table.LOG_LINES_DROPPED, e.reason, by=e.lines))
        on(events.LogTruncated, lambda e: count(table.LOG_TRUNCATIONS, e.reason))
        on(events.SpansSent, lambda e: count(table.SPANS, e.result, by=e.spans))

    def _hear_sources(self) -> None:
        on, count = self._table.on, self._count
        on(events.Consumed, lambda e: count(table.KAFKA_CONSUMED, e.topic, by=e.count))
        on(events.Committed, lambda e: count(table.KAFKA_COMMITS, e.result))
        on(events.Rebalanced, lambda e: count(table.KAFKA_REBALANCES, e.event))
        on(events.SourceFailed, self._source_failed)
        on(events.ClaimsAsked, self._claims_asked)
        on(events.ClaimAcknowledged, lambda e: count(table.POLLING_ACKNOWLEDGED, e.kind, e.result))

    def _hear_api(self) -> None:
        on, count = self._table.on, self._count
        on(events.ApiRequested, self._api_requested)
        on(events.ApiRetried, lambda e: count(table.API_RETRIES, e.route, e.reason))
        on(events.TokenRefreshed, lambda e: count(table.API_TOKEN_REFRESHES, e.result))

    def _source_failed(self, event: events.SourceFailed) -> None:
        """What polling fails by is counted with its claims."""
        if "kafka" in self._sources:
            self._count(table.KAFKA_ERRORS, event.code)

    def _claims_asked(self, event: events.ClaimsAsked) -> None:
        self._count(table.POLLING_CLAIMS, event.kind, event.result)
        self._count(table.POLLING_CLAIMED, event.kind, by=event.count)

    def _started(self, event: events.RunStarted) -> None:
        self._count(table.RUNS_STARTED, event.executor, self._route_names.label(event.route))
        example = _exemplar(event.run_id, event.trace)
        self._observe(table.RUN_QUEUE_WAIT, event.waited_s, event.executor, example=example)

    def _finished(self, event: events.RunFinished) -> None:
        route = self._route_names.label(event.route)
        self._count(table.RUNS_FINISHED, event.executor, route, event.status)
        example = _exemplar(event.run_id, event.trace)
        self._observe(table.RUN_DURATION, event.duration_s, event.executor, event.status, example=example)

    def _log_sent(self, event: events.LogSent) -> None:
        self._count(table.LOG_LINES, by=event.lines)
        self._count(table.LOG_BYTES, by=event.bytes)

    def _api_requested(self, event: events.ApiRequested) -> None:
        self._count(table.API_REQUESTS, event.route, event.method, event.code)
        self._observe(table.API_DURATION, event.duration_s, event.route)


class _RouteNames:
    """The first 50 route names keep theirs, the rest are `OTHER`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names = {UNROUTED: UNROUTED}

    def label(self, name: str) -> str:
        known = self._names.get(name)
        if known is not None:
            return known
        with self._lock:
            if len(self._names) <= MAX_ROUTES:
                self._names[name] = name
            return self._names.get(name, OTHER)


class _Series(Generic[M]):
    """The series of one metric, found by one dictionary access; `OTHER` stands for those beyond the bound."""

    def __init__(self, metric: M, max_series: int) -> None:
        self._metric = metric
        self._max_series = max_series
        self._lock = threading.Lock()
        self._series: dict[tuple[str, ...], M] = {}

    def at(self, labels: tuple[str, ...]) -> M:
        """The series with these label values, made at first use and then starting at 0."""
        series = self._series.get(labels)
        return self._make(labels) if series is None else series

    def _make(self, labels: tuple[str, ...]) -> M:
        if not labels:
            return self._series.setdefault((), self._metric)
        with self._lock:
            full = len(self._series) >= self._max_series - 1
            series = self._metric.labels(*((OTHER,) * len(labels) if full else map(_exported, labels)))
            if not full:
                self._series[labels] = series
            return series


def _exported(value: str) -> str:
    """A label value that UTF-8 can carry, of bounded length."""
    return value.encode("utf-8", "backslashreplace").decode()[:_MAX_LABEL_CHARS]


def _exemplar(run_id: RunId | None, trace: RunTrace | None) -> dict[str, str] | None:
    """The run as an example in its bucket (shown in OpenMetrics only), if its id is fit for it, and its trace."""
    trace_id = None if trace is None else trace.recorded_id
    room = _MAX_EXEMPLAR_CHARS - (0 if trace_id is None else len("trace_id") + len(trace_id))
    example = {} if trace_id is None else {"trace_id": trace_id}
    if run_id is not None and len(run_id) <= room and run_id.isascii() and run_id.isprintable():
        example["run_id"] = run_id
    return example or None
