"""Commands that misbehave, as real processes."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.domain.outcome import Failed, FailureKind, Outcome, Succeeded
from agent.executors.process import ProcessExecutor, ProcessFactory
from agent.ports import ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_services
from tests.executors.process_helpers import execute, has_ended, is_alive, pid_in, supervise, until

Scene = Callable[[asyncio.Task[Outcome]], Awaitable[None]]


def _cancel_once(ready: Callable[[], bool]) -> Scene:
    async def scene(task: asyncio.Task[Outcome]) -> None:
        await until(ready, "the command to be ready")
        task.cancel()

    return scene


def _cancelled(run: FakeRun, script: str, ready: Path, **options: object) -> None:
    """Runs ``script``, and cancels it once it has written its process id to ``ready``."""
    scene = _cancel_once(lambda: pid_in(ready) is not None)
    with pytest.raises(asyncio.CancelledError):
        supervise(run, script, scene, **options)  # type: ignore[arg-type]  # options of two kinds


def _pid(file: Path) -> int:
    pid = pid_in(file)
    assert pid is not None
    return pid


def test_child_that_heeds_sigterm_may_clean_up(tmp_path: Path) -> None:
    ready = tmp_path / "pid"
    script = f"""
        trap 'echo link=https://x/undone >>$AGENT_OUTPUT; echo bye; exit 0' TERM
        echo $$ >{ready}; while :; do sleep 0.01; done"""
    with FakeRun() as run:
        _cancelled(run, script, ready, kill_grace_s=30.0)
        assert "bye" in run.log_text.splitlines()
        assert run.links == ["https://x/undone"]


def test_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    ready = tmp_path / "pid"
    with FakeRun() as run:
        started_s = time.monotonic()
        _cancelled(run, f"trap '' TERM; echo $$ >{ready}; while :; do sleep 9; done", ready, kill_grace_s=0.3)
        assert time.monotonic() - started_s >= 0.3
        assert run.log_text == "the command did not end after SIGTERM and was killed"
    assert not is_alive(_pid(ready))


def test_route_may_give_less_grace_than_the_agent(tmp_path: Path) -> None:
    ready = tmp_path / "pid"
    with FakeRun() as run:
        _cancelled(run, f"trap '' TERM; echo $$ >{ready}; sleep 99", ready, kill_grace_s=600.0, kill_grace="100ms")
    assert not is_alive(_pid(ready))


def test_members_of_the_group_get_their_grace_when_the_shell_is_gone(tmp_path: Path) -> None:
    ready, undone = tmp_path / "pid", tmp_path / "undone"
    worker = f"trap 'sleep 0.1; touch {undone}; exit' TERM; echo $$ >{ready}; while :; do sleep 0.01; done"
    with FakeRun() as run:
        _cancelled(run, f'sh -c "{worker}" & wait', ready, kill_grace_s=30.0)
    assert undone.exists()
    assert not is_alive(_pid(ready))


def test_signal_scope_leader_spares_its_workers(tmp_path: Path) -> None:
    ready, told = tmp_path / "pid", tmp_path / "told"
    worker = f"trap 'touch {told}' TERM; echo $$ >{ready}; while :; do sleep 0.01; done"
    with FakeRun() as run:
        script = f"trap 'echo leader told; exit' TERM; sh -c \"{worker}\" & while :; do sleep 0.01; done"
        _cancelled(run, script, ready, kill_grace_s=30.0, signal_scope="leader")
        assert "leader told" in run.log_text
    assert not told.exists()
    assert not is_alive(_pid(ready))


def test_child_that_forks_and_exits_with_its_stdout_leaked(tmp_path: Path) -> None:
    """Exit 0 stays success; who still holds the output gets a bounded time, then ends, and is named."""
    ready = tmp_path / "pid"
    with FakeRun() as run:
        started_s = time.monotonic()
        script = f"sleep 99 & echo $! >{ready}; echo out"
        assert execute(run, script, kill_grace_s=0.1) == Succeeded()
        assert 1.1 <= time.monotonic() - started_s < 20
        assert run.log_text == "out\nkilled what the command had left running (1): sleep"
    assert not is_alive(_pid(ready))


def test_child_whose_helper_still_writes_loses_nothing() -> None:
    with FakeRun() as run:
        assert execute(run, "(sleep 0.2; echo late) & echo early", kill_grace_s=20.0) == Succeeded()
        assert run.log_text == "early\nlate"


def test_background_process_without_output_does_not_outlive_the_run(tmp_path: Path) -> None:
    ready = tmp_path / "pid"
    with FakeRun() as run:
        started_s = time.monotonic()
        script = f"sleep 99 </dev/null >/dev/null 2>&1 & echo $! >{ready}"
        assert execute(run, script, kill_grace_s=30.0) == Succeeded()
        assert time.monotonic() - started_s < 20
        assert run.log_text == "killed what the command had left running (1): sleep"
    assert not is_alive(_pid(ready))


@pytest.mark.parametrize("ends", ["by itself", "cancelled"])
def test_grandchild_in_a_new_session(tmp_path: Path, ends: str) -> None:
    """Twice forked, in a session of its own, with no file of ours, its parent gone: a proper daemon."""
    ready = tmp_path / "pid"
    daemon = f"setsid sh -c 'setsid sh -c \"echo \\$\\$ >{ready}; exec sleep 99\" &' </dev/null >/dev/null 2>&1"
    with FakeRun() as run:
        if ends == "cancelled":
            _cancelled(run, f"{daemon}; trap '' TERM; sleep 99", ready, kill_grace_s=0.1)
        else:
            script = f"{daemon}; until test -s {ready}; do sleep 0.01; done"
            assert execute(run, script) == Succeeded()
            assert run.log_text.startswith("killed what the command had left running (1): s")
    assert not is_alive(_pid(ready))


def test_tree_that_keeps_forking_is_ended(tmp_path: Path) -> None:
    ready = tmp_path / "pid"
    script = f"""
        hop() {{ trap '' TERM; sleep 0.02; hop & }}
        hop & hop & hop & hop &
        echo $$ >{ready}; sleep 99"""
    with FakeRun() as run:
        _cancelled(run, script, ready, kill_grace_s=0.1)
    marker = f"{tmp_path}/".encode()
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if marker in _read(path)]
    assert not left


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_zombie_flood() -> None:
    """Orphans that end by themselves come to the agent, and are reaped with their run."""
    before = _zombies()
    with FakeRun() as run:
        assert execute(run, "for i in $(seq 200); do (sh -c 'exit 0' &) ; done; sleep 0.2") == Succeeded()
    assert _zombies() <= before


def _zombies() -> set[str]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {pid for pid in children if b"Z (zombie)" in _read(Path(f"/proc/{pid}/status"))}


def test_children_of_others_are_not_touched() -> None:
    """A child that a Python action started is neither killed nor reaped behind its back."""
    ours = [subprocess.Popen(["/bin/sh", "-c", "exit 7"], start_new_session=new) for new in (False, True)]
    stays = subprocess.Popen(["/bin/sleep", "99"], start_new_session=True)
    try:
        with FakeRun() as run:
            assert execute(run, "(sleep 99 &); exit 0", kill_grace_s=0.0) == Succeeded()
        assert [process.wait() for process in ours] == [7, 7]
        assert stays.poll() is None
    finally:
        stays.kill()
        stays.wait()


def test_command_that_outlives_sigkill_holds_up_no_other_and_is_reaped_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that waits for a dead disk. Here the signals do not reach it."""
    ready = tmp_path / "pid"
    kill, killpg = os.kill, os.killpg
    monkeypatch.setattr(os, "kill", lambda pid, number: None if pid == pid_in(ready) else kill(pid, number))
    monkeypatch.setattr(
        os, "killpg", lambda group, number: None if group == pid_in(ready) else killpg(group, number)
    )
    monkeypatch.setattr("agent.executors.child._KILL_PATIENCE_S", 0.2)

    async def scene() -> str:
        factory = ProcessFactory(fake_services(ExecutorSettings(kill_grace_s=0.1)))

        def executor(script: str) -> ProcessExecutor:
            return factory.prepare({"command": ["sh", "-c", script]}, "routes[0].process", FakeTemplates())

        with FakeRun() as run:
            hanging = asyncio.create_task(executor(f"echo $$ >{ready}; exec sleep 99").execute(run))
            await until(lambda: pid_in(ready) is not None, "the command")
            hanging.cancel()
            await asyncio.wait([hanging])
        with FakeRun() as run:
            assert await executor("exit 0").execute(run) == Succeeded()
            assert is_alive(_pid(ready))
            log = run.log_text
        kill(_pid(ready), signal.SIGKILL)
        await until(lambda: not is_alive(_pid(ready)), "it to end and be reaped")
        assert not factory._family._leaders
        return log

    assert not asyncio.run(scene())


