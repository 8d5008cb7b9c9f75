"""What is known of a message's earlier deliveries: whether its work may be begun now, or has to be asked about."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Past(StrEnum):
    """What became of a message when it was here before."""

    STOPPED = "stopped"
    """Its work was stopped in order, so that it is done anew."""
    INTERRUPTED = "interrupted"
    """Its work was begun, and whoever did it is gone."""
    HANDED_OVER = "handed_over"
    """Its work was begun by an agent that lived on when the message became ours: it may be at it still."""
    ENDED = "ended"
    """Its work came to its end, and whoever did it had still to tell Port."""
    UNKNOWN = "unknown"
    """It was there before us, and nothing tells whether anybody began its work."""


class Ending(StrEnum):
    """How work came to its end, as far as others need to know who have to tell Port in our place."""

    SUCCESS = "success"
    FAILURE = "failure"
    ACCEPTED = "accepted"
    """Handed over: no status is ours to tell."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A message that is not new.

    ``begun``: how often its work was begun, at least 1 unless that is unknown. ``agent``: whose marks these are,
    or an empty text. ``ending``: how it ended, if that is its past.
    """

    past: Past
    begun: int = 0
    agent: str = ""
    ending: Ending | None = None
