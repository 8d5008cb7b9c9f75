"""A run's private directory: made when first asked for, gone after the run."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from functools import partial
from pathlib import Path

from agent.ports import OUTPUT_FILE, WORK_DIRECTORY
from agent.threads import DISK, SpareThreads

_TREES = SpareThreads("remove workspace", spare=8)
"""Others need not wait until a large one is gone."""


class Workspace:
    """One run's directory below ``parent`` (mode 0700); costs nothing if nobody asks for it. Thread-safe."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent.absolute()
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._is_over = False

    @property
    def path(self) -> Path:
        """The directory, made in the thread that asks first; always absolute.

        Raises `OSError` where ``parent`` is not writable, and after `remove`.
        """
        return self._path or self._settled(self._made())

    async def remove(self) -> None:
        """Deletes the directory with all that is in it, off the loop; never raises.

        From then on there is none: one that a slow disk makes only now is deleted by the thread that made it.
        """
        with self._lock:
            self._is_over = True
            path, self._path = self._path, None
        if path is None:
            return
        try:
            if not await DISK.run(partial(_is_removed_by_name, path)):
                await _TREES.run(partial(remove_tree, path))
        except RuntimeError:  # the system has no thread left: better that the loop waits than that secrets stay
            remove_tree(path)

    def _made(self) -> Path:
        """A new directory. Without the lock: `remove` is not to wait for a slow disk."""
        path = self._parent / f"run-{secrets.token_hex(8)}"
        try:
            path.mkdir(mode=0o700)
        except FileNotFoundError:
            self._parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
        return path

    def _settled(self, made: Path) -> Path:
        """``made``, or the one that another thread has made meanwhile."""
        with self._lock:
            if self._path is None and not self._is_over:
                self._path = made
            path = self._path
        if path is not made:
            made.rmdir()
        if path is None:
            raise OSError("the run is over, and its workspace is gone")
        return path


def remove_tree(path: Path) -> None:
    """Deletes ``path`` as far as it lets itself be deleted, also directories that a run made unwritable."""
    if _is_removed_flat(path):
        return

    def open_up_and_retry(function: object, name: str, _info: object) -> None:
        del function
        broken = Path(name)
        try:
            broken.parent.chmod(0o700)
            if broken.is_dir() and not broken.is_symlink():
                broken.chmod(0o700)
                shutil.rmtree(broken, ignore_errors=True)
            else:
                broken.unlink(missing_ok=True)
        except OSError:
            return

    shutil.rmtree(path, onerror=open_up_and_retry)


def _is_removed_by_name(path: Path) -> bool:
    """Deletes a directory that holds what a command is given and no more, in three system calls; else ``False``."""
    try:
        os.unlink(f"{path}/{OUTPUT_FILE}")  # noqa: PTH108 - a system call, and no more, as the others
        os.rmdir(f"{path}/{WORK_DIRECTORY}")  # noqa: PTH106
        os.rmdir(path)  # noqa: PTH106
    except OSError:
        return False
    return True


def _is_removed_flat(path: Path) -> bool:
    """Deletes a directory that holds files and empty directories alone, in a third of the time.

    Most workspaces are such. ``False`` where there is more to do. Follows no link.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    remove = os.rmdir if entry.is_dir(follow_symlinks=False) else os.unlink
                    remove(entry.name, dir_fd=fd)
        finally:
            os.close(fd)
        path.rmdir()
    except OSError:
        return False
    return True
