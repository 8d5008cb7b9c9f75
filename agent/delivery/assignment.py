"""The partitions that are ours at the moment, each with its epoch and its ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.delivery.ledger import Ledger
from agent.delivery.offset_map import Mark, OffsetMap
from agent.delivery.positions import Commit, Partition, Position
from agent.domain.earlier import Earlier, Ending
from agent.domain.settlement import Settlement


@dataclass(frozen=True, slots=True)
class Begun:
    """A message that was entered: its place, and what is known of it from before (``None``: it is new)."""

    position: Position
    earlier: Earlier | None = None


class Assignment:
    """All ledgers of one consumer. A partition's epoch rises each time it is assigned, and is never used again.

    ``agent`` is who we are, for whoever reads our commits.
    """

    def __init__(self, agent: str = "") -> None:
        self._agent = agent
        self._ledgers: dict[Partition, Ledger] = {}
        self._epochs: dict[Partition, int] = {}

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """What is assigned now, in the order in which it came."""
        return tuple(self._ledgers)

    def ledger(self, partition: Partition) -> Ledger:
        """The ledger of an assigned partition. ``KeyError`` for others."""
        return self._ledgers[partition]

    def assign(self, partitions: Iterable[Partition]) -> None:
        """New ledgers and new epochs for ``partitions``, also for one that is assigned already."""
        for partition in partitions:
            self._ledgers[partition] = Ledger(agent=self._agent)
            self._epochs[partition] = self._epochs.get(partition, 0) + 1

    def learn(self, partition: Partition, known: OffsetMap) -> None:
        """States what the last owner of ``partition`` left in its commit; before its first message begins."""
        self._ledgers[partition] = Ledger(known, self._agent)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forgets ``partitions``; those that are not assigned are passed over."""
        for partition in partitions:
            self._ledgers.pop(partition, None)

    def is_rewound(self, partition: Partition, offset: int) -> bool:
        """Whether ``offset`` lies below all that is unsettled: the log was cut or made anew, and is read again.

        Then what was known of the partition is void: `assign` it again.
        """
        base = self._ledgers[partition].committable if partition in self._ledgers else None
        return base is not None and offset < base

    @property
    def has_open(self) -> bool:
        """Whether any message is open, so that its work may be begun at any moment."""
        return any(ledger.open for ledger in self._ledgers.values())

    def begin(self, partition: Partition, offset: int) -> Begun | None:
        """Enters a message that was read; ``None`` where there is nothing to do for it.

        Then its partition is not ours, or it has ended before under whoever had the partition, or it is here
        already: a client library may hand out a record again after it lost its place within one assignment.
        """
        ledger = self._ledgers.get(partition)
        if ledger is None or (ledger.next_offset is not None and offset < ledger.next_offset):
            return None
        if ledger.begin(offset) is Mark.DONE:
            return None
        return Begun(Position(partition, offset, self._epochs[partition]), ledger.earlier(offset))

    def is_current(self, position: Position) -> bool:
        """Whether the position's partition is still ours under the epoch in which it was read."""
        return position.partition in self._ledgers and self._epochs[position.partition] == position.epoch

    def start(self, position: Position) -> None:
        """Marks the work of a message as begun; stale positions are ignored."""
        if self.is_current(position):
            self._ledgers[position.partition].start(position.offset)

    def resume(self, position: Position) -> None:
        """States that the work of a message goes on, which began here before; stale positions are ignored."""
        if self.is_current(position):
            self._ledgers[position.partition].resume(position.offset)

    def withdraw(self, position: Position) -> None:
        """Takes `start` or `resume` back; stale positions are ignored."""
        if self.is_current(position):
            self._ledgers[position.partition].withdraw(position.offset)

    def end(self, position: Position, ending: Ending) -> None:
        """States that the work of a message came to its end; stale positions are ignored."""
        if self.is_current(position):
            self._ledgers[position.partition].end(position.offset, ending)

    def settle(self, position: Position, settlement: Settlement) -> None:
        """Settles a message; stale positions are ignored: whoever has the partition now decides over them."""
        if self.is_current(position):
            self._ledgers[position.partition].settle(position.offset, settlement)

    def has_room_for(self, partition: Partition, offset: int) -> bool:
        """Whether `begin` may be called: the partition is not ours, or an offset map can still cover ``offset``."""
        return partition not in self._ledgers or self._ledgers[partition].has_room_for(offset)

    def commits(self) -> Mapping[Partition, Commit]:
        """What may be committed."""
        return {p: commit for p, ledger in self._ledgers.items() if (commit := ledger.commit) is not None}

    def commits_handing_over(self, partitions: Iterable[Partition]) -> Mapping[Partition, Commit]:
        """What is to be committed for those of ``partitions`` that are ours, as they go while we live on."""
        ledgers = {p: self._ledgers[p] for p in partitions if p in self._ledgers}
        return {p: commit for p, ledger in ledgers.items() if (commit := ledger.commit_handing_over) is not None}
