"""What is to be done for a message, once it is known what became of it before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agent.domain.outcome import Failed, Succeeded


@dataclass(frozen=True, slots=True)
class Begin:
    """Its work is to be done. ``attempt`` counts from 1; ``note`` is for the run's log."""

    attempt: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True)
class Over:
    """It has ended: nothing is left to do or to say."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Another agent may be at it still: it is to be looked at again after so many seconds."""

    in_s: float
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Conclude:
    """Nothing is to be done for it, but Port is to be told that this is how it ended."""

    outcome: Succeeded | Failed


Decision: TypeAlias = Begin | Over | LookAgain | Conclude
DecisionOnRefused: TypeAlias = Over | LookAgain | Conclude
