"""What every executor must do, whatever it executes."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.domain.outcome import Failed, Outcome, Succeeded
from agent.domain.redaction import MASK
from agent.testing import FakeRun
from tests.contract.executor_rig import FLOOD_BYTES, SECRET, Prepared, Rig, Work
from tests.contract.executor_rigs import RIGS

_PATIENCE_S = 20.0
_LOG_MAX_BYTES = 256 * 1024
_KERNEL_FILES = ("children", "memory.events", "memory.oom_control")
"""An executor of commands keeps them open as long as it is there, as it keeps the threads for the disk."""

pytestmark = pytest.mark.parametrize("rig", RIGS, ids=lambda rig: rig.name)


@pytest.fixture(autouse=True)
def _own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left there was left by the test."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))


@dataclass(frozen=True)
class _Stage:
    """An executor that is ready for one run, and that run."""

    prepared: Prepared
    run: FakeRun

    async def execute(self) -> Outcome:
        return await asyncio.wait_for(self.prepared.executor.execute(self.run), _PATIENCE_S)

    async def started(self) -> asyncio.Task[Outcome]:
        """The execution, once its work is under way."""
        task = asyncio.create_task(self.prepared.executor.execute(self.run))
        await _until(self.prepared.started, "the work to start")
        return task


@asynccontextmanager
async def _stage(rig: Rig, work: Work, tmp_path: Path) -> AsyncIterator[_Stage]:
    """Afterwards nothing of the run may be left: no task, thread, child, open file or temporary file."""
    before = _belongings()
    with FakeRun({"name": "billing"}, log_max_bytes=_LOG_MAX_BYTES) as run:
        async with rig.prepare(work, tmp_path) as prepared:
            yield _Stage(prepared, run)
    await _until(lambda: not _belongings() - before, lambda: f"{_belongings() - before} to go away")
    await _until(lambda: len(asyncio.all_tasks()) == 1, lambda: f"{asyncio.all_tasks()} to end")


def _belongings() -> set[str]:
    gc.collect()
    tasks = Path("/proc/self/task").iterdir()
    return {
        *(f"thread {thread.name}" for thread in threading.enumerate() if not thread.name.startswith("disk")),
        *(f"child {pid}" for task in tasks for pid in _children(task)),
        *(f"file {target}" for fd in Path("/proc/self/fd").iterdir() if (target := _target(fd))),
        *(f"temporary {path}" for path in Path(tempfile.gettempdir()).iterdir()),
    }


def _children(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except FileNotFoundError:  # a thread that has just ended
        return []


def _target(fd: Path) -> str:
    try:
        target = fd.readlink()
    except FileNotFoundError:  # the listing's own descriptor
        return ""
    return "" if target.name in _KERNEL_FILES else f"{fd.name} {target}"


async def _until(condition: Callable[[], bool], what: str | Callable[[], str]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain for {what if isinstance(what, str) else what()}"
        await asyncio.sleep(0.005)


def _play(scene: Coroutine[object, object, None]) -> None:
    asyncio.run(scene)


def test_success_is_an_outcome(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.SUCCEED, tmp_path) as stage:
            assert await stage.execute() == Succeeded()

    _play(scene())


def test_failure_is_an_outcome_with_a_reason_and_no_exception(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.FAIL, tmp_path) as stage:
            outcome = await stage.execute()
        assert isinstance(outcome, Failed)
        assert "broken" in outcome.reason

    _play(scene())


def test_time_out_ends_the_work(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.HANG, tmp_path) as stage:
            task = await stage.started()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(task, 0.05)
            await _until(lambda: not stage.prepared.alive(), "the work to be dead")

    _play(scene())


def test_cancellation_ends_the_work_and_is_let_through(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.HANG, tmp_path) as stage:
            task = await stage.started()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await _until(lambda: not stage.prepared.alive(), "the work to be dead")

    _play(scene())


def test_work_that_resists_is_given_up_after_the_grace(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.RESIST, tmp_path) as stage:
            task = await stage.started()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(task), _PATIENCE_S)
            if stage.prepared.mortal:
                await _until(lambda: not stage.prepared.alive(), "the work to be dead")

    _play(scene())


def test_second_cancellation_waits_for_no_grace(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{type(rig).__module__}.KILL_GRACE_S", 3600.0)

    async def scene() -> None:
        async with _stage(rig, Work.RESIST, tmp_path) as stage:
            task = await stage.started()
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(task), _PATIENCE_S)
            if stage.prepared.mortal:
                await _until(lambda: not stage.prepared.alive(), "the work to be dead")

    _play(scene())


@pytest.mark.parametrize("steps", range(8))
def test_cancelled_at_any_moment_it_leaves_nothing_behind(rig: Rig, tmp_path: Path, steps: int) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.HANG, tmp_path) as stage:
            task = asyncio.create_task(stage.prepared.executor.execute(stage.run))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(asyncio.shield(task), _PATIENCE_S)
            await _until(lambda: not stage.prepared.alive(), "the work to be dead")

    _play(scene())


def test_a_flood_of_output_fills_no_memory(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> int:
        async with _stage(rig, Work.FLOOD, tmp_path) as stage:
            tracemalloc.start()
            try:
                outcome = await stage.execute()
                peak_bytes = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert isinstance(outcome, Succeeded)
            rig.check_flooded(stage.run)
        return peak_bytes

    assert asyncio.run(scene()) < FLOOD_BYTES / 4


@pytest.mark.parametrize("work", [Work.LEAK, Work.SPILL])
def test_secrets_are_masked_in_everything_that_is_said(rig: Rig, work: Work, tmp_path: Path) -> None:
    """The agent masks reasons and exchanges when it sends them: whole secrets may stand in them, parts may not."""

    async def scene() -> list[str]:
        async with _stage(rig, work, tmp_path) as stage:
            run = stage.run
            run.mask(SECRET)
            outcome = await stage.execute()
            assert isinstance(outcome, Failed)
            assert SECRET in outcome.reason or MASK in outcome.reason
            told = [*run.links, *run.summaries, *run.status_labels, *run.external_run_ids, str(run.outputs)]
            later = [outcome.reason, *(str(exchange) for exchange in run.exchanges)]
            return [run.log_text, *told, *(text.replace(SECRET, MASK) for text in later)]

    parts = {SECRET[start : start + 5] for start in range(len(SECRET) - 4)}
    assert not [(part, text) for text in asyncio.run(scene()) for part in parts if part in text]


def test_what_is_told_arrives(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.TELL, tmp_path) as stage:
            assert isinstance(await stage.execute(), Succeeded)
            rig.check_told(stage.run)

    _play(scene())


def test_many_runs_at_once_do_not_disturb_each_other(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.SUCCEED, tmp_path) as stage:
            runs = [FakeRun() for _ in range(20)]
            outcomes = await asyncio.gather(*(stage.prepared.executor.execute(run) for run in runs))
            for run in runs:
                run.close()
            assert outcomes == [Succeeded()] * len(runs)

    _play(scene())


def test_a_preview_does_nothing(rig: Rig, tmp_path: Path) -> None:
    async def scene() -> None:
        async with _stage(rig, Work.HANG, tmp_path) as stage:
            assert await stage.prepared.executor.preview(stage.run.view)
            assert not stage.prepared.started()

    _play(scene())
