"""Kernels that lack what the process executor would like to have."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from agent.domain.outcome import Failed, FailureKind, Succeeded
from agent.executors import process_tree
from agent.testing import FakeRun
from tests.executors.process_helpers import execute, is_alive, pid_in, supervise, until


@pytest.fixture
def _no_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.usefixtures("_no_pidfd")
def test_without_pidfds_a_thread_waits() -> None:
    with FakeRun() as run:
        assert execute(run, "echo out; exit 3") == Failed("exit code 3\nout", FailureKind.EXIT_CODE)
        assert execute(run, "kill -TERM $$") == Failed("killed by SIGTERM", FailureKind.SIGNAL)


@pytest.mark.usefixtures("_no_pidfd")
def test_without_pidfds_a_command_is_stopped(tmp_path: Path) -> None:
    ready = tmp_path / "pid"

    async def scene(task: asyncio.Task[object]) -> None:
        await until(lambda: pid_in(ready) is not None, "the command to start")
        task.cancel()

    with FakeRun() as run, pytest.raises(asyncio.CancelledError):
        supervise(run, f"trap '' TERM; echo $$ >{ready}; sleep 99", scene)
    assert not is_alive(pid_in(ready) or 0)


def test_without_sight_of_orphans_the_group_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "_own_children_file", lambda: None)
    ready = tmp_path / "pid"
    with FakeRun() as run:
        script = f"sleep 99 </dev/null >/dev/null 2>&1 & echo $! >{ready}"
        assert execute(run, script) == Succeeded()
    orphan = pid_in(ready)
    assert orphan is not None
    assert os.waitstatus_to_exitcode(os.waitpid(orphan, 0)[1]) == -signal.SIGKILL
