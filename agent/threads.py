"""Work that blocks, in threads that nobody waits for; the standard library only.

The event loop's default executor (`asyncio.to_thread`) is no place for it: that one belongs to Python actions,
which may hold every thread of it for as long as they like.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

T = TypeVar("T")


def in_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """The result of ``work``, which begins at once in a daemon thread of its own, within the caller's context.

    Cancelling the future leaves the thread to itself, and neither the loop nor the process waits for it at their
    end. What ``work`` raises, the future raises. Raises `RuntimeError` where the system has no thread left.
    """
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

    threading.Thread(target=thread, name=name, daemon=True).start()
    return done


def _succeed(done: asyncio.Future[T], result: T) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[T], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
