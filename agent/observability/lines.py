"""Lines to one stream: whole ones, from any thread, and those of the event loop's thread many at a time."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO
from weakref import WeakSet

_MOST = 500
"""So many lines wait for the end of the loop's turn; more are written at once, for they take memory."""


class Lines:
    """Writes lines to ``stream``, in order. Thread-safe.

    A stream that fails, or cannot carry a character, is no reason for a run to fail. A forked process may go on
    with it, and repeats nothing. Its methods are named as structlog wants them; all of them are `line`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begin_anew()
        _all_lines.add(self)

    def _begin_anew(self) -> None:
        """For a forked process, too: its parent writes what waits, and may have held the lock."""
        self._lock = threading.RLock()  # a destructor may log whatever its thread is at, a write included
        self._waiting: list[str] = []
        self._is_writing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._is_due = False

    def line(self, text: str) -> None:
        """Writes ``text``: at once, but for the thread of a loop that has its lines `gathered`."""
        with self._lock:
            self._waiting.append(text)
            if self._loop is None or threading.get_ident() != self._loop_thread or len(self._waiting) >= _MOST:
                self._write()  # with what waits: the order stays
            elif not self._is_due:
                self._is_due = True
                self._loop.call_soon(self._end_turn)

    @contextmanager
    def gathered(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Within it, lines of this thread, on which ``loop`` runs, are written at the end of the loop's turn.

        That is one system call for many, and they cost what the rest of a line does. Should an action block the
        loop, the next line of any other thread takes those along that wait. Only one loop at a time.
        """
        with self._lock:
            self._loop, self._loop_thread = loop, threading.get_ident()
        try:
            yield
        finally:
            with self._lock:
                self._loop, self._is_due = None, False
                self._write()

    def _end_turn(self) -> None:
        with self._lock:
            self._is_due = False
            self._write()

    def _write(self) -> None:
        if self._is_writing:  # by this very thread, which goes on until nothing waits
            return
        self._is_writing = True
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                self._put_all(waiting)
        finally:
            self._is_writing = False

    def _put_all(self, texts: list[str]) -> None:
        try:
            self._put(texts)
        except UnicodeEncodeError:
            for text in texts:
                self._put_somehow(text)

    def _put_somehow(self, text: str) -> None:
        try:
            self._put([text])
        except UnicodeEncodeError:
            self._put([text.encode("ascii", "backslashreplace").decode("ascii")])

    def _put(self, texts: list[str]) -> None:
        try:
            self._stream.write("\n".join([*texts, ""]))
            self._stream.flush()
        except UnicodeEncodeError:
            raise
        except (OSError, ValueError):
            # The other end of the pipe is gone: there is nowhere left to say so.
            return

    debug = info = warning = error = critical = line


def _begin_all_anew() -> None:
    for lines in _all_lines:
        lines._begin_anew()  # noqa: SLF001 - its own class


_all_lines: WeakSet[Lines] = WeakSet()
os.register_at_fork(after_in_child=_begin_all_anew)
