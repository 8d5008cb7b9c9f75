"""What the contract suite needs of each source: messages for it, and lives of agents that take them.

To put a new source under contract, write a `SourceRig` (one file: see polling_rig.py) and add it to source_rigs.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from agent.ports import Delivery, Source


class Stage(Protocol):
    """Where messages wait for agents."""

    async def put(self, *names: str) -> None:
        """Has messages of these names wait, after those that do already."""

    def life(self, agent: str = "first") -> AbstractAsyncContextManager[Source]:
        """One life of an agent; it has started its source, and is closed in the end, whatever was settled.

        Another one of the same agent finds what the one before has left.
        """

    def name_of(self, delivery: Delivery) -> str:
        """The name of its message."""

    def settled(self) -> Sequence[str]:
        """The names of those that will never come again."""


class SourceRig(Protocol):
    """One source under contract."""

    @property
    def name(self) -> str:
        """The source's name."""

    def stage(self, tmp_path: Path) -> AbstractAsyncContextManager[Stage]:
        """Everything that the source needs; shut down at the end."""
