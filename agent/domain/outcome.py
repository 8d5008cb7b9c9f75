"""How an execution ended, as a value; and what of it Port is told.

``Succeeded | Failed | Accepted | Rejected | Cancelled`` is closed: match it exhaustively.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, assert_never

from agent.domain.earlier import Ending


class FailureKind(StrEnum):
    """Why an execution failed, coarse enough for a metric label and for deciding whether to try again."""

    FAILED = "failed"
    """The action itself says so (a Python action returned `Failed`)."""
    EXIT_CODE = "exit_code"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    NOT_STARTED = "not_started"
    """The work could not even begin: no such command, workspace not writable, module not found."""
    HTTP_STATUS = "http_status"
    CONNECTION = "connection"
    TARGET_SILENT = "target_silent"
    """Nothing was sent: the HTTP target had left too many requests without an answer."""
    EXCEPTION = "exception"
    NO_ROUTE = "no_route"
    BAD_TEMPLATE = "bad_template"
    BAD_OUTPUT = "bad_output"
    DECRYPTION = "decryption"
    INTERRUPTED = "interrupted"
    UNREADABLE = "unreadable"
    """Its message cannot be read in full: it is too large, say."""


class CancelReason(StrEnum):
    """Why a run was stopped before its end; the first reason wins."""

    AGENT_STOP = "agent_stop"
    CLOSED_IN_PORT = "closed_in_port"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The work is done. ``summary`` is shown on the run's page; ``None`` leaves the one set before, if any."""

    summary: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The work did not succeed.

    ``reason`` is for the person who clicked: one or a few lines, no traceback. Where it is empty, the summary set
    before stays, if any.
    """

    reason: str
    kind: FailureKind = FailureKind.FAILED


@dataclass(frozen=True, slots=True)
class Accepted:
    """Handed over: the other side will finish the run in Port; we send no terminal status."""

    summary: str | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Not to be acted on, and not to be told to Port (a message that fails verification touches nothing)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Stopped from outside while it ran."""

    reason: CancelReason
    detail: str = ""


Outcome: TypeAlias = Succeeded | Failed | Accepted | Rejected | Cancelled


class RunStatus(StrEnum):
    """The two terminal statuses that Port's API takes."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What Port is told at the end.

    ``status`` ``None``: no terminal status is ours to give (handed over); ``summary`` ``None``: the one that
    the run itself set stays.
    """

    status: RunStatus | None
    summary: str | None = None
    cancelled: bool = False


def conclude(outcome: Outcome) -> Conclusion | None:
    """What the last report to Port says, or ``None`` where Port must hear nothing more."""
    match outcome:
        case Succeeded(summary):
            return Conclusion(RunStatus.SUCCESS, summary)
        case Failed(reason):
            return Conclusion(RunStatus.FAILURE, reason or None)
        case Accepted(summary):
            return Conclusion(None, summary)
        case Rejected() | Cancelled(CancelReason.CLOSED_IN_PORT):
            return None
        case Cancelled(reason, detail):
            return Conclusion(RunStatus.FAILURE, detail or f"cancelled: {reason}", cancelled=True)
        case _:
            assert_never(outcome)


def ending_of(outcome: Outcome) -> Ending | None:
    """How the work came to its end; ``None`` where nobody has to tell Port."""
    match outcome:
        case Succeeded():
            return Ending.SUCCESS
        case Accepted():
            return Ending.ACCEPTED
        case Failed() | Cancelled(CancelReason.AGENT_STOP):
            return Ending.FAILURE
        case Rejected() | Cancelled():
            return None
        case _:
            assert_never(outcome)


def outcome_label(outcome: Outcome) -> str:
    """One word for metrics and log lines: success, failure, accepted, rejected, cancelled."""
    match outcome:
        case Succeeded():
            return "success"
        case Failed():
            return "failure"
        case Accepted():
            return "accepted"
        case Rejected():
            return "rejected"
        case Cancelled():
            return "cancelled"
        case _:
            assert_never(outcome)
