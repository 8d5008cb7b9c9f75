"""When to commit: at most once an interval, only what moved, one commit at a time. Clock-free: the caller tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.delivery.positions import Commit, Partition


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """``interval_s``: the least time between two commits. ``patience_s``: how long to wait for one's answer."""

    interval_s: float = 1.0
    patience_s: float = 30.0


class CommitState:
    """What was committed, and what is on its way.

    A commit that failed or got no answer within the policy's patience is sent again with what is
    to be committed then; the broker keeps the last one.
    """

    def __init__(self, policy: CommitPolicy) -> None:
        self._policy = policy
        self._committed: dict[Partition, Commit] = {}
        self._sent: set[Partition] = set()
        self._in_flight = False
        self._last_try_s: float | None = None

    def is_time(self, now_s: float) -> bool:
        """Whether a commit may be sent now: the last one was answered or given up, and the interval is over."""
        if self._last_try_s is None:
            return True
        return now_s - self._last_try_s >= (self._policy.patience_s if self._in_flight else self._policy.interval_s)

    def changed(self, commits: Mapping[Partition, Commit]) -> Mapping[Partition, Commit]:
        """The part of ``commits`` that is not committed yet."""
        return {p: commit for p, commit in commits.items() if self._committed.get(p) != commit}

    def began(self, now_s: float, partitions: Iterable[Partition]) -> None:
        """A commit for ``partitions`` was sent."""
        self._in_flight = True
        self._last_try_s = now_s
        self._sent.update(partitions)

    def ended(self, taken: Mapping[Partition, Commit]) -> None:
        """An answer came, be it to the last commit or to one that was given up: the broker has ``taken`` these.

        Those of partitions that were forgotten meanwhile do not count.
        """
        self._in_flight = False
        self._committed.update({p: commit for p, commit in taken.items() if p in self._sent})

    def forget(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` are ours no more, or anew: what was committed there is somebody else's to know."""
        for partition in partitions:
            self._sent.discard(partition)
            self._committed.pop(partition, None)
