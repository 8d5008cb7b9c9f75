"""One file of an agent's own in a directory that agents may share: SQLite, locked against the others. Blocks.

No threads. What an agent leaves that is gone is taken over by the next one that opens a file there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Self

_SLOTS = 32
_PAGE_BYTES = 4096
_BUSY_S = 1.0
_PRIMARY_CODE = 0xFF
_NOT_OURS_TO_USE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})


class SlotFile(ABC):
    """A locked database of one agent. All methods may raise `OSError` or `sqlite3.Error`; then nothing was changed.

    Written without waiting for the disk: what was written outlives the end of the process, however it ends, but not
    always that of the machine. Holds ``max_bytes`` at most. ``note`` says what was found wrong with older files.
    Whoever derives from it says by ``name`` what the files are called (``{slot}`` in it), by ``what`` what people
    call one, and by ``schema`` what stands in it.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    schema: ClassVar[str]

    def __init__(self, path: Path, lock_fd: int, max_bytes: int) -> None:
        self.path = path
        self.note = ""
        self._lock_fd = lock_fd
        try:
            self._connection = self._open(max_bytes)
        except BaseException:
            os.close(lock_fd)
            raise

    @classmethod
    def open_first_free(cls, directory: Path, max_bytes: int) -> Self:
        """The first file in ``directory`` that no other agent has, with what all others left that are gone.

        Agents that share a directory, on one machine or on one volume, thus each have their own. One that may
        not be used, as another user's, is passed over.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = [directory / f"{cls.name.format(slot=slot)}.sqlite3" for slot in range(_SLOTS)]
        own = cls._open_first(paths, max_bytes)
        try:
            for path in paths:
                if path != own.path and path.exists():
                    own._adopt(path, max_bytes)  # noqa: SLF001 - its own class
        except BaseException:
            own.close()
            raise
        return own

    def close(self) -> None:
        """Closes and unlocks the file. Idempotent."""
        self._connection.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    @classmethod
    def _open_first(cls, paths: Sequence[Path], max_bytes: int) -> Self:
        unusable: list[str] = []
        for path in paths:
            try:
                fd = _lock(path.with_suffix(".lock"))
                if fd is not None:
                    return cls(path, fd, max_bytes)
            except (OSError, sqlite3.OperationalError) as error:
                if not _is_of_one_file(error):
                    raise
                unusable.append(f"{path}: {error}")
        directory = paths[0].parent
        if unusable:
            raise OSError(f"no {cls.what} in {directory} can be used, the first one because of {unusable[0]}")
        raise OSError(f"all {len(paths)} {cls.what}s in {directory} belong to other agents")

    def _open(self, max_bytes: int) -> sqlite3.Connection:
        try:
            return _connect(self.path, max_bytes, self.schema)
        except sqlite3.OperationalError:
            raise  # of the disk, not of the file
        except sqlite3.DatabaseError as error:
            broken = self.path.with_suffix(".broken")
            self.path.replace(broken)
            for companion in ("-wal", "-shm"):
                Path(f"{self.path}{companion}").unlink(missing_ok=True)
            self.note = f"{self.path} was damaged ({error}) and is {broken.name} now; a new one was begun"
            return _connect(self.path, max_bytes, self.schema)

    def _adopt(self, path: Path, max_bytes: int) -> None:
        """Takes over what an agent has left that is gone; what cannot be stays where it is, and is told."""
        try:
            fd = _lock(path.with_suffix(".lock"))
            if fd is None:
                return
            with closing(type(self)(path, fd, max_bytes)) as left:
                self._add_note(left.note)
                self._take_over(left)
        except (OSError, sqlite3.Error) as error:
            self._add_note(f"what {path} may hold was not taken over: {error}")

    @abstractmethod
    def _take_over(self, left: Self) -> None:
        """Moves what stands in ``left`` here; only what has been written here may go from there."""

    def _add_note(self, note: str) -> None:
        self.note = "; ".join(filter(None, (self.note, note)))


def _is_of_one_file(error: OSError | sqlite3.OperationalError) -> bool:
    """Whether another file may be usable where this one is not; a disk that is full is so for all of them."""
    if isinstance(error, OSError):
        return error.errno != errno.ENOSPC
    return error.sqlite_errorcode & _PRIMARY_CODE in _NOT_OURS_TO_USE


def _lock(path: Path) -> int | None:
    """A descriptor that holds the lock until it is closed; ``None`` if somebody else has it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _connect(path: Path, max_bytes: int, schema: str) -> sqlite3.Connection:
    path.touch(mode=0o600)  # what a run says of itself is nobody else's to read
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            f"page_size = {_PAGE_BYTES}",
            "auto_vacuum = FULL",
            "journal_mode = WAL",
            "synchronous = NORMAL",
            f"journal_size_limit = {1024 * 1024}",
            f"max_page_count = {max(1, max_bytes // _PAGE_BYTES)}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(schema)
        _check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection) -> None:
    for (verdict,) in connection.execute("PRAGMA quick_check(1)"):
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
