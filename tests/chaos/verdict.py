"""The verdict over the agents: what must hold for every run, whatever was done to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.broker.worklog import Execution
from tests.chaos.evidence import Evidence, PortRun, is_about
from tests.chaos.order import MAX_ATTEMPTS, Order
from tests.chaos.reasons import (
    beginnings,
    begun_before,
    event_was_lost,
    somebody_was_gone,
    was_harmed,
    was_lost,
    was_stopped,
)
from tests.chaos.stall_watch import STALLED
from tests.chaos.torments import ENDED, STOPPED, STOPPED_EARLY

_BAD_WORDS = re.compile(
    r"Traceback|Fatal Python error|a defect of the agent|never awaited|Task was destroyed"
    r"|\"level\": ?\"critical\"|\"code\": ?\"ledger\""
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that must not be. ``run_id`` is ``None`` where it is not about one run."""

    what: str
    run_id: str | None = None


def troubles(evidence: Evidence) -> list[Trouble]:
    """Everything that is wrong; empty if the agents kept their promises."""
    return [trouble for rule in _RULES for trouble in rule(evidence)]


def known_limits(evidence: Evidence) -> list[Trouble]:
    """What is not as one would wish, and as the documents say: shown, and no trouble."""
    return [limit for rule in _LIMITS for limit in rule(evidence)]


# ── rules ────────────────────────────────────────────────────────────────────────────────────────────


def _one_end_each(evidence: Evidence) -> Iterator[Trouble]:
    for run in evidence.runs.values():
        if len(run.statuses) != 1:
            yield Trouble(f"has {len(run.statuses)} terminal statuses: {list(run.statuses)}", run.run_id)
        elif not (run.succeeded or run.was_interrupted or run.was_stopped):
            yield Trouble(f"failed, and nothing in it fails; Port was told: {run.said[:200]!r}", run.run_id)


def _success_is_true(evidence: Evidence) -> Iterator[Trouble]:
    for run in evidence.runs.values():
        if run.succeeded and not _had_ended_well(evidence, run):
            yield Trouble("SUCCESS in Port, and no execution had come to its end by then", run.run_id)


def _no_more_than_allowed(evidence: Evidence) -> Iterator[Trouble]:
    for order in evidence.orders.values():
        times = len(evidence.executions_of(order.run_id))
        allowed = MAX_ATTEMPTS if order.policy == "rerun" else 1
        if times > allowed:
            yield Trouble(f"executed {times} times; its route allows {allowed}", order.run_id)


def _no_repetition_without_a_reason(evidence: Evidence) -> Iterator[Trouble]:
    for order, begun, again in _repetitions(evidence):
        if begun is None:
            run = evidence.runs.get(order.run_id)
            since_s = evidence.began_s if run is None else run.created_s
            if not somebody_was_gone(evidence, since_s, again.began_s):
                detail = f"{again.agent} began attempt {again.attempt} first, and nobody was gone until then"
                yield Trouble(detail, order.run_id)
        elif not (event_was_lost if order.is_change_event else was_lost)(evidence, begun, again.began_s):
            detail = f"{again.agent} began attempt {again.attempt}, and nothing happened to {begun.agent}"
            yield Trouble(f"{detail}, which had begun attempt {begun.attempt}", order.run_id)


def _no_interruption_without_a_reason(evidence: Evidence) -> Iterator[Trouble]:
    for run, ended_s in _ended(evidence):
        if run.was_interrupted:
            begun = beginnings(evidence, run.run_id, ended_s)
            if not begun:
                if not somebody_was_gone(evidence, run.created_s, ended_s):
                    yield Trouble("told to be interrupted, and nobody had begun it or was gone", run.run_id)
            elif not was_lost(evidence, begun[-1], ended_s):
                yield Trouble(f"told to be interrupted, and {begun[-1].agent} had it unharmed", run.run_id)


def _no_stop_without_a_reason(evidence: Evidence) -> Iterator[Trouble]:
    for run, ended_s in _ended(evidence):
        begun = beginnings(evidence, run.run_id, ended_s)
        if run.was_stopped and not any(was_stopped(evidence, one, ended_s) for one in begun):
            yield Trouble("told to have been stopped, and no agent that had it was", run.run_id)
        if run.was_told_by_another and not any(was_harmed(evidence, one, ended_s) for one in begun):
            yield Trouble("told by another agent, and the one that had it was not harmed", run.run_id)


def _no_contradiction_without_a_reason(evidence: Evidence) -> Iterator[Trouble]:
    for run, contradiction in _contradicted(evidence):
        told_s = max(
            (one["at_s"] for one in evidence.requests if one["run_id"] == run.run_id and one["method"] == "PATCH"),
            default=run.ended_s or run.created_s,
        )
        begun = beginnings(evidence, run.run_id, told_s)
        if not any(was_lost(evidence, one, told_s) for one in begun):
            yield Trouble(f"{contradiction}, and no agent that had it was harmed", run.run_id)


