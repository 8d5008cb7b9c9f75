"""Which trace a run belongs to."""

from __future__ import annotations

from agent.domain.invocation import Channel, RunId
from agent.domain.trace import SpanContext, trace_id_of
from agent.observability.tracer import RunTracer
from agent.ports import Delivery
from agent.testing import fake_invocation
from tests.observability.helpers import START_EPOCH_S, HeldClock

PARENT = SpanContext("a" * 32, "b" * 16, sampled=True)


def _tracer(*, sampled: bool = True) -> tuple[RunTracer, list[tuple[str, SpanContext | None]]]:
    asked: list[tuple[str, SpanContext | None]] = []

    def sample(trace_id: str, parent: SpanContext | None) -> bool:
        asked.append((trace_id, parent))
        return sampled

    clock = HeldClock()
    clock.passed_s = 10.0
    return RunTracer(sample, clock), asked


def _delivery(parent: SpanContext | None = None) -> Delivery:
    return Delivery(b"", None, Channel.RUNS, HeldClock().monotonic() + 7.0, "runs[0]@7", parent=parent)


def test_a_run_has_the_same_trace_whenever_and_wherever_it_is_delivered() -> None:
    invocation = fake_invocation(run_id="r_1")
    one, other = (_tracer()[0].begin(_delivery(), invocation) for _ in range(2))
    assert one.root.trace_id == other.root.trace_id == trace_id_of(RunId("r_1"))
    assert one.root.parent_id == ""
    assert len({one.root.span_id, other.root.span_id, one.execution.span_id, other.execution.span_id}) == 4
    assert one.execution.parent_id == one.root.span_id


def test_what_came_with_the_message_is_above_the_run() -> None:
    tracer, asked = _tracer()
    trace = tracer.begin(_delivery(PARENT), fake_invocation())
    assert (trace.root.trace_id, trace.root.parent_id) == (PARENT.trace_id, PARENT.span_id)
    assert asked == [(PARENT.trace_id, PARENT)]


def test_a_message_that_names_no_run_has_a_new_trace() -> None:
    tracer, _ = _tracer()
    one, other = (tracer.begin(_delivery(), fake_invocation(run_id=None)) for _ in range(2))
    assert one.root.trace_id != other.root.trace_id


def test_what_is_not_sampled_says_so_to_all_that_goes_on_below() -> None:
    trace = _tracer(sampled=False)[0].begin(_delivery(PARENT), fake_invocation())
    assert trace.execution.traceparent.endswith("-00")
    assert trace.recorded_id is None


def test_the_trace_begins_with_the_arrival() -> None:
    trace = _tracer()[0].begin(_delivery(), fake_invocation(blueprint="vm"))
    assert trace.arrived_epoch_s == START_EPOCH_S + 7.0
    assert (trace.origin, trace.blueprint) == ("runs[0]@7", "vm")
