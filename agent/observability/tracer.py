"""Which trace a run belongs to, and whether it is recorded."""

from __future__ import annotations

import secrets
from typing import Protocol

from agent.domain.invocation import Invocation
from agent.domain.trace import RunTrace, SpanContext, trace_id_of
from agent.ports import Clock, Delivery


class Sample(Protocol):
    """Decides whether a trace is recorded."""

    def __call__(self, trace_id: str, parent: SpanContext | None, /) -> bool:
        """``parent``: the span, of another program, that the trace comes from. Must not raise."""


class RunTracer:
    """Implements `agent.ports.Tracer`.

    A message that comes with a span of its own makes the run part of that trace. Else the trace's id is made of the
    run's id. One that names no run begins a new trace whenever it is delivered.
    """

    def __init__(self, sample: Sample, clock: Clock) -> None:
        self._sample = sample
        self._clock = clock

    def begin(self, delivery: Delivery, invocation: Invocation) -> RunTrace:
        """The trace of a run that has arrived."""
        parent, run_id = delivery.parent, invocation.run_id
        if parent is not None:
            trace_id = parent.trace_id
        else:
            trace_id = secrets.token_hex(16) if run_id is None else trace_id_of(run_id)
        sampled = self._sample(trace_id, parent)
        root = SpanContext(trace_id, new_span_id(), sampled, "" if parent is None else parent.span_id)
        age_s = self._clock.monotonic() - delivery.received_at_s
        return RunTrace(
            root,
            root.child(new_span_id()),
            delivery.received_at_s,
            self._clock.epoch() - age_s,
            delivery.origin,
            invocation.blueprint,
        )


def new_span_id() -> str:
    """An id that nobody else has."""
    return secrets.token_hex(8)
