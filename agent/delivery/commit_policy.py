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
        self._in_flight = False
        self._last_try_s: float | None = None

    def due(self, now_s: float, committable: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """What to commit now; empty if nothing moved or it is too early."""
        if self._last_try_s is not None:
            waited_s = now_s - self._last_try_s
            if waited_s < (self._policy.patience_s if self._in_flight else self._policy.interval_s):
                return {}
        return self.changed(committable)

    def changed(self, committable: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """The part of ``committable`` that is not committed yet, regardless of time: for the last commit."""
        return {p: offset for p, offset in committable.items() if self._committed.get(p) != offset}

    def began(self, now_s: float) -> None:
        """A commit was sent."""
        self._in_flight = True
        self._last_try_s = now_s

    def ended(self, taken: Mapping[Partition, int]) -> None:
        """An answer came, be it to the last commit or to one that was given up: the broker has ``taken`` these.

        Those of partitions that were forgotten meanwhile must not be among them.
        """
        self._in_flight = False
        self._committed.update(taken)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` are ours no more, or anew: what was committed there is somebody else's to know."""
        for partition in partitions:
            self._committed.pop(partition, None)
