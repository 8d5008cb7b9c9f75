"""Facts become spans: which, when, and what they say."""

from __future__ import annotations

import gc
from itertools import count

import pytest

from agent.domain import events as ev
from agent.domain.trace import RunTrace, SpanContext
from agent.observability.spans import Span, SpanKind, SpanObserver
from tests.observability.helpers import ONE_OF_EACH, RUN, START_EPOCH_S, HeldClock

TRACE = "a" * 32


def _trace(*, sampled: bool = True, parent_id: str = "", blueprint: str | None = "service") -> RunTrace:
    root = SpanContext(TRACE, "root".ljust(16, "0"), sampled, parent_id)
    arrived_s = HeldClock().monotonic()
    return RunTrace(root, root.child("e" * 16), arrived_s, START_EPOCH_S, "runs[0]@7", blueprint)


class _Followed:
    """An observer with all that it has put."""

    def __init__(self) -> None:
        self.clock = HeldClock()
        self.spans: list[Span] = []
        ids = count(1)
        self._observer = SpanObserver(self.spans.append, self.clock, lambda: f"{next(ids):016x}")

    def tell(self, at_s: float, *events: ev.Event) -> None:
        self.clock.passed_s = at_s
        for event in events:
            self._observer.notify(event)

    def times(self) -> dict[str, tuple[float, float]]:
        return {s.name: (s.began_s - START_EPOCH_S, s.ended_s - START_EPOCH_S) for s in self.spans}


def _followed(trace: RunTrace, status: str = "success", reason: str = "", result: str = "delivered") -> _Followed:
    """A run that waits 2 s, is executed for 3 s, and whose report takes 5 s."""
    followed = _Followed()
    followed.tell(2, ev.RunStarted("process", "create", RUN, "act", 2.0, 1, trace))
    followed.tell(5, ev.RunFinished("process", "create", RUN, status, reason, "a detail", 3.0, "act", trace))
    followed.tell(10, ev.RunReported("create", RUN, result, trace=trace))
    return followed


def test_the_steps_of_a_run_follow_each_other_and_its_root_is_above_them_all() -> None:
    trace = _trace()
    followed = _followed(trace)
    assert followed.times() == {
        "wait": (0, 2),
        "execute process": (2, 5),
        "report": (5, 10),
        "run create": (0, 10),
    }
    wait, execution, report, root = followed.spans
    assert root.context == trace.root
    assert execution.context == trace.execution
    assert {span.context.parent_id for span in (wait, execution, report)} == {trace.root.span_id}
    assert len({span.context.span_id for span in followed.spans}) == 4
    assert [span.kind for span in followed.spans] == [SpanKind.INTERNAL] * 3 + [SpanKind.CONSUMER]


def test_the_root_says_which_run_it_was_and_what_became_of_it() -> None:
    root = _followed(_trace())
    assert root.spans[-1].attributes == {
        "port.run.id": RUN,
        "port.run.status": "success",
        "port.run.attempt": 1,
        "port.action": "act",
        "port.blueprint": "service",
        "agent.route": "create",
        "agent.executor": "process",
        "agent.origin": "runs[0]@7",
        "agent.reported": "delivered",
    }


def test_what_is_not_known_is_not_said_and_nothing_is_longer_than_its_bound() -> None:
    followed, trace = _Followed(), _trace(blueprint=None)
    followed.tell(0, ev.RunFinished("none", "create", None, "failure", "", "", 0.0, "x" * 1000, trace))
    followed.tell(1, ev.RunReported("create", None, "nothing", trace=trace))
    attributes = followed.spans[-1].attributes
    assert attributes.keys().isdisjoint({"port.run.id", "port.blueprint", "agent.executor", "port.run.attempt"})
    assert attributes["port.action"] == "x" * 200


@pytest.mark.parametrize(
    ("status", "result", "failed"),
    [
        ("success", "delivered", set()),
        ("accepted", "nothing", set()),
        ("failure", "delivered", {"execute process", "run create"}),
        ("cancelled", "nothing", {"execute process", "run create"}),
        ("success", "refused", {"report", "run create"}),
        ("success", "undelivered", {"report", "run create"}),
    ],
)
def test_what_went_wrong_is_marked_where_it_did(status: str, result: str, failed: set[str]) -> None:
    followed = _followed(_trace(), status, "exit_code" if failed else "", result)
    assert {span.name for span in followed.spans if span.failed} == failed
    assert not any("a detail" in str(span) for span in followed.spans)


