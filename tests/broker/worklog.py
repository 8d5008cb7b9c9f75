"""Which work was really done, told by the work itself: each execution notes its begin and its end in one file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

SHELL = 'note() { echo "$1 $RUN_ID $ATTEMPT $AGENT $$ $(date +%s.%N)" >>"$WORKLOG"; }; note begin; {work}; note end'
"""For ``/bin/sh -c``: notes around ``{work}``; wants ATTEMPT, AGENT and WORKLOG in its environment."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution; times are epoch seconds. ``ended_s`` is ``None`` where it never came to its end.

    ``agent`` is the name of the agent that began it.
    """

    run_id: str
    attempt: int
    agent: str
    began_s: float
    ended_s: float | None = None


class Worklog:
    """The file that all work appends to, from any process; one line is one write, so that lines do not mix."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._count = 0
        file.touch()

    @contextmanager
    def noted(self, run_id: str, attempt: str, agent: str) -> Iterator[None]:
        """Notes the begin, and the end unless the work fails. For work in this process; any thread."""
        with self._lock:
            self._count += 1
            mark = f"{run_id} {attempt} {agent} {os.getpid()}.{self._count}"
        self._append(f"begin {mark}")
        yield
        self._append(f"end {mark}")

    def begun(self) -> int:
        """How many executions have begun."""
        return self.file.read_bytes().count(b"begin ")

    def by_run(self) -> dict[str, list[Execution]]:
        """The executions of each run, in the order in which they began."""
        found: dict[tuple[str, ...], Execution] = {}
        for line in self.file.read_text().splitlines():
            what, *mark, at = line.split()
            run_id, attempt, agent, _token = mark
            if what == "begin":
                found[tuple(mark)] = Execution(run_id, int(attempt), agent, float(at))
            else:
                found[tuple(mark)] = replace(found[tuple(mark)], ended_s=float(at))
        by_run: dict[str, list[Execution]] = {}
        for execution in sorted(found.values(), key=lambda one: one.began_s):
            by_run.setdefault(execution.run_id, []).append(execution)
        return by_run

    def _append(self, text: str) -> None:
        opened = os.open(self.file, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(opened, f"{text} {time.time():.6f}\n".encode())
        finally:
            os.close(opened)
