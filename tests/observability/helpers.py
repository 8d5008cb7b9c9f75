"""What the room's tests share: a clock that stands still, one of each fact, and metrics as numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from agent.domain import events as ev
from agent.domain.invocation import RunId
from agent.domain.route import Match, Route
from agent.domain.trace import SpanContext
from agent.observability.metrics import Metrics

openmetrics_families: Callable[[str], Iterable[Metric]] = openmetrics_parser.text_string_to_metric_families

RUN = RunId("r_abc123")
START_EPOCH_S = 1_800_000_000.0

ONE_OF_EACH: tuple[ev.Event, ...] = (
    ev.MessageIgnored("kafka", "not_for_agents"),
    ev.MessageRejected("kafka", "signature", "the signature does not match", RUN),
    ev.MessageKept("signature", "/state/quarantine.jsonl"),
    ev.MessageNotKept("ENOSPC", "/state/quarantine.jsonl: No space left on device"),
    ev.RunReceived("kafka", "create", RUN),
    ev.RunRedelivered(RUN, "begun"),
    ev.WaitingChanged(2, 100.0, 0, 1),
    ev.RunStarted("process", "create", RUN, "create_service", 0.25),
    ev.RunRetried("http", "http_status"),
    ev.TargetRequested(SpanContext("a" * 32, "b" * 16, sampled=True), "POST", "ops.internal:443", "503", 0.2),
    ev.TargetSilent("ops.internal:443", 10, "ops.internal:443 did not answer in time", 5.0, 2),
    ev.TargetAnswered("ops.internal:443", answered=True, silent_targets=1),
    ev.LogSent(3, 120),
    ev.LogDropped(4, "undelivered"),
    ev.LogTruncated("run_cap"),
    ev.SpansSent(512, "failed"),
    ev.JournalStood(2, "database or disk is full"),
    ev.RunFinished("process", "create", RUN, "failure", "exit_code", "exit code 3", 12.5, "create_service"),
    ev.RunReported("create", RUN, "undelivered", "no answer for 20 s"),
    ev.ApiRequested("/v1/actions/runs/{run_id}", "PATCH", "200", 0.08),
    ev.ApiRetried("/v1/actions/runs/{run_id}", "timeout", "PATCH https://api/v1/actions/runs/{run_id}: no answer"),
    ev.RateBudget(1200, 15_000),
    ev.TokenRefreshed("refused", "POST https://api/v1/auth/access_token: HTTP 401: no"),
    ev.Rebalanced("assigned", (("org.runs", 0), ("org.runs", 1))),
    ev.PartitionStatus("org.runs", 0, 7, 3, 2, 4.0, paused=True),
    ev.Consumed("org.runs", 5),
    ev.Polled(START_EPOCH_S + 1000),
    ev.Committed("_TIMED_OUT"),
    ev.SourceFailed("_ALL_BROKERS_DOWN", "3/3 brokers are down"),
    ev.ClaimsAsked("action_run", "ok", 2),
    ev.ClaimAcknowledged("action_run", "ours"),
    ev.ClaimsKept("no space left on device"),
    ev.LoopTicked(2.5, ("create",)),
    ev.RoutesReloaded(ok=False, routes=2, problems=("routes.yaml:3: routes[0].http: url is missing",)),
    ev.ReadyChanged(ready=True, reason="ready"),
    ev.AliveChanged(alive=False, reason="the consumer has not polled for 121 s"),
    ev.DrainStarted(1, 0, 30.0),
)


class HeldClock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return 100.0 + self.passed_s

    def epoch(self) -> float:
        return START_EPOCH_S + self.passed_s

    def pass_s(self, seconds: float) -> None:
        self.passed_s += seconds


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []

    def notify(self, event: ev.Event) -> None:
        self.events.append(event)


def route(name: str, executor: str = "process") -> Route:
    return Route(name, Match(actions=(name,)), executor)


def metrics(clock: HeldClock | None = None, routes: Sequence[Route] = ()) -> Metrics:
    return Metrics(
        clock=clock or HeldClock(),
        version="1.2.3",
        max_concurrent_runs=50,
        routes=lambda: routes,
        executors=("http", "process", "python"),
        topics=("org.runs", "org.change.log"),
    )


def tell(observer: Metrics, *events: ev.Event) -> None:
    for event in events:
        observer.notify(event)


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(page: bytes) -> Samples:
    """Every sample of a text page, by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def value(observer: Metrics, name: str, **labels: str) -> float | None:
    """One series as it is now, ``None`` if there is none."""
    return samples(observer.render(openmetrics=False)).get((name, frozenset(labels.items())))


def label_values(page: bytes, name: str, label: str) -> set[str]:
    return {dict(labels)[label] for metric, labels in samples(page) if metric == name}


def names(page: bytes) -> Iterable[str]:
    return {name for name, _ in samples(page)}


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Leaves the process's logging as it was found."""
    root, ours = logging.getLogger(), logging.getLogger("agent")
    before = root.handlers[:], root.level, ours.level
    try:
        yield
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
        root.handlers[:], level, our_level = before
        root.setLevel(level)
        ours.setLevel(our_level)
