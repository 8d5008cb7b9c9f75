"""The end of the process where an orderly exit of the interpreter would go wrong; the standard library only."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Ends the process with ``code`` at once: no exception that somebody might catch, no waiting for threads."""
    for stream in (sys.stdout, sys.stderr):
        # Closed, or nobody reads any more, or interrupted while it was written to.
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            stream.flush()
    os._exit(code)
