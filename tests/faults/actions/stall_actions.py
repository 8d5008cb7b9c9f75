"""Python actions that misbehave towards the agent's event loop."""

from __future__ import annotations

import time
from pathlib import Path

from agent import Run, Succeeded


async def block(run: Run) -> Succeeded:
    """Holds the event loop until a file is there."""
    file = Path(str(run.inputs["until"]))
    while not file.exists():  # noqa: ASYNC240 - that it blocks is the point
        time.sleep(0.05)  # noqa: ASYNC251 - likewise
    return Succeeded("it held the loop")
