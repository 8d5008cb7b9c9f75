"""When to commit: at most once an interval, only what moved, one commit at a time. Clock-free: the caller tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.delivery.positions import Partition


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """``interval_s``: the least time between two commits. ``patience_s``: how long to wait for one's answer."""

    interval_s: float = 1.0
    patience_s: float = 30.0


class CommitState:
    """What was committed, and what is on its way.

    A commit that failed or got no answer within the policy's patience is sent again with what is
    committable then; the broker keeps the last one.
    """

    def __init__(self, policy: CommitPolicy) -> None:
        self._policy = policy
        self._committed: dict[Partition, int] = {}
        self._in_flight: Mapping[Partition, int] | None = None
        self._last_try_s: float | None = None

    def due(self, now_s: float, committable: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """What to commit now; empty if nothing moved or it is too early."""
        if self._last_try_s is not None:
            waited_s = now_s - self._last_try_s
            if waited_s < (self._policy.interval_s if self._in_flight is None else self._policy.patience_s):
                return {}
        return self.changed(committable)

    def changed(self, committable: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """The part of ``committable`` that is not committed yet, regardless of time: for the last commit."""
        return {p: offset for p, offset in committable.items() if self._committed.get(p) != offset}

    def began(self, now_s: float, offsets: Mapping[Partition, int]) -> None:
        """A commit of ``offsets`` was sent."""
        self._in_flight = offsets
        self._last_try_s = now_s

    def ended(self, *, ok: bool) -> None:
        """The answer to the commit under way came; without one under way nothing happens."""
        if ok and self._in_flight is not None:
            self._committed.update(self._in_flight)
        self._in_flight = None

    def forget(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` are ours no more, or anew: what was committed there is somebody else's to know."""
        gone = set(partitions)
        for partition in gone:
            self._committed.pop(partition, None)
        if self._in_flight is not None:
            self._in_flight = {p: offset for p, offset in self._in_flight.items() if p not in gone}
