"""A directory on a server that hangs costs the runs that start there, and nobody else."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.domain.outcome import Failed, FailureKind, Outcome, Succeeded
from agent.executors import far_directory
from agent.executors.far_directory import FarDirectory, _looked_at
from agent.executors.process import ProcessFactory
from agent.ports import Executor
from agent.testing import FakeRun, FakeTemplates, fake_services
from tests.executors.process_helpers import until


class Server:
    """What answers for directories; it hangs until `answer`."""

    def __init__(self) -> None:
        self.asked = 0
        self._asked, self._answers = threading.Event(), threading.Event()

    def look(self, path: Path) -> OSError | None:
        self.asked += 1
        self._asked.set()
        assert self._answers.wait(30)
        return _looked_at(path)

    async def until_asked(self) -> None:
        assert await asyncio.to_thread(self._asked.wait, 30)

    def answer(self) -> None:
        self._answers.set()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setattr(far_directory, "_looked_at", server.look)
    yield server
    server.answer()


class _Held:
    """What a run holds."""


def _executor(cwd: Path) -> Executor:
    return ProcessFactory(fake_services()).prepare(
        {"command": ["pwd"], "cwd": str(cwd)}, "routes[0].process", FakeTemplates()
    )


def test_the_loop_goes_on_and_the_command_starts_once_its_directory_answers(server: Server, tmp_path: Path) -> None:
    async def scene() -> Outcome:
        began = asyncio.ensure_future(_executor(tmp_path).execute(run))
        await server.until_asked()
        for _ in range(20):
            await asyncio.sleep(0.001)  # which it could not, were the loop held up
        assert not began.done()
        server.answer()
        return await began

    with FakeRun() as run:
        assert asyncio.run(scene()) == Succeeded()
        assert run.log_text == str(tmp_path)


def test_a_run_that_is_stopped_meanwhile_says_what_it_waited_for(server: Server, tmp_path: Path) -> None:
    async def scene() -> None:
        began = asyncio.ensure_future(_executor(tmp_path).execute(run))
        await server.until_asked()
        began.cancel()
        with pytest.raises(asyncio.CancelledError):
            await began

    with FakeRun() as run:
        asyncio.run(scene())
        assert run.log_text == f"the command was not started: its directory {tmp_path} has not answered"


def test_however_many_give_up_one_thread_is_left(server: Server, tmp_path: Path) -> None:
    async def scene() -> None:
        directory = FarDirectory(tmp_path)
        waiting = [asyncio.ensure_future(directory.answers()) for _ in range(5)]
        await asyncio.sleep(0)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        late = asyncio.ensure_future(directory.answers())
        await asyncio.sleep(0)
        server.answer()
        await late
        assert server.asked == 1
        await directory.answers()
        assert server.asked == 2  # it is looked at anew

    asyncio.run(scene())


def test_one_that_is_not_there_is_told_to_all_who_wait(tmp_path: Path) -> None:
    async def scene() -> list[BaseException | None]:
        directory = FarDirectory(tmp_path / "nowhere")
        return await asyncio.gather(*(directory.answers() for _ in range(3)), return_exceptions=True)

    assert [type(error) for error in asyncio.run(scene())] == [FileNotFoundError] * 3


def test_an_error_holds_nothing_of_the_run_that_looked(tmp_path: Path) -> None:
    variable: contextvars.ContextVar[_Held] = contextvars.ContextVar("of the run")

    async def run(directory: FarDirectory) -> weakref.ref[_Held]:
        variable.set(_Held())
        with pytest.raises(FileNotFoundError):
            await directory.answers()
        return weakref.ref(variable.get())

    async def scene() -> None:
        directory = FarDirectory(tmp_path / "nowhere")
        held = await asyncio.create_task(run(directory))
        await until(lambda: gc.collect() >= 0 and held() is None, "the run to go")
        assert directory.path.name == "nowhere"  # and it is still there

    asyncio.run(scene())


def test_a_look_that_fails_after_all_have_given_up_is_no_stray_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()

    def fails(_path: Path) -> OSError | None:
        assert given_up.wait(30)
        raise MemoryError

    async def scene() -> None:
        monkeypatch.setattr(far_directory, "_looked_at", fails)
        directory = FarDirectory(tmp_path)
        waiting = asyncio.ensure_future(directory.answers())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        given_up.set()
        look = directory._look
        assert look is not None
        await asyncio.wait([look])
        del waiting, directory, look  # that is when asyncio would tell
        gc.collect()

    asyncio.run(scene())
    assert not caplog.records


def test_one_that_is_none_cannot_be_entered(tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()

    async def scene() -> Outcome:
        with pytest.raises(NotADirectoryError):
            await FarDirectory(file).answers()
        return await _executor(file).execute(run)

    with FakeRun() as run:
        assert asyncio.run(scene()) == Failed(
            f"could not start the command: its directory {file} cannot be entered: Not a directory",
            FailureKind.NOT_STARTED,
        )


def test_where_no_thread_is_left_the_command_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_work: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(far_directory._THREADS, "run", refuse)
    with FakeRun() as run:
        outcome = asyncio.run(_executor(tmp_path).execute(run))
    told = "could not start the command: the system has no thread left; fewer runs at once may help"
    assert outcome == Failed(told, FailureKind.NOT_STARTED)
