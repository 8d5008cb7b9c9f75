"""Where a message stands in its log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of a topic."""

    topic: str
    index: int

    def __str__(self) -> str:
        """``topic[index]``, as Kafka's own tools print it."""
        return f"{self.topic}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Commit:
    """What is committed for one partition: the offset to read next, and an encoded offset map beside it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """One message's place. ``epoch`` numbers the assignment of its partition under which it was read.

    A partition that is taken away and given back starts a new epoch: what was read before must not be
    settled into the new one.
    """

    partition: Partition
    offset: int
    epoch: int
