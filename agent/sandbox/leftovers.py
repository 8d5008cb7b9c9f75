"""What a dead agent's commands leave running: found by their environment, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Container, Iterator
from pathlib import Path


def end_leftovers(api_url: str, run_ids: Container[str]) -> list[int]:
    """Kills the processes that the agent started for these runs of the API at ``api_url``; returns their ids.

    An agent that ends in its own time ends them itself; this is for one that was killed. Finds nothing where there
    is no ``/proc``.
    """
    ended: list[int] = []
    while found := [pid for pid in _commands(api_url, run_ids) if pid not in ended]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended += found
    return ended


def _commands(api_url: str, run_ids: Container[str]) -> Iterator[int]:
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's
            pairs = (entry.partition("=") for entry in (place / "environ").read_text(errors="replace").split("\0"))
            variables = {name: value for name, _, value in pairs}
            if variables.get("PORT_API_BASE_URL") == api_url and variables.get("RUN_ID") in run_ids:
                yield int(place.name)
