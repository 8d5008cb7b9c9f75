"""What an observer says that it hears is all that it acts on: nothing is lost by not telling it the rest."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import threading
from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from structlog.testing import CapturingLogger

from agent import observability
from agent.composition import listeners
from agent.composition.listeners import AtDrain
from agent.domain import events as ev
from agent.domain.trace import RunTrace, SpanContext
from agent.observability.counts import Counts
from agent.observability.gauges import Gauges
from agent.observability.health import Liveness, Readiness
from agent.observability.log_observer import LogObserver
from agent.observability.loop_watch import LoopWatch
from agent.observability.metrics import Metrics
from agent.observability.observers import EventTable, Observers
from agent.observability.spans import SpanObserver
from agent.observability.status_board import StatusBoard
from agent.ports import Health, Observer, SelectiveObserver
from tests.observability.helpers import ONE_OF_EACH, RUN, START_EPOCH_S, Heard, HeldClock, metrics, samples

_ROOT = SpanContext("a" * 32, "b" * 16, sampled=True)
_TRACE = RunTrace(_ROOT, _ROOT.child("c" * 16), 100.0, START_EPOCH_S)

STORY = (
    ev.TokenRefreshed("ok"),
    *ONE_OF_EACH[:-1],
    ev.RunStarted("python", "traced", RUN, "create_service", 0.25, 1, _TRACE),
    ev.TargetRequested(_TRACE.execution.child("d" * 16), "POST", "ops.internal:443", "503", 0.2),
    ev.RunFinished("python", "traced", RUN, "success", "", "", 1.5, "create_service", _TRACE),
    ev.RunReported("traced", RUN, "delivered", trace=_TRACE),
    ev.SourceFailed("_FATAL", "fenced", fatal=True),
    ONE_OF_EACH[-1],
)
"""Every type of fact, and what some observers need before or after them to act; the drain comes last."""


class Watched(NamedTuple):
    """An observer, and what can be seen of it."""

    observer: Observer
    seen: Callable[[], object]


class _Lock:
    """Counts how often it was taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __enter__(self) -> None:
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        pass


def _numbers(families: Iterable[Metric]) -> list[object]:
    """Without the moments that they are marked with."""
    return [
        (sample.name, sample.labels, sample.value)
        for one in families
        for sample in one.samples
        if not sample.name.endswith("_created")
    ]


def _at_drain() -> Watched:
    acted: list[str] = []
    return Watched(AtDrain(lambda: acted.append("once")), acted.copy)


def _counts() -> Watched:
    registry = CollectorRegistry()
    observer = Counts(registry, routes=tuple, executors=("process",), sources=("kafka",), topics=("org.runs",))
    return Watched(observer, lambda: _numbers(registry.collect()))


def _gauges() -> Watched:
    observer = Gauges(
        clock=HeldClock(), version="1", max_concurrent_runs=5, executors=("process",), topics=("org.runs",)
    )
    return Watched(observer, lambda: _numbers(observer.collect()))


def _metrics() -> Watched:
    observer = metrics()

    def seen() -> object:
        page = samples(observer.render(openmetrics=False))
        return {series: value for series, value in page.items() if not series[0].startswith("process_")}

    return Watched(observer, seen)


def _readiness() -> Watched:
    announced = Heard()
    observer = Readiness(announced)
    return Watched(observer, lambda: (observer.check(), announced.events.copy()))


def _liveness() -> Watched:
    clock, announced = HeldClock(), Heard()
    observer = Liveness(clock, announced, stall_timeout_s=10)

    def seen() -> object:
        clock.pass_s(8)
        return observer.check(), announced.events.copy()

    return Watched(observer, seen)


def _log_observer() -> Watched:
    logger = CapturingLogger()
    return Watched(LogObserver(HeldClock(), logger), lambda: [repr(call) for call in logger.calls])


def _loop_watch() -> Watched:
    observer = LoopWatch(HeldClock(), Heard())
    return Watched(observer, lambda: observer.python_routes)


def _spans() -> Watched:
    spans: list[object] = []
    ids = count()
    return Watched(SpanObserver(spans.append, HeldClock(), lambda: f"{next(ids):016x}"), spans.copy)


def _board() -> Watched:
    observer = StatusBoard(
        clock=HeldClock(),
        version="1",
        about={},
        max_concurrent_runs=5,
        routes=tuple,
        ready=lambda: Health(ok=True),
    )
    return Watched(observer, observer.status)


MAKERS: dict[type, Callable[[], Watched]] = {
    AtDrain: _at_drain,
    Counts: _counts,
    Gauges: _gauges,
    Liveness: _liveness,
    LogObserver: _log_observer,
    LoopWatch: _loop_watch,
    Metrics: _metrics,
    Readiness: _readiness,
    SpanObserver: _spans,
    StatusBoard: _board,
}


def test_these_are_all_that_choose() -> None:
    found = pkgutil.iter_modules(observability.__path__, "agent.observability.")
    modules = [listeners, *(importlib.import_module(one.name) for one in found)]
    choosy = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__.startswith("agent.observability.") or kind.__module__ == listeners.__name__
        if hasattr(kind, "ears")
    }
    assert choosy == {*MAKERS, EventTable}


@pytest.mark.parametrize("make", MAKERS.values(), ids=[kind.__name__ for kind in MAKERS])
def test_the_fan_out_does_what_telling_everything_does(make: Callable[[], Watched]) -> None:
    direct, asked, untold = make(), make(), make()
    assert isinstance(asked.observer, SelectiveObserver)
    observers = Observers(asked.observer)
    acted = False
    for event in STORY:
        direct.observer.notify(event)
        observers.notify(event)
        seen = direct.seen()
        assert asked.seen() == seen, event
        acted = acted or seen != untold.seen()
    assert acted  # or nothing would have been compared


@pytest.mark.parametrize("kind", [Gauges, Liveness, StatusBoard])
def test_what_is_looked_at_by_other_threads_changes_under_its_lock(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which whoever looks takes as well."""
    locks: list[_Lock] = []

    def make_lock() -> _Lock:
        locks.append(_Lock())
        return locks[-1]

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Lock", make_lock)
        watched = MAKERS[kind]()
    (lock,) = locks
    assert isinstance(watched.observer, SelectiveObserver)
    for event in STORY:
        before = lock.taken
        for ear in watched.observer.ears(type(event)):
            ear(event)
        by_ears = lock.taken - before
        watched.observer.notify(event)
        assert by_ears == lock.taken - before - by_ears == len(watched.observer.ears(type(event))), event
    before = lock.taken
    watched.seen()
    assert lock.taken > before
