"""The OpenTelemetry SDK as it is used here: what it is asked, what it is given, and what it says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from agent.domain import events as ev
from agent.domain.trace import SpanContext
from agent.observability.otlp import OtlpSpans
from agent.observability.spans import Span, SpanKind
from tests.observability.helpers import START_EPOCH_S, Heard, HeldClock
from tests.whole.collector import Collected, Collector

TRACE, SPAN, PARENT = "a" * 32, "b" * 16, "c" * 16


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector.serve() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
        yield collector


def _opened(heard: Heard | None = None) -> OtlpSpans:
    about = {"service.name": "action-agent", "service.version": "1.2.3"}
    return OtlpSpans(about, heard or Heard(), HeldClock())


def _sent(*spans: Span) -> None:
    otlp = _opened()
    for span in spans:
        otlp.put(span)
    otlp.close()


def _span(context: SpanContext, kind: SpanKind = SpanKind.INTERNAL, *, failed: bool = False) -> Span:
    return Span("a step", kind, context, START_EPOCH_S, START_EPOCH_S + 1.5, {"a": "text", "n": 7}, failed)


def test_a_span_arrives_as_it_was_told(collector: Collector) -> None:
    _sent(
        _span(SpanContext(TRACE, SPAN, sampled=True, parent_id=PARENT), SpanKind.CLIENT, failed=True),
        _span(SpanContext("d" * 32, "e" * 16, sampled=True), SpanKind.CONSUMER),
    )
    resource = collector.spans[0].resource
    times = START_EPOCH_S, START_EPOCH_S + 1.5
    said: dict[str, str | int] = {"a": "text", "n": 7}
    assert sorted(collector.spans, key=lambda span: span.trace_id) == [
        Collected("a step", "client", TRACE, SPAN, PARENT, *times, True, said, resource),
        Collected("a step", "consumer", "d" * 32, "e" * 16, "", *times, False, said, resource),
    ]
    assert (resource["service.name"], resource["service.version"]) == ("action-agent", "1.2.3")


def test_the_variables_say_more_of_the_agent_than_it_does_itself(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging,service.version=theirs")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "platform-agent")
    _sent(_span(SpanContext(TRACE, SPAN, sampled=True)))
    resource = collector.spans[0].resource
    assert resource["service.name"] == "platform-agent"
    assert resource["service.version"] == "theirs"
    assert resource["deployment.environment"] == "staging"


@pytest.mark.parametrize(
    ("sampler", "argument", "alone", "below_recorded", "below_unrecorded"),
    [
        ("", "", True, True, False),
        ("always_on", "", True, True, True),
        ("always_off", "", False, False, False),
        ("parentbased_always_off", "", False, True, False),
        ("parentbased_traceidratio", "0", False, True, False),
        ("traceidratio", "1", True, True, True),
    ],
)
def test_the_sampler_of_the_variables_decides(
    monkeypatch: pytest.MonkeyPatch,
    sampler: str,
    argument: str,
    *,
    alone: bool,
    below_recorded: bool,
    below_unrecorded: bool,
) -> None:
    if sampler:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    otlp = _opened()
    try:
        assert otlp.sample(TRACE, None) is alone
        assert otlp.sample(TRACE, SpanContext(TRACE, PARENT, sampled=True)) is below_recorded
        assert otlp.sample(TRACE, SpanContext(TRACE, PARENT, sampled=False)) is below_unrecorded
    finally:
        otlp.close()


def test_what_was_sent_and_what_was_not_is_told(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    for path in ("/v1/traces", "/nobody"):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url + path)
        otlp = _opened(heard)
        for _ in range(3):
            otlp.put(_span(SpanContext(TRACE, SPAN, sampled=True)))
        otlp.close()
    assert heard.events == [ev.SpansSent(3, "sent"), ev.SpansSent(3, "failed")]


def test_a_full_queue_drops_spans_and_waits_for_nobody(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    gate, entered = threading.Event(), threading.Event()
    heard = Heard()
    otlp = _opened(heard)
    take = collector.take

    def held(body: bytes) -> None:
        entered.set()
        assert gate.wait(30)
        take(body)

    monkeypatch.setattr(collector, "take", held)
    for _ in range(2):
        otlp.put(_span(SpanContext(TRACE, SPAN, sampled=True)))
    assert entered.wait(30)
    for number in range(10):
        otlp.put(_span(SpanContext(TRACE, f"{number + 1:016x}", sampled=True)))
    gate.set()
    otlp.close()
    assert [span.span_id for span in collector.spans if span.span_id != SPAN] == [f"{9:016x}", f"{10:016x}"]
    told = [event for event in heard.events if isinstance(event, ev.SpansSent)]
    by_result = {word: sum(e.spans for e in told if e.result == word) for word in ("sent", "failed", "dropped")}
    assert by_result == {"sent": 4, "failed": 0, "dropped": 8}


def test_a_collector_is_tried_without_any_span(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    for path, taken in (("/v1/traces", True), ("/nobody", False)):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url + path)
        otlp = OtlpSpans({}, Heard(), HeldClock(), said.append)
        assert otlp.probe() is taken
        otlp.close()
        assert bool(said) is not taken
    assert collector.spans == []


def test_the_sdk_is_heard_once_a_minute_without_queries_and_in_our_log_alone() -> None:
    lines = LogCapture()
    structlog.configure(processors=[lines])
    clock = HeldClock()
    OtlpSpans({}, Heard(), clock).close()
    logger = logging.getLogger("opentelemetry.exporter.made.up")
    for _ in range(5):
        logger.warning("no answer from %s", "http://me:s3cret@collector/v1/traces?api-key=s3cret (timed out)")
    logger.error("something else")
    clock.pass_s(61)
    logger.warning("no answer from %s", "http://me:s3cret@collector/v1/traces?api-key=s3cret (timed out)")
    told = [(line["event"], line["detail"], line["repeated"]) for line in lines.entries]
    said = "no answer from http://collector/v1/traces?… (timed out)"
    trouble = "OpenTelemetry has trouble"
    assert told == [(trouble, said, None), (trouble, "something else", None), (trouble, said, 4)]
    assert not logging.getLogger("opentelemetry").propagate
