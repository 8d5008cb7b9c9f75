"""Tells when a child process has exited, and how."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import threading


class ExitWatch:
    """The exit of one child. Loop thread only.

    Where the kernel has pidfds, the child is left a zombie until `reap`, so that its id stays its own and may be
    signalled. Never relies on ``Popen.wait``, which calls an exit status that somebody else took a success.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._code: int | None = None
        self.is_reaped = False
        """Whether the child's id may by now be another process's."""
        self.exited: asyncio.Future[None] = self._loop.create_future()
        """Done once it has exited."""
        try:
            fd = os.pidfd_open(process.pid)
        except (AttributeError, OSError):
            threading.Thread(target=self._wait, name=f"wait for {process.pid}", daemon=True).start()
        else:
            self._loop.add_reader(fd, self._readable, fd)

    def reap(self) -> int | None:
        """The exit code as in `subprocess`, negative for a signal; ``None`` if it runs or its status is lost."""
        if self.exited.done() and not self.is_reaped:
            self._take(_status(self._process.pid))
        return self._code

    def _readable(self, fd: int) -> None:
        self._loop.remove_reader(fd)
        os.close(fd)
        self.exited.set_result(None)

    def _wait(self) -> None:
        status = _status(self._process.pid)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._waited, status)

    def _waited(self, status: int | None) -> None:
        self._take(status)
        self.exited.set_result(None)

    def _take(self, status: int | None) -> None:
        self.is_reaped = True
        self._code = None if status is None else os.waitstatus_to_exitcode(status)
        self._process.returncode = self._code or 0  # for Popen too nothing is left to be waited for


def _status(pid: int) -> int | None:
    """Waits for the child; ``None`` if somebody else already has."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return None
