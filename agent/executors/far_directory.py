"""A directory that may lie on a server, which may not answer."""

from __future__ import annotations

import asyncio
import errno
import os
from functools import partial
from pathlib import Path

from agent.threads import SpareThreads

_THREADS = SpareThreads("look at a directory", spare=1)


class FarDirectory:
    """Where commands of one route start. Belongs to the event loop's thread.

    The start of a command holds up the whole agent until the directory is there (Python's lock is kept until the
    program has begun), and one on a server that hangs is never there. So it is looked at before, by a thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._look: asyncio.Future[OSError | None] | None = None

    async def answers(self) -> None:
        """Returns once it has answered. Raises `OSError` where it cannot be entered. May be cancelled.

        Those who wait at once share one look: however many give up, one thread is left behind.
        """
        if self._look is None or self._look.done():
            try:
                self._look = _THREADS.run(partial(_looked_at, self.path))
            except RuntimeError:
                raise OSError(errno.EAGAIN, "the system has no thread left") from None
            self._look.add_done_callback(_heed)
        if (error := await asyncio.shield(self._look)) is not None:
            raise OSError(error.errno, error.strerror, str(self.path))


def _heed(look: asyncio.Future[OSError | None]) -> None:
    """Takes note of a defect: where all have given up, asyncio would tell it as one that nobody has looked at."""
    if not look.cancelled():
        look.exception()


def _looked_at(path: Path) -> OSError | None:
    """What is wrong with it: told and not raised, for an error that many raise holds the frames of all of them.

    It is looked at from within, for which it has to be entered: as a mere name, one that is mounted only when it is
    used answers without its server.
    """
    try:
        os.stat(f"{path}/.")  # noqa: PTH116 - a path of `pathlib` has no dot at its end
    except OSError as error:
        return error.with_traceback(None)
    return None
