"""A directory that may lie on a server, which may not answer."""

from __future__ import annotations

import asyncio
from functools import partial
from os import stat, stat_result
from pathlib import Path

from agent.threads import in_thread


class FarDirectory:
    """Where commands of one route start. Belongs to the event loop's thread.

    The start of a command holds up the whole agent until the directory is there (Python's lock is kept until the
    program has begun), and one on a server that hangs is never there. So it is looked at before, by a thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._look: asyncio.Future[stat_result] | None = None

    async def answers(self) -> None:
        """Returns once it has answered. Raises `OSError` where it cannot be reached. May be cancelled.

        Those who wait at once share one look: however many give up, one thread is left behind.
        """
        if self._look is None or self._look.done():
            self._look = in_thread(partial(stat, self.path), "look at a directory")
        await asyncio.shield(self._look)
