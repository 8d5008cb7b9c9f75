"""The sandbox: the whole agent on one machine with no account, for trying out, for tutorials and for tests.

It may import anything below it; nothing but the command line imports it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path


def main(*, once: bool, port: int | None = None, routes: Path | None = None) -> int:
    """Runs the sandbox until it is done or interrupted; returns the exit code. See `run_sandbox`."""
    # Imported late: the stand-in for Port also runs as a module of this package, without everything else.
    from agent.sandbox.sandbox import run_sandbox  # noqa: PLC0415 - see above

    return asyncio.run(run_sandbox(once=once, port=port, routes=routes and routes.resolve()))
