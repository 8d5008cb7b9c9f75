"""The journal of outcomes: each is kept from a moment after its run has ended until Port accepts it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import structlog

from agent.domain.events import JournalStood
from agent.ports import Observer
from agent.runs_api.journal_file import Entry, JournalFile, Key

_TRY_AGAIN_S = 5.0
_GATHER_S = 0.003
"""So long others may join what is to be written: of many runs at once most are told to Port by then."""

log = structlog.get_logger(__name__)


class Journal:
    """Writes behind the back of whoever reports, in a thread of its own, many outcomes at a time.

    A disk that is full or cannot be written costs what a restart would have needed, and nothing else: outcomes stay
    in memory, observers hear why, and it is tried again. ``open_file`` is called at once, and again while it
    raises. ``wait`` is given seconds to pass. All methods may be called from any thread; but for `close` none
    blocks.
    """

    def __init__(
        self,
        open_file: Callable[[], JournalFile],
        observer: Observer,
        *,
        try_again_s: float = _TRY_AGAIN_S,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._open_file = open_file
        self._observer = observer
        self._try_again_s = try_again_s
        self._wait = wait
        self._file: JournalFile | None = None
        self._changed = threading.Condition()
        self._pending: set[Key] = set()
        self._todo: dict[Key, Entry | None] = {}
        """What is to be written: an entry, or ``None`` where one is to be removed."""
        self._on_disk: set[Key] = set()
        self._closing = False
        self._left_over: list[Entry] = []
        self._note = ""
        self._is_defect_logged = False
        self._told = JournalStood(0)
        self._problem = self._write({})
        self._tell()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def take_left_over(self) -> tuple[Entry, ...]:
        """What an earlier life of this agent has left, as far as it was found since the last call.

        That is all of it at once, unless the disk fails at first. Each is to be dropped once Port has it.
        """
        with self._changed:
            left_over, self._left_over = self._left_over, []
        return tuple(left_over)

    def keep(self, entry: Entry) -> None:
        """From now on, or a few milliseconds later, this outcome outlives the process."""
        with self._changed:
            self._pending.add(entry.key)
            self._todo[entry.key] = entry
            self._changed.notify()

    def drop(self, key: Key) -> None:
        """Port has this outcome, or will never take it. One that is not kept is passed over."""
        with self._changed:
            self._pending.discard(key)
            if key in self._on_disk:
                self._todo[key] = None
            else:
                self._todo.pop(key, None)
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Writes what is to be written, if that takes no longer than ``timeout_s``. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._problem:
                    self._changed.wait_for(lambda: self._closing, self._try_again_s)
                else:
                    self._changed.wait_for(lambda: self._todo or self._closing or self._is_untold())
                hurries = self._closing
            if not hurries:
                self._wait(_GATHER_S)  # not on the condition: each outcome would wake this thread
            with self._changed:
                todo, self._todo = self._todo, {}
                self._on_disk.update(todo)  # from here on they may be
                closing = self._closing
            self._problem = self._write(todo)
            self._tell()
            if closing:
                break
        if self._file is not None:
            with suppress(sqlite3.Error, OSError):
                self._file.close()

    def _write(self, todo: Mapping[Key, Entry | None]) -> str:
        """Returns what went wrong, and has put back then what was to be done."""
        try:
            if self._file is None:
                self._file = self._open(todo)
            puts = [entry for entry in todo.values() if entry is not None]
            drops = [key for key, entry in todo.items() if entry is None]
            if todo:
                self._file.write(puts, drops)
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on
            with self._changed:
                self._todo = {**todo, **self._todo}
            return self._said(error)
        with self._changed:
            self._on_disk.difference_update(key for key in drops if key not in self._todo)
        return ""

    def _open(self, todo: Mapping[Key, Entry | None]) -> JournalFile:
        """Opens the file and reads what is left over: all but what this life has said more of since."""
        file = self._open_file()
        try:
            entries = file.read()
        except BaseException:
            file.close()
            raise
        with self._changed:
            newer = self._pending | self._todo.keys() | todo.keys()
            found = [entry for entry in entries if entry.key not in newer]
            keys = [entry.key for entry in found]
            self._left_over += found
            self._pending.update(keys)
            self._on_disk.update(keys)
        self._note = file.note
        return file

    def _said(self, error: Exception) -> str:
        if isinstance(error, OSError | sqlite3.Error):
            return str(error) or type(error).__name__
        if not self._is_defect_logged:
            self._is_defect_logged = True
            log.error("the journal of outcomes failed by a defect; it is tried again", exc_info=error)
        return f"{type(error).__name__}: {error}"

    def _is_untold(self) -> bool:
        return JournalStood(len(self._pending), self._problem) != self._told

    def _tell(self) -> None:
        note, self._note = self._note, ""
        with self._changed:
            stands = JournalStood(len(self._pending), self._problem)
            is_news = stands != self._told or self._problem or note
            self._told = stands
        if is_news:
            self._observer.notify(replace(stands, note=note))
