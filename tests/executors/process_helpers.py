"""Runs real commands through the process executor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.domain.json import Json
from agent.domain.outcome import Outcome
from agent.executors.oom import OomCounter
from agent.executors.process import ProcessFactory
from agent.ports import ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_services

PATIENCE_S = 20.0


def execute(
    run: FakeRun,
    command: Json,
    *,
    kill_grace_s: float = 0.3,
    environment: dict[str, str] | None = None,
    oom: OomCounter | None = None,
    **options: Json,
) -> Outcome:
    """The outcome of ``command`` (a text is a script for sh), by itself."""

    async def ended(task: asyncio.Task[Outcome]) -> None:
        await asyncio.wait([task], timeout=PATIENCE_S)

    return supervise(run, command, ended, kill_grace_s=kill_grace_s, environment=environment, oom=oom, **options)


def supervise(
    run: FakeRun,
    command: Json,
    scene: Callable[[asyncio.Task[Outcome]], Awaitable[None]],
    *,
    kill_grace_s: float = 0.3,
    environment: dict[str, str] | None = None,
    oom: OomCounter | None = None,
    **options: Json,
) -> Outcome:
    """The outcome of ``command`` after ``scene``, which may cancel it; raises what it raises."""

    async def play() -> Outcome:
        services = fake_services(ExecutorSettings(kill_grace_s=kill_grace_s), environment=environment)
        factory = ProcessFactory(services, oom=oom)
        argv: Json = ["sh", "-c", command] if isinstance(command, str) else command
        executor = factory.prepare({"command": argv, **options}, "routes[0].process", FakeTemplates())
        task = asyncio.create_task(executor.execute(run))
        try:
            await scene(task)
            return await asyncio.wait_for(asyncio.shield(task), PATIENCE_S)
        finally:
            await factory.close()

    return asyncio.run(play())


async def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for ``condition``, with a deadline."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        await asyncio.sleep(0.005)


def pid_in(file: Path) -> int | None:
    """The process id that a script wrote to ``file``, once it has."""
    text = file.read_text() if file.exists() else ""
    return int(text) if text.endswith("\n") else None


def is_alive(pid: int) -> bool:
    """Whether there is such a process, dead ones that nobody has reaped included."""
    return Path(f"/proc/{pid}").exists()


def has_ended(pid: int) -> bool:
    """Whether it has ended and waits to be reaped: what is still being taken apart cannot be reaped yet."""
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
