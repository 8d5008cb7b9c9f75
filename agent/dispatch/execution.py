"""Supervises one call of an executor: its deadline, its stop, and what its end means."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import replace
from typing import Any

from agent.dispatch.active_run import ActiveRun
from agent.domain.outcome import (
    Accepted,
    Cancelled,
    CancelReason,
    Failed,
    FailureKind,
    Outcome,
    Rejected,
    Succeeded,
)
from agent.domain.route import Route
from agent.ports import Clock, Executor

_MARGIN_S = 5.0
"""What an executor gets beyond its kill grace to let go, and again after the second cancellation."""

_LATE_S = 0.5
_NOTICE_S = 1.0

_DETAIL = {
    CancelReason.AGENT_STOP: "the agent was stopped while the run was in progress",
    CancelReason.CLOSED_IN_PORT: "the run was closed in Port",
}


async def supervise(run: ActiveRun, executor: Executor, route: Route, clock: Clock, kill_grace_s: float) -> Outcome:
    """Calls the executor and returns how it ended, whatever it does: never raises an `Exception`.

    At the deadline, or when the run is stopped, the executor is cancelled; one that holds on for longer than
    its grace is cancelled again (which kills at once) and in the end left behind. Cancelling this call
    cancels the executor without waiting for it.
    """
    task = asyncio.ensure_future(executor.execute(run))
    timed_out = False
    try:
        remaining_s = max(0.0, run.deadline_s - clock.monotonic())
        either: list[asyncio.Future[Any]] = [task, run.stopped]
        await asyncio.wait(either, timeout=remaining_s, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and clock.monotonic() - run.deadline_s > _LATE_S:
            # We stood still: it may have ended in time, and nobody has had the chance to notice.
            await asyncio.wait(either, timeout=_NOTICE_S, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            timed_out = not run.stopped.done()
            await _end(task, kill_grace_s)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_forget)
    if not task.done():
        run.log("the executor did not stop when it was told to, and was left behind", level="ERROR")
    elif not task.cancelled():
        return _meaning(task, run, route)
    return _stopped_outcome(run, route, timed_out=timed_out)


async def _end(task: asyncio.Future[Outcome], kill_grace_s: float) -> None:
    for patience_s in (kill_grace_s + _MARGIN_S, _MARGIN_S):
        task.cancel()
        await asyncio.wait({task}, timeout=patience_s)
        if task.done():
            return


def _forget(task: asyncio.Future[Outcome]) -> None:
    """Whatever a task that was left behind still raises is taken note of by nobody."""
    if not task.cancelled():
        task.exception()


def _stopped_outcome(run: ActiveRun, route: Route, *, timed_out: bool) -> Outcome:
    if timed_out:
        return Failed(f"timed out after {_duration(route.timeout_s)}", FailureKind.TIMED_OUT)
    if run.cancellation is not None:
        return Cancelled(run.cancellation, _DETAIL[run.cancellation])
    return Failed("the executor cancelled itself", FailureKind.EXCEPTION)


def _meaning(task: asyncio.Future[Outcome], run: ActiveRun, route: Route) -> Outcome:
    error = task.exception()
    if error is not None:
        if route.traceback:
            run.log("".join(traceback.format_exception(error)), level="ERROR")
        return Failed(
            f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, FailureKind.EXCEPTION
        )
    outcome: object = task.result()  # a stranger's executor may return anything, and anything within it
    match outcome:
        case Succeeded(summary) | Accepted(summary):
            return outcome if summary is None or type(summary) is str else replace(outcome, summary=str(summary))
        case Failed(reason):
            return replace(outcome, reason=str(reason))
        case Cancelled(_, detail):
            return replace(outcome, detail=str(detail))
        case Rejected(reason):
            # Only intake may reject: here the run was accepted, and Port must hear how it ended.
            return Failed(str(reason))
        case _:
            return Failed(f"the executor returned {type(outcome).__name__}, not an outcome", FailureKind.EXCEPTION)


def _duration(seconds: float) -> str:
    """As a person says it; below a minute with its fraction, for 700 ms are not 1 s."""
    if seconds < 60:
        return f"{seconds:g} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{n} {unit}" for n, unit in parts if n)
