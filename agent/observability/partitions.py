"""Which partitions are ours and how each stands, as told by the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from agent.domain.events import PartitionStatus, Rebalanced


@dataclass(frozen=True, slots=True)
class Standing:
    """One partition as it last was. ``oldest_since_s`` is monotonic, ``None`` if all is committed."""

    topic: str
    index: int
    lag: int | None
    uncommitted: int
    span: int
    oldest_since_s: float | None
    paused: bool


class Partitions:
    """Follows the assignment. What is told of a partition that is not ours is ignored. Not thread-safe.

    ``topics`` are those known from the start; they count with 0 partitions until some are assigned.
    """

    def __init__(self, topics: Iterable[str] = ()) -> None:
        self._topics = dict.fromkeys(topics)
        self._standing: dict[tuple[str, int], Standing | None] = {}

    def rebalanced(self, event: Rebalanced) -> None:
        """Takes over a change; an assignment adds to what is ours already."""
        for partition in event.partitions:
            if event.event == "assigned":
                self._topics.setdefault(partition[0])
                self._standing.setdefault(partition, None)
            else:
                self._standing.pop(partition, None)

    def stands(self, event: PartitionStatus, now_s: float) -> None:
        """Takes note of how one partition stands; ``now_s`` turns its age into a point in time."""
        age_s = event.oldest_uncommitted_age_s
        if (event.topic, event.index) in self._standing:
            self._standing[event.topic, event.index] = Standing(
                event.topic,
                event.index,
                event.lag,
                event.uncommitted,
                event.span,
                None if age_s is None else now_s - age_s,
                event.paused,
            )

    def assigned(self) -> dict[str, int]:
        """How many partitions of each topic are ours."""
        counts = Counter(dict.fromkeys(self._topics, 0))
        counts.update(topic for topic, _ in self._standing)
        return dict(counts)

    def standing(self) -> list[Standing]:
        """The partitions of ours that something was told of, by topic and number."""
        return [s for _, s in sorted(self._standing.items()) if s is not None]
