"""A directory that may lie on a server, which may not answer."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from agent.threads import in_thread


class FarDirectory:
    """Where commands of one route start. Belongs to the event loop's thread.

    The start of a command holds up the whole agent until the directory is there (Python's lock is kept until the
    program has begun), and one on a server that hangs is never there. So it is looked at before, by a thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._look: asyncio.Future[OSError | None] | None = None

    async def answers(self) -> None:
        """Returns once it has answered. Raises `OSError` where it cannot be reached. May be cancelled.

        Those who wait at once share one look: however many give up, one thread is left behind.
        """
        if self._look is None or self._look.done():
            self._look = in_thread(partial(_looked_at, self.path), "look at a directory")
        if (error := await asyncio.shield(self._look)) is not None:
            raise OSError(error.errno, error.strerror, str(self.path))


def _looked_at(path: Path) -> OSError | None:
    """What is wrong with it: told and not raised, for an error that many raise holds the frames of all of them."""
    try:
        path.stat()
    except OSError as error:
        return error.with_traceback(None)
    return None
