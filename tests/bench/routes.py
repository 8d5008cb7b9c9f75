"""The routes that are measured. ``{url}`` stands for the target's address."""

from __future__ import annotations

ACTIONS = """\
import asyncio
from pathlib import Path

from agent import Run, Succeeded


async def nothing(run: Run) -> Succeeded:
    return Succeeded()


def plain(run: Run) -> Succeeded:
    return Succeeded()


async def count_tasks(run: Run) -> Succeeded:
    Path(__file__).with_name("tasks").write_text(str(len(asyncio.all_tasks())))
    return Succeeded()
"""
"""The module of Python actions, ``bench_actions``."""

QUICK = """\
  - name: quick
    match: {action: quick}
    http: {url: "{url}/quick"}
"""
"""Has a ``url`` of its own, so that it is synchronous: a 2xx ends the run."""
SLOW = """\
  - name: slow
    match: {action: slow}
    http: {url: "{url}/slow"}
"""
HELD = """\
  - name: held
    match: {action: held}
    http: {url: "{url}/held", timeout: 10m}
"""
ECHO = """\
  - name: echo
    match: {action: echo}
    process: {command: [/bin/echo, done]}
"""
SILENT = """\
  - name: silent
    match: {action: silent}
    process: {command: [/bin/true]}
"""
PYTHON = """\
  - name: nothing
    match: {action: nothing}
    python: {callable: "bench_actions:nothing"}
"""
PLAIN = """\
  - name: plain
    match: {action: plain}
    python: {callable: "bench_actions:plain"}
"""
TASKS = """\
  - name: tasks
    match: {action: tasks}
    python: {callable: "bench_actions:count_tasks"}
"""
"""Leaves the number of the event loop's tasks in the file ``tasks``, beside the module of actions."""


def routes(*parts: str) -> str:
    """A routes file of these routes."""
    return "routes:\n" + "".join(parts)


def many(count: int, last: str) -> str:
    """A routes file of ``count`` routes, of which only the last takes runs that are measured."""
    others = (
        f"  - name: other-{n}\n    match: {{action: other_{n}}}\n    http: {{url: '{{url}}/quick'}}\n"
        for n in range(count - 1)
    )
    return routes(*others, last)
