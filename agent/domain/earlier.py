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
    UNKNOWN = "unknown"
    """It was there before us, and nothing tells whether anybody began its work."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A message that is not new.

    ``begun``: how often its work was begun, at least 1 unless that is unknown. ``agent``: whose marks these are,
    or an empty text.
    """

    past: Past
    begun: int = 0
    agent: str = ""