def test_orphan_that_outlives_sigkill_is_left_behind_by_its_own_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "pid"
    kill = os.kill
    monkeypatch.setattr(os, "kill", lambda pid, number: None if pid == pid_in(ready) else kill(pid, number))
    monkeypatch.setattr("agent.executors.child._KILL_PATIENCE_S", 0.2)

    async def scene() -> list[str]:
        factory = ProcessFactory(fake_services(ExecutorSettings(kill_grace_s=0.1)))
        leaves_it = f"""
            setsid sh -c 'echo $$ >{ready}.new; mv {ready}.new {ready}; exec sleep 99' &
            until [ -e {ready} ]; do sleep 0.01; done"""
        logs = []
        for script in (leaves_it, "exit 0"):
            executor = factory.prepare({"command": ["sh", "-c", script]}, "routes[0].process", FakeTemplates())
            with FakeRun() as run:
                assert await executor.execute(run) == Succeeded()
                logs.append(run.log_text)
        kill(_pid(ready), signal.SIGKILL)
        with FakeRun() as run:
            await until(lambda: has_ended(_pid(ready)), "its end")
            assert await executor.execute(run) == Succeeded()
        assert not is_alive(_pid(ready))
        return logs

    of_its_own, of_another = asyncio.run(scene())
    assert "had left running (1): sleep" in of_its_own
    assert not of_another


