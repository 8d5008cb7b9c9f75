"""The metrics observer: its own registry, and the page that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from agent.domain.events import Event
from agent.domain.route import Route
from agent.observability.counts import Counts
from agent.observability.gauges import Gauges
from agent.observability.pacing import Paced
from agent.observability.server import Answer
from agent.ports import Clock, Ear

_FORMATS = {False: choose_encoder(""), True: choose_encoder("application/openmetrics-text; version=1.0.0")}


class Metrics:
    """Counts facts, and renders every metric of `metric_table` plus ``process_*``. `notify` is thread-safe.

    ``routes`` gives the routes in force at any time (none before they are read); ``executors``, ``sources``
    and ``topics`` name what is known from the start, so that their series begin at 0.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        version: str,
        max_concurrent_runs: int,
        routes: Callable[[], Iterable[Route]],
        executors: Iterable[str],
        topics: Iterable[str],
        sources: Iterable[str] = ("kafka",),
    ) -> None:
        executors, topics = tuple(executors), tuple(topics)
        registry = CollectorRegistry()
        self._counts = Counts(registry, routes=routes, executors=executors, sources=sources, topics=topics)
        self._gauges = Gauges(
            clock=clock,
            version=version,
            max_concurrent_runs=max_concurrent_runs,
            executors=executors,
            topics=topics,
        )
        registry.register(self._gauges)
        ProcessCollector(registry=registry)
        self._exported = _WithoutCreated(registry)
        self._paced = {form: Paced(partial(self.render, openmetrics=form)) for form in (False, True)}

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return (*self._counts.ears(kind), *self._gauges.ears(kind))

    def notify(self, event: Event) -> None:
        """Takes note of ``event``."""
        self._counts.notify(event)
        self._gauges.notify(event)

    def page(self, accept: str) -> Answer:
        """The page for ``/metrics``: OpenMetrics (with run ids as exemplars) if asked for, else plain text."""
        openmetrics = "application/openmetrics-text" in accept
        return Answer(200, self._paced[openmetrics](), _FORMATS[openmetrics][1])

    def render(self, *, openmetrics: bool) -> bytes:
        """Every metric as it is at this moment, in one of the two forms."""
        self._counts.prepare()
        encode, _ = _FORMATS[openmetrics]
        return encode(self._exported)


class _WithoutCreated(Collector):
    """The same without a time of creation for each series, which would double their number."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric
