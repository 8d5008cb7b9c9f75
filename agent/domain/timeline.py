"""The end of the agent as one set of numbers, each step of it bounded. All times in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MARGIN_S: Final = 2.0
"""What runs get beyond kill grace and report, to be settled."""

LEAVE_S: Final = 4.0
"""For the last commit, and for leaving the group."""

TIDY_S: Final = 3.0
"""For what is left after that: connections, the journal, workspaces, tasks that actions began."""

SPARE_S: Final = 1.0
"""What whoever ends the agent from outside must wait beyond `Timeline.total_s`."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """stop intake → drain → terminate → kill → report → commit → leave the group → exit."""

    drain_s: float = 30.0
    kill_grace_s: float = 10.0
    report_s: float = 20.0

    @property
    def total_s(self) -> float:
        """The longest that a stop can take: then the process ends, whatever it is at."""
        return self.drain_s + self.kill_grace_s + self.report_s + MARGIN_S + LEAVE_S + TIDY_S

    @property
    def grace_s(self) -> float:
        """The least that a pod's termination grace period must be."""
        return self.total_s + SPARE_S
