"""What the end of a Python function means: whatever it returned or raised becomes an outcome."""

from __future__ import annotations

import inspect
import os
import sysconfig
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.domain.json import as_text
from agent.domain.outcome import Accepted, Failed, FailureKind, Outcome, Succeeded
from agent.executors.sync_run import RunCancelledError

_HERE = f"{Path(__file__).parent}{os.sep}"
_LIBRARIES = (
    f"{Path(__file__).parents[1]}{os.sep}",
    *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<",  # as in <frozen importlib>, <string>
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a call ended; ``trace`` is the exception's traceback, if there was one."""

    outcome: Outcome
    trace: str = ""


def returned(value: object) -> Verdict:
    """What a return means. Also a foreign object is an answer, if not a good one. Never raises."""
    return Verdict(_outcome(value))


def raised(error: BaseException) -> Verdict:
    """What an exception means: its own words and its place for the reason. Never raises."""
    first = error.__traceback__
    while first is not None and _file(first).startswith(_HERE):
        first = first.tb_next
    trace = "".join(traceback.TracebackException(type(error), error, first).format())
    headline, line_feed, rest = _message(error).partition("\n")
    return Verdict(Failed(f"{headline}{_place(first)}{line_feed}{rest}", FailureKind.EXCEPTION), trace)


def _outcome(value: object) -> Outcome:
    if value is None or isinstance(value, str):
        return Succeeded(value)
    if isinstance(value, Succeeded | Accepted):
        return replace(value, summary=_text(value.summary))
    if isinstance(value, Failed):
        return Failed(_text(value.reason) or "the action failed and gave no reason", _kind(value.kind))
    name = type(value).__name__
    if inspect.iscoroutine(value):
        value.close()
        return Failed(f"the function returned a {name}: declare it with async def", FailureKind.EXCEPTION)
    expected = "expected Succeeded, Failed, Accepted, a text for the summary, or None"
    return Failed(f"the function returned a {name}; {expected}", FailureKind.EXCEPTION)


def _kind(value: object) -> FailureKind:
    return value if isinstance(value, FailureKind) else FailureKind.FAILED


def _text(value: Any) -> str | None:
    """What people put into outcomes: an exception in its own words, the rest as JSON, or as it prints."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, BaseException):
        return _message(value)
    try:
        return as_text(value)
    except Exception:  # noqa: BLE001 - JSON cannot carry it
        return _printed(value)


def _message(error: BaseException) -> str:
    """The exception's own words; its class where they are missing, or mean nothing without it."""
    kind, said = type(error).__name__, _printed(error).strip()
    if isinstance(error, KeyError | SystemExit | RunCancelledError):
        return f"{kind}: {said}"
    return said or kind


def _printed(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a stranger's __str__
        return type(value).__name__


def _place(trace: TracebackType | None) -> str:
    """Where it went wrong in the operator's own code: the innermost place that is in no library."""
    place = trace
    while trace is not None:
        if not _file(trace).startswith(_LIBRARIES):
            place = trace
        trace = trace.tb_next
    if place is None:
        return ""
    return f" ({Path(_file(place)).name}:{place.tb_lineno}, in {place.tb_frame.f_code.co_name})"


def _file(trace: TracebackType) -> str:
    return trace.tb_frame.f_code.co_filename
