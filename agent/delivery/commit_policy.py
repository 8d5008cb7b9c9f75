"""When to commit: at most once an interval, only what moved, one commit at a time. Clock-free: the caller tells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.delivery.positions import Commit, Partition


@dataclass(frozen=True, slots=True)
class CommitPolicy:
    """How long from one commit to the next. Times in seconds.

    ``interval_s``: the least where nobody waits for it; ``urgent_s``: where somebody does, for several start
    markers to share a commit; ``retry_s``: after one that failed. ``patience_s``: how long to wait for an answer.
    """

    interval_s: float = 1.0
    urgent_s: float = 0.005
    retry_s: float = 0.25
    patience_s: float = 30.0


class CommitState:
    """What was committed, and what is on its way.

    A commit that failed or got no answer within the policy's patience is sent again with what is
    to be committed then; the broker keeps the last one.
    """

    def __init__(self, policy: CommitPolicy) -> None:
        self._policy = policy
        self._committed: dict[Partition, Commit] = {}
        self._sent: dict[Partition, Commit] = {}
        self._under_way: list[tuple[float, Mapping[Partition, Commit]]] = []
        self._in_flight = False
        self._failed = False
        self._last_try_s: float | None = None

    def is_time(self, now_s: float, *, urgent: bool = False) -> bool:
        """Whether a commit may be sent now: the last one was answered or given up, and the interval is over.

        ``urgent``: something waits for it.
        """
        if self._last_try_s is None:
            return True
        policy = self._policy
        if self._in_flight:
            wait_s = policy.patience_s
        elif urgent:
            wait_s = policy.retry_s if self._failed else policy.urgent_s
        else:
            wait_s = policy.interval_s
        return now_s - self._last_try_s >= wait_s

    @property
    def is_unanswered(self) -> bool:
        """Whether a commit is on its way."""
        return self._in_flight

    def changed(self, commits: Mapping[Partition, Commit]) -> Mapping[Partition, Commit]:
        """The part of ``commits`` that is not committed yet."""
        return {p: commit for p, commit in commits.items() if self._committed.get(p) != commit}

    def began(self, now_s: float, commits: Mapping[Partition, Commit]) -> None:
        """``commits`` were sent: until they are answered nobody knows what the broker has."""
        self._in_flight = True
        self._last_try_s = now_s
        self._under_way.append((now_s, dict(commits)))
        self._sent.update(commits)
        for partition in commits:
            self._committed.pop(partition, None)

    def unsent(self) -> None:
        """The last one could not be sent after all, or not be waited for: there is no further answer to it."""
        self._under_way.pop()

    def answered(self, said: Mapping[Partition, Commit]) -> float:
        """When the commit was sent whose answer this is; each has one answer. ``said``: what the answer quotes.

        Of several that say the same it is the oldest, so that none is taken for younger than it is; also where the
        answer quotes none of them, for answers come in order. With none under way it was ages ago.
        """
        if not self._under_way:
            return -math.inf
        same = (index for index, (_, commits) in enumerate(self._under_way) if commits == said)
        return self._under_way.pop(next(same, 0))[0]

    def ended(self, taken: Mapping[Partition, Commit]) -> None:
        """An answer came, be it to the last commit or to one that was given up: the broker has ``taken`` these.

        An older one that was taken after the last leaves the broker with what is out of date: that is sent once
        more. What was forgotten does not count. An answer without any is a refusal.
        """
        self._in_flight = False
        self._failed = not taken
        for partition, commit in taken.items():
            if self._sent.get(partition) == commit:
                self._committed[partition] = commit
            else:
                self._committed.pop(partition, None)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """``partitions`` are ours no more, or anew: what was committed there is somebody else's to know."""
        for partition in partitions:
            self._sent.pop(partition, None)
            self._committed.pop(partition, None)
