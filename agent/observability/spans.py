"""Traces of runs: facts become spans, each told once, whole, when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakValueDictionary

from agent.domain import events
from agent.domain.trace import RunTrace, SpanContext
from agent.observability.observers import EventTable
from agent.ports import Clock, Ear

Attributes: TypeAlias = Mapping[str, str | int]

_MAX_VALUE_CHARS = 200
_FAILED = frozenset({"failure", "rejected", "cancelled"})
_UNTOLD = frozenset({"refused", "undelivered"})


class SpanKind(Enum):
    """What a span is to the one above it."""

    CONSUMER = "consumer"
    INTERNAL = "internal"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Span:
    """One step of a run that has ended; times are seconds since 1970."""

    name: str
    kind: SpanKind
    context: SpanContext
    began_s: float
    ended_s: float
    attributes: Attributes = field(default_factory=dict)
    failed: bool = False


@dataclass(slots=True)
class _Story:
    """What was told of a run by now. Times are seconds since 1970.

    ``done_s``: when its work was done; ``None`` while it goes on.
    """

    started_s: float
    executor: str = ""
    attempt: int = 0
    done_s: float | None = None
    status: str = ""
    action: str | None = None


class SpanObserver:
    """Gives ``put`` the spans of each run whose trace is recorded; `agent.domain.trace` says where they stand.

    ``run ROUTE``, from the arrival of its message until Port has taken the report, is above ``wait``,
    ``execute EXECUTOR`` and ``report``; the requests that an executor makes are below its execution. No span has
    an input, a user, or more of a target than its host. Loop thread only; ``new_id`` makes the ids of spans.
    """

    def __init__(self, put: Callable[[Span], None], clock: Clock, new_id: Callable[[], str]) -> None:
        self._put = put
        self._clock = clock
        self._new_id = new_id
        self._stories: WeakKeyDictionary[RunTrace, _Story] = WeakKeyDictionary()
        self._executions: WeakValueDictionary[str, RunTrace] = WeakValueDictionary()
        """By the ids of their spans."""
        self._table = EventTable()
        self._table.on(events.RunStarted, self._started)
        self._table.on(events.RunFinished, self._finished)
        self._table.on(events.RunReported, self._reported)
        self._table.on(events.TargetRequested, self._requested)

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return self._table.ears(kind)

    def notify(self, event: events.Event) -> None:
        """Takes note of ``event``."""
        self._table.notify(event)

    def _started(self, event: events.RunStarted) -> None:
        trace = event.trace
        if trace is None or not trace.root.sampled:
            return
        started_s = trace.arrived_epoch_s + event.waited_s
        self._waited(trace, started_s)
        self._stories[trace] = _Story(started_s, event.executor, event.attempt)
        self._executions[trace.execution.span_id] = trace

    def _finished(self, event: events.RunFinished) -> None:
        trace = event.trace
        if trace is None or not trace.root.sampled:
            return
        story = self._stories.get(trace)
        if story is None:  # nobody executed it: all the time until now it has waited for that to be known
            story = self._stories[trace] = _Story(self._now_s(trace))
            self._waited(trace, story.started_s)
        story.status, story.action = event.status, event.action
        if story.done_s is not None:  # a defect gave it another end than that of its work
            return
        as_begun = event.executor == story.executor  # else broken off by a defect: nobody knows how long it took
        story.done_s = story.started_s + event.duration_s if as_begun else self._now_s(trace)
        if story.executor:
            attributes = _said(
                {"agent.executor": story.executor, "port.run.status": event.status, "error.type": event.reason}
            )
            name, failed = f"execute {story.executor}", event.status in _FAILED
            self._put(
                Span(
                    name,
                    SpanKind.INTERNAL,
                    trace.execution,
                    story.started_s,
                    story.done_s,
                    attributes,
                    failed,
                )
            )

    def _reported(self, event: events.RunReported) -> None:
        trace = event.trace
        story = None if trace is None else self._stories.pop(trace, None)
        if trace is None or story is None:
            return
        now_s = self._now_s(trace)
        done_s = now_s if story.done_s is None else story.done_s
        now_s = max(now_s, done_s)
        result = {"agent.reported": event.result}
        untold = event.result in _UNTOLD
        self._put(Span("report", SpanKind.INTERNAL, self._below(trace), done_s, now_s, result, failed=untold))
        about = {
            "port.run.id": event.run_id,
            "port.run.status": story.status,
            "port.run.attempt": story.attempt,
            "port.action": story.action,
            "port.blueprint": trace.blueprint,
            "agent.route": event.route,
            "agent.executor": story.executor,
            "agent.origin": trace.origin,
            **result,
        }
        failed = untold or story.status in _FAILED
        name, arrived_s = f"run {event.route}", trace.arrived_epoch_s
        self._put(Span(name, SpanKind.CONSUMER, trace.root, arrived_s, now_s, _said(about), failed))

    def _requested(self, event: events.TargetRequested) -> None:
        trace = self._executions.get(event.span.parent_id)
        if trace is None:
            return
        now_s = self._now_s(trace)
        status = int(event.code) if event.code.isdecimal() else 0
        failed = not 0 < status < 400
        host, _, port = event.target.rpartition(":")
        about = {
            "http.request.method": event.method,
            "server.address": host,
            "server.port": int(port) if port.isdecimal() else None,
            "http.response.status_code": status,
            "error.type": event.code if failed else "",
        }
        began_s = now_s - event.duration_s
        self._put(Span(event.method, SpanKind.CLIENT, event.span, began_s, now_s, _said(about), failed))

    def _waited(self, trace: RunTrace, until_s: float) -> None:
        self._put(Span("wait", SpanKind.INTERNAL, self._below(trace), trace.arrived_epoch_s, until_s))

    def _below(self, trace: RunTrace) -> SpanContext:
        return trace.root.child(self._new_id())

    def _now_s(self, trace: RunTrace) -> float:
        """By the clock that only goes forward: one trace is true in itself, whatever the other clock does."""
        return trace.arrived_epoch_s + self._clock.monotonic() - trace.arrived_s


def _said(attributes: Mapping[str, str | int | None]) -> Attributes:
    """Those that say something; what came with a message may be of any length."""
    return {
        name: value[:_MAX_VALUE_CHARS] if isinstance(value, str) else value
        for name, value in attributes.items()
        if value
    }
