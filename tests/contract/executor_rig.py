"""What the contract suite needs of each executor: how to make it do one of a few kinds of work.

To put a new executor under contract, write a `Rig` (one file: see process_rig.py) and add it to executor_rigs.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from agent.ports import Executor
from agent.testing import FakeRun

SECRET = "s3cr3t-that-nobody-may-see"
SECRET_HALVES = (SECRET[:13], SECRET[13:])
FLOOD_BYTES = 48 * 1024 * 1024
KILL_GRACE_S = 0.3


class Work(StrEnum):
    """What the executor is made to do."""

    SUCCEED = "succeed"
    FAIL = "fail"
    """Fail with a reason that contains the word ``broken``."""
    HANG = "hang"
    """Start, and never end by itself; ends when it is told to."""
    RESIST = "resist"
    """Start, never end by itself, go on with it visibly if it can, and not heed any polite request to end."""
    FLOOD = "flood"
    """Give `FLOOD_BYTES` of output (or of response body), then end well."""
    LEAK = "leak"
    """Say `SECRET` in everything it says, also in pieces, then fail with it in the reason, there also across the
    place from which on the executor leaves something out."""
    SPILL = "spill"
    """Fail with `SECRET` in the reason, after so much output (or response body) that the executor does not look at
    all of it, with `SECRET` across the place where it stops."""
    TELL = "tell"
    """Succeed, and tell whatever this executor can tell beside log and outcome."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An executor that will do the work. ``started``: the work is under way; ``alive``: it still goes on.

    ``mortal``: work that resists is dead once the executor has let go of it; only threads are not.
    """

    executor: Executor
    started: Callable[[], bool]
    alive: Callable[[], bool]
    mortal: bool = True


class Rig(Protocol):
    """One executor under contract."""

    @property
    def name(self) -> str:
        """The executor's name."""

    def prepare(self, work: Work, tmp_path: Path) -> AbstractAsyncContextManager[Prepared]:
        """Everything that ``work`` needs, and the executor; at its end all of that is shut down.

        The factory's ``kill_grace_s`` is what the name ``KILL_GRACE_S`` in the rig's module is bound to by now.
        """

    def check_flooded(self, run: FakeRun) -> None:
        """Asserts that of `Work.FLOOD` the run was told all, or as much as its route wants."""

    def check_told(self, run: FakeRun) -> None:
        """Asserts that ``run`` was told what `Work.TELL` tells."""
