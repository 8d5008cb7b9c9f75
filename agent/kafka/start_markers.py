"""Starts that wait until their marker is committed: only then may the work begin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from agent.delivery.positions import Commit, Partition, Position

Tell = Callable[[list[object], float | None], None]
"""Is given the tokens of starts, and until when (monotonic, in seconds) they may begin; ``None``: never.

Beyond that time we may have stood still, and others may have what was ours: the start must be asked for anew.
"""


class StartMarkers:
    """The starts that are marked in their ledger, and in no commit that the broker has taken yet.

    A commit that is made after a start was marked carries its marker: once it is taken, whoever reads the
    partition next will know. ``tell`` answers each start once, by the token that it came with. Belongs to the
    consumer's thread.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._waiting: dict[Partition, dict[Position, object]] = {}
        self._sent: dict[Partition, tuple[Commit, tuple[Position, ...]]] = {}

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """Where any start waits for a commit."""
        return tuple(self._waiting)

    def add(self, position: Position, token: object) -> None:
        """``position`` was marked as started."""
        self._waiting.setdefault(position.partition, {})[position] = token

    def withdraw(self, position: Position) -> None:
        """No start is to be made here any more; where none waits, nothing happens."""
        if tokens := self._take(position.partition, [position]):
            self._tell(tokens, None)

    def sent(self, commits: Mapping[Partition, Commit]) -> None:
        """These were made and sent just now; an answer to an earlier one says nothing from here on."""
        for partition, commit in commits.items():
            self._sent[partition] = (commit, tuple(self._waiting.get(partition, ())))

    def taken(self, commits: Mapping[Partition, Commit], until_s: float) -> None:
        """The broker has taken these: what they carry may begin until ``until_s``."""
        tokens: list[object] = []
        for partition, commit in commits.items():
            sent, positions = self._sent.get(partition, (None, ()))
            if sent == commit:
                del self._sent[partition]
                tokens += self._take(partition, positions)
        if tokens:
            self._tell(tokens, until_s)

    def give_up(self, partitions: Iterable[Partition]) -> list[Position]:
        """``partitions`` are not ours any more: nothing may begin there. Returns what was waiting."""
        waiting: dict[Position, object] = {}
        for partition in partitions:
            self._sent.pop(partition, None)
            waiting.update(self._waiting.pop(partition, {}))
        if waiting:
            self._tell([*waiting.values()], None)
        return [*waiting]

    def _take(self, partition: Partition, positions: Iterable[Position]) -> list[object]:
        waiting = self._waiting.get(partition, {})
        tokens = [waiting.pop(position) for position in positions if position in waiting]
        if not waiting:
            self._waiting.pop(partition, None)
        return tokens