def test_disk_that_fails_a_run_which_is_stopped_meanwhile_is_no_stray_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, release, stray = threading.Event(), threading.Event(), []

    def fails_late(*_arguments: object) -> None:
        begun.set()
        release.wait(20)
        raise OSError(errno.ENOSPC, "No space left on device")

    async def scene(task: asyncio.Task[Outcome]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: stray.append(context))
        await until(begun.is_set, "the disk to be used")
        task.cancel()
        await asyncio.sleep(0)
        release.set()
        await asyncio.wait([task])
        gc.collect()

    monkeypatch.setattr("agent.executors.process._make_places", fails_late)
    with FakeRun() as run, pytest.raises(asyncio.CancelledError):
        supervise(run, "exit 0", scene)
    assert not stray


def test_two_runs_at_once_kill_only_their_own(tmp_path: Path) -> None:
    ready = tmp_path / "pid"

    async def scene(task: asyncio.Task[Outcome]) -> None:
        await until(lambda: pid_in(ready) is not None, "the first run")
        with FakeRun() as second:
            loop = asyncio.get_running_loop()
            outcome = await loop.run_in_executor(
                None, lambda: execute(second, "sleep 99 & exit 0", kill_grace_s=0.0)
            )
        assert outcome == Succeeded()
        assert is_alive(_pid(ready))
        task.cancel()

    with FakeRun() as run, pytest.raises(asyncio.CancelledError):
        supervise(run, f"(setsid sh -c 'echo $$ >{ready}; exec sleep 99' &); sleep 99", scene)
    assert not is_alive(_pid(ready))


def test_child_that_writes_without_end_is_stopped() -> None:
    with FakeRun(log_max_bytes=10_000) as run:
        with pytest.raises(asyncio.CancelledError):
            supervise(run, "exec yes", _cancel_once(lambda: run.dropped_bytes > 50_000_000))
        assert sum(len(line.text) for line in run.lines) <= 10_000


def test_child_that_writes_no_newline() -> None:
    with FakeRun() as run:
        outcome = execute(run, "printf 'no end'; printf 'of line' >&2; exit 1")
        assert isinstance(outcome, Failed)
        assert set(outcome.reason.splitlines()) == {"exit code 1", "no end", "of line"}
        assert sorted(line.text for line in run.lines) == ["no end", "of line"]


