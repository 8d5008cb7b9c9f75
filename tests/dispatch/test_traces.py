"""A run's trace goes with it, from its arrival to its last fact; without a tracer there is none, and no cost."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

import pytest

from agent.domain import trace as trace_module
from agent.domain.earlier import Earlier, Past
from agent.domain.events import RunFinished, RunReported, RunStarted
from agent.domain.invocation import Invocation, View
from agent.domain.json import Json
from agent.domain.outcome import Outcome, Succeeded
from agent.domain.route import EntityRule, Match, OnInterrupted, Route
from agent.domain.trace import RunTrace, SpanContext
from agent.ports import Delivery, RunContext
from tests.dispatch.fakes import House, Work

Fact = RunStarted | RunFinished | RunReported


class Constant:
    """A template that renders to the same always."""

    def __init__(self, value: Json) -> None:
        self._value = value

    def render(self, view: View) -> Json:
        del view
        return self._value


class Tracer:
    """Gives each delivery a trace, and remembers which it gave to whom."""

    def __init__(self) -> None:
        self.given: dict[object, RunTrace] = {}

    def begin(self, delivery: Delivery, invocation: Invocation) -> RunTrace:
        assert delivery.receipt not in self.given
        root = SpanContext(f"{len(self.given) + 1:032x}", "a" * 16, sampled=True)
        found = RunTrace(
            root, root.child("b" * 16), delivery.received_at_s, 0.0, delivery.origin, invocation.blueprint
        )
        self.given[delivery.receipt] = found
        return found


def _lived(
    tmp_path: Path,
    *names: str,
    tracer: Tracer | None = None,
    earlier: Earlier | None = None,
    route: Route | None = None,
) -> tuple[House, list[str | None]]:
    """What became of the messages, and the traceparent that each execution saw."""
    seen: list[str | None] = []

    async def work(run: RunContext) -> Outcome:
        seen.append(run.traceparent)
        return Succeeded()

    async def go() -> House:
        house = House([(route or Route("all", Match(), "work"), Work(work))], tmp_path, tracer=tracer)
        for name in names:
            house.source.put(name, earlier=earlier)
        await house.settle(len(names))
        return house

    return asyncio.run(go()), seen


def _facts(house: House) -> list[Fact]:
    return [event for event in house.events.all if isinstance(event, Fact)]


def test_every_fact_of_a_run_has_its_trace_and_its_executor_the_place_of_its_work(tmp_path: Path) -> None:
    tracer = Tracer()
    house, seen = _lived(tmp_path, "deploy-1", "deploy-2", tracer=tracer)
    for name in ("deploy-1", "deploy-2"):
        facts = [fact for fact in _facts(house) if fact.run_id == f"r_{name}"]
        assert [type(fact) for fact in facts] == [RunStarted, RunFinished, RunReported]
        assert {fact.trace for fact in facts} == {tracer.given[name]}
    assert sorted(map(str, seen)) == sorted(t.execution.traceparent for t in tracer.given.values())


@pytest.mark.parametrize("name", ["large deploy-1", "deploy-1"])
def test_a_run_that_no_executor_sees_has_a_trace_too(tmp_path: Path, name: str) -> None:
    tracer = Tracer()
    house, seen = _lived(tmp_path, name, tracer=tracer, route=Route("other", Match(actions=("other",)), "work"))
    assert seen == []
    assert [(type(fact), fact.trace) for fact in _facts(house)] == [
        (RunFinished, tracer.given[name]),
        (RunReported, tracer.given[name]),
    ]


def test_a_defect_while_entities_are_written_leaves_no_execution_without_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> Outcome:
        raise RuntimeError("a bug")

    monkeypatch.setattr("agent.dispatch.life.write_entities", broken)
    tracer = Tracer()
    rule = EntityRule(Constant({"blueprint": "b", "identifier": "i"}))
    house, _ = _lived(tmp_path, "deploy-1", tracer=tracer, route=Route("all", Match(), "work", entities=(rule,)))
    started, finished, reported = _facts(house)
    assert isinstance(started, RunStarted)
    assert isinstance(finished, RunFinished)
    assert isinstance(reported, RunReported)
    assert (finished.executor, finished.status, finished.trace) == ("work", "failure", tracer.given["deploy-1"])


def test_an_attempt_after_an_interruption_says_which_it_is(tmp_path: Path) -> None:
    tracer = Tracer()
    again = Route("all", Match(), "work", on_interrupted=OnInterrupted.RERUN)
    house, seen = _lived(
        tmp_path, "deploy-1", tracer=tracer, earlier=Earlier(Past.INTERRUPTED, 1, "another"), route=again
    )
    assert [fact.attempt for fact in _facts(house) if isinstance(fact, RunStarted)] == [2]
    assert seen == [tracer.given["deploy-1"].execution.traceparent]


@pytest.mark.parametrize("name", ["noise-1", "forged-1", "kafka-1"])
def test_what_is_no_run_of_ours_has_none(tmp_path: Path, name: str) -> None:
    tracer = Tracer()
    _lived(tmp_path, name, tracer=tracer, route=Route("other", Match(actions=("other",)), "work"))
    assert tracer.given == {}


def test_without_a_tracer_nobody_has_one_and_nothing_is_made_for_it(tmp_path: Path) -> None:
    names = [f"deploy-{number}" for number in range(50)]
    made = {}
    for tracer in (Tracer(), None):
        tracemalloc.start()
        try:
            house, seen = _lived(tmp_path, *names, tracer=tracer)
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        assert len(seen) == 50
        # What the facts hold is still there, and so would be what was made for their traces.
        allocated = snapshot.filter_traces([tracemalloc.Filter(True, trace_module.__file__)])
        made[tracer is not None] = sum(found.count for found in allocated.statistics("filename"))
        traces = {fact.trace for fact in _facts(house)}
        assert traces == ({None} if tracer is None else set(tracer.given.values()))
        assert (set(seen) == {None}) is (tracer is None)
    assert made[False] == 0
    assert made[True] >= 50
