"""Work that blocks, in threads that nobody waits for; the standard library only.

The event loop's default executor (`asyncio.to_thread`) is no place for it: that one belongs to Python actions,
which may hold every thread of it for as long as they like.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def in_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """The result of ``work``, which begins at once in a daemon thread of its own, within the caller's context.

    Cancelling the future leaves the thread to itself, and neither the loop nor the process waits for it at their
    end. What ``work`` raises, the future raises. Raises `RuntimeError` where the system has no thread left.
    """
    done, thread = _told(work)
    threading.Thread(target=thread, name=name, daemon=True).start()
    return done


class SpareThreads:
    """Daemon threads for short work that comes often: one that has done its work waits for more.

    To start a thread costs several times what it takes to hand work to one that is there. At most ``spare`` of them
    wait; while more work is under way there are more.
    """

    def __init__(self, name: str, spare: int) -> None:
        self._name = name
        self._spare = spare
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Callable[[], None]]] = []

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """As `in_thread`, but that the thread may have done other work before."""
        done, thread = _told(work)
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            threading.Thread(target=self._serve, args=(inbox,), name=self._name, daemon=True).start()
        inbox.put(thread)
        return done

    def _serve(self, inbox: SimpleQueue[Callable[[], None]]) -> None:
        """What the work holds is not to live until there is more: so it is no argument, nor a name."""
        inbox.get()()
        while self._rests(inbox):
            inbox.get()()

    def _rests(self, inbox: SimpleQueue[Callable[[], None]]) -> bool:
        """Counts the thread of ``inbox`` among those that wait, if there is need of one more."""
        with self._lock:
            is_needed = len(self._idle) < self._spare
            if is_needed:
                self._idle.append(inbox)
        return is_needed


class FewThreads:
    """Daemon threads for the shortest work, such as making a file, by as few of them as keep up: mostly one.

    Threads that work at once take the interpreter from each other, and from the loop, at every system call, which
    costs more than such calls do. One more works only where the last work has begun ``late_s`` ago, as on a disk
    that hangs, and there is other to do; at most ``most`` of them. All stay.
    """

    def __init__(self, name: str, most: int, late_s: float = 0.01) -> None:
        self._name = name
        self._most = most
        self._late_s = late_s
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._resting: list[SimpleQueue[None]] = []
        self._working = 0
        self._begun_s = 0.0
        self._looker: asyncio.AbstractEventLoop | None = None

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """As `in_thread`, but that other work may be done before, in the same thread."""
        done, thread = _told(work)
        with self._lock:
            self._waiting.append(thread)
        try:
            self._work_on()
        except RuntimeError:
            with self._lock:
                is_nobodys = self._working == 0 and thread in self._waiting
                if is_nobodys:
                    self._waiting.remove(thread)
            if is_nobodys:
                raise
        return done

    def _work_on(self) -> None:
        """Has one more thread work if there is need of it; if not yet, looks again when there may be.

        Raises `RuntimeError` where the system has no thread left.
        """
        with self._lock:
            if not self._waiting:
                return
            if not self._is_one_more_needed():
                self._look_later()
                return
            self._working += 1
            self._begun_s = time.monotonic()
            wake = self._resting.pop() if self._resting else None
        if wake is not None:
            wake.put(None)
            return
        try:
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        except RuntimeError:
            with self._lock:
                self._working -= 1
            raise

    def _look_later(self) -> None:
        """What waits behind work that lasts is not to wait until more comes."""
        loop = asyncio.get_running_loop()
        if self._looker is not loop and self._working < self._most:
            self._looker = loop
            loop.call_later(self._late_s, self._look)

    def _look(self) -> None:
        self._looker = None
        with contextlib.suppress(RuntimeError):  # those that work go on
            self._work_on()

    def _is_one_more_needed(self) -> bool:
        if self._working == 0:
            return True
        return self._working < self._most and time.monotonic() - self._begun_s > self._late_s

    def _serve(self) -> None:
        wake: SimpleQueue[None] = SimpleQueue()
        while True:
            while (work := self._next(wake)) is not None:
                work()
                del work  # what it holds is not to live until there is more
            wake.get()

    def _next(self, wake: SimpleQueue[None]) -> Callable[[], None] | None:
        """``None`` where there is none: the thread of ``wake`` then rests."""
        with self._lock:
            if self._waiting:
                self._begun_s = time.monotonic()
                return self._waiting.popleft()
            self._working -= 1
            self._resting.append(wake)
            return None


def _told(work: Callable[[], T]) -> tuple[asyncio.Future[T], Callable[[], None]]:
    """``work``, to be called in a thread, and the future that is then told what it gives or raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def thread() -> None:
        tell: Callable[[], None]
        try:
            tell = partial(_succeed, done, context.run(work))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for who waits
            tell = partial(_fail, done, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell)

    return done, thread


def _succeed(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[T], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)


DISK = FewThreads("disk", most=8)
"""Makes and removes what a run has on the disk."""
