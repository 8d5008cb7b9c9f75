"""Tests that need the machine to themselves wait until no other worker has one at work, and hold up the next."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Quiet:
    """A room and its door, shared with other workers by files in ``directory``. Belongs to one thread.

    The kernel lets go of what a worker held that died.
    """

    def __init__(self, directory: Path) -> None:
        self._door = _Lock(directory / "door")
        self._room = _Lock(directory / "room")

    @contextmanager
    def with_others(self) -> Iterator[None]:
        """Inside, nobody is alone. Waits without a limit for whoever is, or waits to be."""
        self._enter(fcntl.LOCK_SH)
        try:
            yield
        finally:
            self._room.unlock()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, nobody else is. Waits without a limit for those who are, and lets nobody in meanwhile."""
        self._enter(fcntl.LOCK_EX)
        try:
            yield
        finally:
            self._room.unlock()

    def close(self) -> None:
        """Lets go of the files."""
        self._door.close()
        self._room.close()

    def _enter(self, how: int) -> None:
        """Who waits to be alone keeps the door shut; else there might be somebody inside for ever."""
        self._door.lock(fcntl.LOCK_EX)
        try:
            self._room.lock(how)
        finally:
            self._door.unlock()


class _Lock:
    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)

    def lock(self, how: int) -> None:
        fcntl.flock(self._fd, how)

    def unlock(self) -> None:
        """Also for children that were forked meanwhile and have the file open still."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)
