"""What becomes of a message once its run is over: one pure function, tested as a full table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from agent.domain.outcome import Outcome, Rejected


class Settlement(StrEnum):
    """The word a Source gets about a delivery."""

    ACCEPT = "accept"
    """Done with; it need not come again."""
    RELEASE = "release"
    """Not done with; it must come again (to us after a restart, or to another agent)."""
    REPEAT = "repeat"
    """Not done with: its work was stopped in order, and is to be begun anew by whoever gets it next."""
    REJECT = "reject"
    """Will never be executed; it must not come again."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Port took the report."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Port's final word was no (a 4xx that is not worth a retry): the run is closed there, or unknown."""

    status_code: int
    message: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """Port did not take the report in the time there was."""

    reason: str


@dataclass(frozen=True, slots=True)
class NothingToReport:
    """There is no run to report to, or nothing that Port should hear."""


Reported: TypeAlias = Delivered | Refused | Undelivered | NothingToReport


def settle(outcome: Outcome, reported: Reported) -> Settlement:
    """Decides over the message by what happened to its run and whether Port knows.

    A refusal by Port counts as told: asking again would give the same answer for ever.
    """
    return Settlement.REJECT if isinstance(outcome, Rejected) else settle_told(reported)


def settle_told(reported: Reported) -> Settlement:
    """The part of `settle` that depends on Port alone."""
    return Settlement.RELEASE if isinstance(reported, Undelivered) else Settlement.ACCEPT