def _nothing_after_the_end(evidence: Evidence) -> Iterator[Trouble]:
    for order, execution, late_s in _late(evidence):
        if not _was_asked_just_before(evidence, order, execution):
            detail = f"{execution.agent} began attempt {execution.attempt} {late_s:.3f} s after its end in Port"
            yield Trouble(detail, order.run_id)


def _each_event_is_executed(evidence: Evidence) -> Iterator[Trouble]:
    for order in evidence.orders.values():
        if order.is_change_event and not evidence.executions_of(order.run_id):
            yield Trouble("a change event, and it was never executed", order.run_id)


def _nobody_elses(evidence: Evidence) -> Iterator[Trouble]:
    for run_id in sorted(evidence.executions.keys() - evidence.orders.keys()):
        yield Trouble("executed, and not ours", run_id)
    named = {request["run_id"] for request in evidence.requests if request["run_id"]}
    for run_id in sorted(named - evidence.orders.keys()):
        yield Trouble("named to Port, and not ours", run_id)


def _keys_in_order(evidence: Evidence) -> Iterator[Trouble]:
    by_key: dict[str, list[Order]] = {}
    for order in evidence.orders.values():
        if order.key is not None and order.offset is not None:
            by_key.setdefault(order.key, []).append(order)
    for key, orders in by_key.items():
        in_order = sorted(orders, key=lambda order: order.offset or 0)
        executed = [order for order in in_order if evidence.executions_of(order.run_id)]
        for before, after in pairwise(executed):
            begin = evidence.executions_of(after.run_id)[0]
            if not _was_over(evidence, before, begin.began_s):
                detail = (
                    f"{begin.agent} began it {key!r} while {before.run_id}, which comes before it, was not over"
                )
                yield Trouble(detail, after.run_id)


def _all_is_committed(evidence: Evidence) -> Iterator[Trouble]:
    if evidence.settled_after_s is None:
        yield Trouble("not everything was settled in time")
    for place, offsets in evidence.offsets.items():
        if offsets.is_untouched:
            continue
        if offsets.committed != offsets.end:
            yield Trouble(f"{place}: committed {offsets.committed}, its end is {offsets.end}")
        known = offsets.map
        if known is None or known.marks or known.notes:
            yield Trouble(f"{place}: the offset map is not empty: {known or offsets.metadata!r}")


def _nobody_stands_still(evidence: Evidence) -> Iterator[Trouble]:
    for harm in evidence.harms:
        if harm.what == STALLED:
            since_s, for_s = harm.began_s - evidence.began_s, harm.ended_s - harm.began_s
            yield Trouble(f"{harm.whom} stood still with work to do, for {for_s:.0f} s since {since_s:.1f} s")


def _orderly_exits(evidence: Evidence) -> Iterator[Trouble]:
    for name, code in evidence.exits.items():
        if code != 0:
            yield Trouble(f"{name} ended with {code} when it was stopped at the end")
    for harm in evidence.harms:
        at_s = harm.began_s - evidence.began_s
        if harm.what == ENDED:
            yield Trouble(f"{harm.whom} ended by itself with {harm.exit_code}, {at_s:.1f} s after the begin")
        elif harm.what.startswith(STOPPED) and harm.what != STOPPED_EARLY and harm.exit_code != 0:
            took_s = harm.ended_s - harm.began_s
            detail = (
                f"{harm.whom} ended with {harm.exit_code} after {took_s:.1f} s when it was stopped, {at_s:.1f} s"
            )
            yield Trouble(f"{detail} after the begin{harm.last_words and f'; it wrote:{chr(10)}{harm.last_words}'}")


def _no_defect_in_a_log(evidence: Evidence) -> Iterator[Trouble]:
    for name, text in evidence.logs.items():
        lines = [line for line in text.splitlines() if _BAD_WORDS.search(line)]
        if lines:
            yield Trouble(f"{name} logged {len(lines)} defects, the first: {lines[0][:2000]}")


_RULES: tuple[Callable[[Evidence], Iterator[Trouble]], ...] = (
    _one_end_each,
    _success_is_true,
    _no_more_than_allowed,
    _no_repetition_without_a_reason,
    _no_interruption_without_a_reason,
    _no_stop_without_a_reason,
    _no_contradiction_without_a_reason,
    _nothing_after_the_end,
    _each_event_is_executed,
    _nobody_elses,
    _keys_in_order,
    _all_is_committed,
    _nobody_stands_still,
    _orderly_exits,
    _no_defect_in_a_log,
)


# ── known limits ─────────────────────────────────────────────────────────────────────────────────────


# Each of these is trouble as well where no harm explains it.


