"""The sandbox: the whole agent on one machine with no account, for trying out, for tutorials and for tests.

It may import anything below it; nothing but the command line imports it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

_WRONG_USAGE = 2
_HIGHEST_PORT = 65535


def main(say: Callable[[str], object], *, once: bool, port: int | None = None, routes: Path | None = None) -> int:
    """Runs the sandbox until it is done or interrupted; returns the exit code. See `run_sandbox`.

    ``say`` is given the sandbox's own words. The code is 2 for what does not go together (``once`` invokes the
    examples, which need their own routes), for a number that is no port, and for routes that are not there.
    """
    if port is not None and not 0 <= port <= _HIGHEST_PORT:
        sys.stderr.write(f"--port {port}: a port is a number from 1 to {_HIGHEST_PORT}, or 0 for any free one.\n")
        return _WRONG_USAGE
    if once and routes is not None:
        sys.stderr.write(
            "--once invokes the examples, which your routes do not know: leave out --once and start your actions"
            " on the page, or leave out --routes.\n"
        )
        return _WRONG_USAGE
    if routes is not None and not routes.is_file():
        sys.stderr.write(f"--routes {routes}: there is no such file here.\n")
        return _WRONG_USAGE
    # Imported late: the stand-in for Port also runs as a module of this package, without everything else.
    from agent.sandbox.sandbox import run_sandbox  # noqa: PLC0415 - see above

    return asyncio.run(run_sandbox(say, once=once, port=port, routes=routes and routes.resolve()))
