"""The end of the process where an orderly exit of the interpreter would go wrong; the standard library only."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

_LAST_WORDS_S = 0.5


def leave(code: int) -> NoReturn:
    """Ends the process with ``code`` at once: no exception that somebody might catch, no waiting for threads."""
    for stream in (sys.stdout, sys.stderr):
        # Closed (before the start: None), or nobody reads any more, or interrupted while it was written to.
        with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
            stream.flush()
    os._exit(code)


class HardEnd:
    """Ends the process ``after_s`` from the first `arm` on, with code 1, if it has not ended by itself.

    Whatever hangs by then, an event loop that an action blocks for instance, does not matter: it is a thread that
    waits, and does nothing else. ``say`` is called before, and is not waited for if it hangs as well.
    """

    def __init__(self, after_s: float, say: Callable[[], object]) -> None:
        self._after_s = after_s
        self._say = say
        self._wake_fd, self._armed_fd = os.pipe()
        threading.Thread(target=self._run, name="hard-end", daemon=True).start()

    def arm(self) -> None:
        """The time begins to run. Any thread and a signal handler may call it, more than once: it takes no lock."""
        os.write(self._armed_fd, b".")

    def _run(self) -> None:
        os.read(self._wake_fd, 1)
        time.sleep(self._after_s)
        try:
            words = threading.Thread(target=self._say, daemon=True)
            words.start()  # raises where no thread is to be had
            words.join(_LAST_WORDS_S)
        finally:
            os._exit(1)
