"""Keeps acknowledged runs on disk, in a thread of its own, so that no disk ever holds the event loop."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from agent.domain.events import ClaimsKept
from agent.domain.invocation import RunId
from agent.polling.claims_file import ClaimsFile, Kept
from agent.ports import Observer

OpenFile = Callable[[], ClaimsFile]

_TRY_AGAIN_S = 5.0
_LOOK_S = 0.01

log = structlog.get_logger(__name__)


class Keeper:
    """Writes what it is told, in order, many at a time. Made on the event loop, whose thread calls its methods.

    A disk that is full or cannot be written costs what a restart would have needed, and nothing else: observers
    hear why, and it is tried again. ``on_found`` is called on the loop, once, with what an earlier life has left.
    """

    def __init__(
        self,
        open_file: OpenFile,
        observer: Observer,
        on_found: Callable[[Sequence[Kept]], None],
        *,
        try_again_s: float = _TRY_AGAIN_S,
    ) -> None:
        self._open_file = open_file
        self._observer = observer
        self._on_found = on_found
        self._try_again_s = try_again_s
        self._loop = asyncio.get_running_loop()
        self._file: ClaimsFile | None = None
        self._changed = threading.Condition()
        self._todo: dict[RunId, Kept | None] = {}
        """What is to be written: a run, or ``None`` where one is to be removed."""
        self._waiters: list[asyncio.Future[bool]] = []
        self._closing = False
        self._problem = ""
        self._told = ClaimsKept()
        self._tried: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
        self._thread.start()

    async def tried(self, timeout_s: float) -> None:
        """Waits until the file was opened, or could not be, or for so long; what was found is told by then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._tried)

    def put(self, kept: Kept) -> asyncio.Future[bool]:
        """Keeps a run from now on. Done once it outlives the process, or cannot (``False``)."""
        done: asyncio.Future[bool] = self._loop.create_future()
        with self._changed:
            self._todo[kept.run_id] = kept
            self._waiters.append(done)
            self._changed.notify()
        return done

    async def keep(self, kept: Kept, timeout_s: float) -> bool:
        """As `put`, but waits for ``timeout_s`` at most: a disk that hangs costs no more than one that fails."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self.put(kept)
        except TimeoutError:
            self._tell(ClaimsKept(f"the disk has not answered for {timeout_s:g} s", self._told.note))
            return False

    def drop(self, run_id: RunId) -> None:
        """It need not be kept any more."""
        with self._changed:
            self._todo[run_id] = None
            self._changed.notify()

    async def close(self, timeout_s: float) -> None:
        """Writes what is to be written, if that takes no longer than ``timeout_s``. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        deadline_s = self._loop.time() + timeout_s
        while self._thread.is_alive() and self._loop.time() < deadline_s:  # noqa: ASYNC110 - a thread has no event
            await asyncio.sleep(_LOOK_S)

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        self._problem = self._write({})
        self._call(self._tried_once)
        while True:
            with self._changed:
                self._changed.wait_for(self._has_something_to_do, self._try_again_s if self._problem else None)
                todo, self._todo = self._todo, {}
                waiters, self._waiters = self._waiters, []
                closing = self._closing
            self._problem = self._write(todo)
            if waiters:
                self._call(lambda done=waiters, ok=not self._problem: _answer(done, ok))  # type: ignore[misc]
            if closing:
                break
        if self._file is not None:
            with suppress(sqlite3.Error, OSError):
                self._file.close()

    def _has_something_to_do(self) -> bool:
        return self._closing or bool(self._waiters) or (bool(self._todo) and not self._problem)

    def _write(self, todo: Mapping[RunId, Kept | None]) -> str:
        """Returns what went wrong, and has put back then what was to be done."""
        problem = ""
        try:
            if self._file is None:
                self._file = self._open(todo)
            if todo:
                puts = [kept for kept in todo.values() if kept is not None]
                self._file.write(puts, [run_id for run_id, kept in todo.items() if kept is None])
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on
            with self._changed:
                self._todo = {**todo, **self._todo}
            problem = _said(error)
        self._tell(ClaimsKept(problem, self._file.note if self._file else ""))
        return problem

    def _open(self, todo: Mapping[RunId, Kept | None]) -> ClaimsFile:
        """Opens the file, and tells what is in it but what this life has said more of since."""
        file = self._open_file()
        try:
            found = file.read()
        except BaseException:
            file.close()
            raise
        with self._changed:
            newer = self._todo.keys() | todo.keys()
        self._call(lambda: self._on_found([kept for kept in found if kept.run_id not in newer]))
        return file

    def _tried_once(self) -> None:
        if not self._tried.done():
            self._tried.set_result(None)

    def _tell(self, stands: ClaimsKept) -> None:
        if stands != self._told or stands.problem:
            self._told = stands
            self._observer.notify(stands)

    def _call(self, callback: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is gone, and with it everyone who could wait
            self._loop.call_soon_threadsafe(callback)


def _answer(waiters: Sequence[asyncio.Future[bool]], is_kept: bool) -> None:  # noqa: FBT001 - called from one place
    for done in waiters:
        if not done.done():
            done.set_result(is_kept)


def _said(error: Exception) -> str:
    if isinstance(error, OSError | sqlite3.Error):
        return str(error) or type(error).__name__
    log.error("the file of claims failed by a defect; it is tried again", exc_info=error)
    return f"{type(error).__name__}: {error}"