def _outcomes_that_went_with_their_agent(evidence: Evidence) -> Iterator[Trouble]:
    """The agent that knew of the good end was gone before it could commit it, or Kafka was."""
    for run in evidence.runs.values():
        if run.was_interrupted and _had_ended_well(evidence, run):
            yield Trouble("told to be interrupted, although its work had come to its end", run.run_id)


def _repeated_as_they_ended(evidence: Evidence) -> Iterator[Trouble]:
    """Port said that the run goes on, and it ended before its repetition had begun: the question is no lock."""
    for order, execution, late_s in _late(evidence):
        if _was_asked_just_before(evidence, order, execution):
            yield Trouble(
                f"repeated, and ended in Port meanwhile: attempt {execution.attempt}, {late_s:.3f} s late",
                order.run_id,
            )


def _repeated_after_their_work(evidence: Evidence) -> Iterator[Trouble]:
    """As above: nobody was left who knew that the work had come to its end."""
    for order, begun, again in _repetitions(evidence):
        if begun is not None and begun.ended_s is not None and begun.ended_s <= again.began_s:
            kind = "a change event" if order.is_change_event else "a run"
            yield Trouble(f"{kind} repeated after its work had come to its end", order.run_id)


def _contradictions(evidence: Evidence) -> Iterator[Trouble]:
    """Two agents held it for theirs (one was frozen, or cut off from the broker); the first word counts."""
    for run, contradiction in _contradicted(evidence):
        yield Trouble(contradiction, run.run_id)


_LIMITS: tuple[Callable[[Evidence], Iterator[Trouble]], ...] = (
    _outcomes_that_went_with_their_agent,
    _repeated_as_they_ended,
    _repeated_after_their_work,
    _contradictions,
)


# ── what both look at ────────────────────────────────────────────────────────────────────────────────


def _repetitions(evidence: Evidence) -> Iterator[tuple[Order, Execution | None, Execution]]:
    """Executions that are not the first, and the one before; ``None`` where nothing tells who had begun it."""
    for order in evidence.orders.values():
        executions = evidence.executions_of(order.run_id)
        if executions and executions[0].attempt > 1:
            yield order, begun_before(evidence, order.run_id, executions[0]), executions[0]
        for begun, again in pairwise(executions):
            yield order, begun, again


def _ended(evidence: Evidence) -> Iterator[tuple[PortRun, float]]:
    """Runs that have ended in Port, and when."""
    for run in evidence.runs.values():
        if run.ended_s is not None:
            yield run, run.ended_s


def _contradicted(evidence: Evidence) -> Iterator[tuple[PortRun, str]]:
    """Runs of which Port was told that they ended in two ways, and which."""
    for run in evidence.runs.values():
        others = [status for status in run.refused if status not in run.statuses]
        if others and run.statuses:
            yield run, f"{run.statuses[0]} in Port, which then refused {', '.join(others)}"


def _had_ended_well(evidence: Evidence, run: PortRun) -> bool:
    """Whether an execution had come to its end when the run ended in Port."""
    ends_s = [one.ended_s for one in evidence.executions_of(run.run_id) if one.ended_s is not None]
    return run.ended_s is not None and any(end_s <= run.ended_s + _PORTS_CLOCK_S for end_s in ends_s)


def _late(evidence: Evidence) -> Iterator[tuple[Order, Execution, float]]:
    """Executions that began when the run had ended in Port, and how much later."""
    for order in evidence.orders.values():
        run = evidence.runs.get(order.run_id)
        ended_s = None if run is None else run.ended_s
        for execution in evidence.executions_of(order.run_id):
            if ended_s is not None and execution.began_s > ended_s + _PORTS_CLOCK_S:
                yield order, execution, execution.began_s - ended_s


def _was_asked_just_before(evidence: Evidence, order: Order, execution: Execution) -> bool:
    """Whether an agent that repeats a run had Port's word for it that the run goes on, and began a moment later."""
    ended_s = evidence.runs[order.run_id].ended_s
    return order.policy == "rerun" and any(
        is_about(request, order.run_id)
        and request["method"] == "GET"
        and request["status"] == 200
        and execution.began_s - _A_MOMENT_S <= request["at_s"] <= (ended_s or 0)
        for request in evidence.requests
    )


def _was_over(evidence: Evidence, order: Order, at_s: float) -> bool:
    """Whether the next run of the key might begin: all of it had ended, in Port or here, or went with its agent."""
    run = evidence.runs.get(order.run_id)
    if run is not None and run.ended_s is not None and run.ended_s <= at_s:
        return True
    begun = [one for one in evidence.executions_of(order.run_id) if one.began_s <= at_s]
    return bool(begun) and all(
        (one.ended_s is not None and one.ended_s <= at_s) or was_lost(evidence, one, at_s) for one in begun
    )


_A_MOMENT_S = 2.0
_PORTS_CLOCK_S = 0.001
"""The stand-in tells times in milliseconds."""