@pytest.mark.parametrize(
    ("printed", "shown", "reason"),
    [
        (r"caf\351 \303\251", "caf\ufffd é", "caf\ufffd é"),
        (r"\033[1;31mred\033[0m \033]8;;http://x\007link", None, "red link"),
        (r"a\000b", "a\0b", "ab"),
        (r"10%%\r20%%\rdone\r", None, "done"),
    ],
    ids=["invalid UTF-8", "ANSI", "NUL", "CR and CRLF"],
)
def test_child_that_writes_what_is_no_plain_text(printed: str, shown: str | None, reason: str) -> None:
    with FakeRun() as run:
        outcome = execute(run, f"printf '{printed}\\n'; exit 1")
        assert outcome == Failed(f"exit code 1\n{reason}", FailureKind.EXIT_CODE)
        assert shown is None or run.log_text == shown


def test_child_that_writes_a_line_of_1_mib() -> None:
    """The line is in the log, as far as its cap goes; it is no reason that anybody could read."""
    with FakeRun(log_max_bytes=2 * 1024 * 1024) as run:
        script = "head -c 1048576 /dev/zero | tr '\\0' x; echo; echo after; exit 1"
        assert execute(run, script) == Failed("exit code 1\nafter", FailureKind.EXIT_CODE)
        assert run.log_text.count("x") == 1024 * 1024


def test_secret_never_shows_in_the_reason_by_halves() -> None:
    """Whichever bytes fall out of the tail, only whole lines are kept, and those can be masked."""
    secret = "s3cr3t" + "y" * 5000
    with FakeRun() as run:
        run.mask(secret)
        outcome = execute(run, f"echo {secret}; echo token s3cr3t-2; exit 1")
        assert outcome == Failed("exit code 1\ntoken s3cr3t-2", FailureKind.EXIT_CODE)


def test_many_commands_at_once_all_end() -> None:
    async def scene(task: asyncio.Task[Outcome]) -> None:
        del task

    with FakeRun() as run:
        script = "for i in 1 2 3 4 5 6 7 8; do sh -c 'echo $0; exit 0' $i & done; wait"
        assert supervise(run, script, scene) == Succeeded()
        assert sorted(run.log_text.split()) == list("12345678")


def test_agent_as_a_containers_first_process_reaps_and_kills() -> None:
    """In a process of its own, so that nothing else of these tests is among its children."""
    program = """
import os
from pathlib import Path
from agent.testing import FakeRun
from tests.executors.process_helpers import execute
with FakeRun() as run:
    script = "for i in 1 2 3; do (setsid sleep 99 &); (sh -c 'exit' &); done; sleep 0.1"
    print(execute(run, script, kill_grace_s=0.0))
print("left:", Path(f"/proc/self/task/{os.getpid()}/children").read_text())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "Succeeded(summary=None)\nleft: \n", done.stderr


def test_stolen_exit_status_is_no_success(tmp_path: Path) -> None:
    """A Python action that waits for any child may take ours too; that must not look like exit code 0."""
    ready, go = tmp_path / "pid", tmp_path / "go"

    async def scene(task: asyncio.Task[Outcome]) -> None:
        await until(lambda: pid_in(ready) is not None, "the command to start")
        thief = threading.Thread(target=os.waitpid, args=(_pid(ready), 0))
        thief.start()
        go.touch()
        thief.join()  # the loop stands still meanwhile: the thief is first
        await asyncio.wait([task])

    with FakeRun() as run:
        outcome = supervise(run, f"echo $$ >{ready}; until test -e {go}; do sleep 0.01; done", scene)
    assert outcome == Failed("how the command ended is not known: its exit status was lost", FailureKind.EXIT_CODE)


def test_command_that_is_stopped_by_a_signal_still_ends(tmp_path: Path) -> None:
    ready = tmp_path / "pid"
    with FakeRun() as run:
        _cancelled(run, f"echo $$ >{ready}; kill -STOP $$", ready, kill_grace_s=0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(_pid(ready), signal.SIG_DFL)


def test_nothing_that_can_fail_is_asked_of_the_run_once_the_child_lives(tmp_path: Path) -> None:
    class Over(FakeRun):
        """Its workspace is asked for once, and gone by the next time."""

        @property
        def workspace(self) -> Path:
            if (given := getattr(self, "given", None)) is not None:
                raise OSError("the run is over")
            self.given = given = super().workspace
            return given

    done = tmp_path / "done"
    with Over() as run:
        assert execute(run, f"echo link=https://x/1 >>$AGENT_OUTPUT; touch {done}") == Succeeded()
    assert done.exists()
    assert run.links == ["https://x/1"]