def test_a_run_that_nobody_executes_waits_until_that_is_known() -> None:
    followed, trace = _Followed(), _trace()
    followed.tell(4, ev.RunFinished("none", "create", RUN, "failure", "no_route", "", 0.0, "act", trace))
    followed.tell(6, ev.RunReported("create", RUN, "delivered", trace=trace))
    assert followed.times() == {"wait": (0, 4), "report": (4, 6), "run create": (0, 6)}


def test_a_request_is_below_what_its_executor_was_given() -> None:
    followed, trace = _Followed(), _trace()
    followed.tell(2, ev.RunStarted("http", "call", RUN, "act", 2.0, 1, trace))
    followed.spans.clear()
    for number, code in enumerate(("200", "302", "404", "timeout", "cancelled")):
        span = trace.execution.child(f"{number:016x}")
        followed.tell(9, ev.TargetRequested(span, "POST", "ops.internal:8443", code, 4.0))
    assert {(s.began_s - START_EPOCH_S, s.ended_s - START_EPOCH_S) for s in followed.spans} == {(5, 9)}
    assert {s.context.parent_id for s in followed.spans} == {trace.execution.span_id}
    assert [s.failed for s in followed.spans] == [False, False, True, True, True]
    assert followed.spans[0].attributes == {
        "http.request.method": "POST",
        "server.address": "ops.internal",
        "server.port": 8443,
        "http.response.status_code": 200,
    }
    assert followed.spans[3].attributes == {
        "http.request.method": "POST",
        "server.address": "ops.internal",
        "server.port": 8443,
        "error.type": "timeout",
    }


def test_a_trace_that_is_not_recorded_has_no_spans() -> None:
    assert _followed(_trace(sampled=False)).spans == []


def test_facts_without_a_trace_are_passed_over() -> None:
    followed = _Followed()
    followed.tell(1, *ONE_OF_EACH)
    assert followed.spans == []


def test_a_run_that_is_broken_off_is_not_remembered_for_ever() -> None:
    followed, trace = _Followed(), _trace()
    followed.tell(2, ev.RunStarted("process", "create", RUN, "act", 2.0, 1, trace))
    del trace
    gc.collect()
    assert not followed._observer._stories
    assert not followed._observer._executions


def test_a_run_whose_end_is_replaced_has_one_execution_and_the_last_status() -> None:
    followed, trace = _Followed(), _trace()
    followed.tell(2, ev.RunStarted("process", "create", RUN, "act", 2.0, 1, trace))
    followed.tell(5, ev.RunFinished("process", "create", RUN, "success", "", "", 3.0, "act", trace))
    followed.tell(6, ev.RunFinished("none", "create", RUN, "failure", "exception", "", 0.0, "act", trace))
    followed.tell(7, ev.RunReported("create", RUN, "delivered", trace=trace))
    assert [span.name for span in followed.spans] == ["wait", "execute process", "report", "run create"]
    assert followed.times()["report"] == (5, 7)
    assert followed.spans[-1].attributes["port.run.status"] == "failure"


def test_an_execution_that_is_broken_off_lasts_until_then_and_keeps_its_name() -> None:
    followed, trace = _Followed(), _trace()
    followed.tell(2, ev.RunStarted("process", "create", RUN, "act", 2.0, 1, trace))
    followed.tell(5, ev.RunFinished("none", "create", RUN, "failure", "exception", "", 0.0, "act", trace))
    followed.tell(7, ev.RunReported("create", RUN, "delivered", trace=trace))
    assert followed.times() == {
        "wait": (0, 2),
        "execute process": (2, 5),
        "report": (5, 7),
        "run create": (0, 7),
    }


def test_a_report_of_what_was_never_said_to_be_done_takes_no_time() -> None:
    followed, trace = _Followed(), _trace()
    followed.tell(2, ev.RunStarted("process", "create", RUN, "act", 2.0, 1, trace))
    followed.tell(7, ev.RunReported("create", RUN, "delivered", trace=trace))
    assert followed.times()["report"] == (7, 7)


def test_a_clock_that_is_set_does_not_tear_a_trace_apart() -> None:
    followed, trace = _Followed(), _trace()
    followed.tell(2, ev.RunStarted("http", "create", RUN, "act", 2.0, 1, trace))
    followed.clock.epoch = lambda: 0.0  # type: ignore[method-assign]  # somebody set it
    followed.tell(4, ev.TargetRequested(trace.execution.child("9" * 16), "POST", "ops:443", "200", 1.0))
    followed.tell(5, ev.RunFinished("http", "create", RUN, "success", "", "", 3.0, "act", trace))
    followed.tell(6, ev.RunReported("create", RUN, "delivered", trace=trace))
    assert followed.times()["POST"] == (3, 4)
    assert followed.times()["run create"] == (0, 6)
