"""The worker process: restarted when it dies, gone when it is closed, bounded in memory, alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jq  # type: ignore[import-not-found]  # ships no types
import pytest

from agent.domain.invocation import Effort
from agent.routing.jq_worker import JqFailure, JqWorker, StalledError, WorkerError, _is_little

JQ_DIRECTORY = Path(jq.__file__).parent


@pytest.fixture
def worker() -> Iterator[JqWorker]:
    worker = JqWorker(JQ_DIRECTORY, limit_s=20)
    yield worker
    worker.close()


def pid_of(worker: JqWorker) -> int:
    assert worker.pid is not None
    return worker.pid


def wait_until_gone(pid: int) -> None:
    deadline_s = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        assert time.monotonic() < deadline_s, f"process {pid} still runs"
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def test_it_evaluates_and_says_what_jq_says(worker: JqWorker) -> None:
    assert worker.evaluate(".a + $b", {"b": 1}, '{"a": 2}') == 3
    assert worker.evaluate("empty", {}, "1") is None
    with pytest.raises(JqFailure, match="Cannot index number"):
        worker.evaluate(".a", {}, "1")
    with pytest.raises(JqFailure, match="not defined"):
        worker.compile("foo", {})
    worker.compile(".", {})


def test_the_text_is_sent_once_and_never_mixed_up(worker: JqWorker) -> None:
    first, second = '{"a": "first ü\\u0000"}', '{"a": "second"}'
    assert [worker.evaluate(".a", {}, t) for t in (first, first, second, first)] == [
        "first ü\0",
        "first ü\0",
        "second",
        "first ü\0",
    ]


def test_large_messages_pass(worker: JqWorker) -> None:
    text = '"' + "x" * 5_000_000 + '"'
    assert worker.evaluate("length", {}, text) == 5_000_000
    assert worker.evaluate(".", {}, text) == "x" * 5_000_000


def test_answers_are_bounded(worker: JqWorker) -> None:
    with pytest.raises(WorkerError, match="gave more than 16 MiB"):
        worker.evaluate('"x" * . | [., .]', {}, "10000000")
    assert worker.evaluate(".", {}, "1") == 1


def test_one_that_died_is_replaced(worker: JqWorker) -> None:
    assert worker.evaluate(".", {}, "1") == 1
    first = pid_of(worker)
    os.kill(first, signal.SIGKILL)
    wait_until_gone(first)
    assert worker.evaluate(".", {}, "1") == 1
    assert pid_of(worker) != first


def test_one_that_needs_too_much_memory_dies_alone() -> None:
    worker = JqWorker(JQ_DIRECTORY, limit_s=20, memory_bytes=200 * 2**20)
    try:
        with pytest.raises(WorkerError, match=r"ended its worker process \(SIG\w+\), which may use 200 MiB"):
            worker.evaluate('. as $n | "x" * $n | length', {}, "500000000")
        assert worker.pid is None
        assert worker.evaluate(".", {}, "1") == 1
    finally:
        worker.close()


def test_the_limit_kills_and_reaps() -> None:
    worker = JqWorker(JQ_DIRECTORY, limit_s=0.3)
    try:
        with pytest.raises(WorkerError, match=r"took longer than 0\.3 s"):
            worker.evaluate("[repeat(1)] | length", {}, "1")
        assert worker.pid is None
    finally:
        worker.close()


def test_closing_reaps_and_is_final(worker: JqWorker) -> None:
    worker.evaluate(".", {}, "1")
    pid = pid_of(worker)
    worker.close()
    worker.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    with pytest.raises(WorkerError, match="was not begun, for the agent is stopping"):
        worker.evaluate(".", {}, "1")


def test_it_sees_nothing_of_the_agent(worker: JqWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT_CLIENT_SECRET", "s3cret")
    variables = worker.evaluate("env | keys", {}, "1")
    assert variables in ([], ["LC_CTYPE"])  # which Python sets itself where no locale is given
    pid = pid_of(worker)
    assert b"s3cret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert os.getsid(pid) == pid
    assert len(list(Path(f"/proc/{pid}/fd").iterdir())) == 3


class Interrupted(Exception):  # noqa: N818 - stands for KeyboardInterrupt
    pass


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """SIGUSR1 raises `Interrupted` in the main thread."""

    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_interruptible")
def test_a_signal_in_between_leaves_no_half_answer(worker: JqWorker) -> None:
    assert worker.evaluate(".", {}, "1") == 1  # so that the signal finds it at work, not starting
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))

    def evaluate_while_it_comes() -> None:
        timer.start()
        worker.evaluate("last(range(1e12))", {}, "1")

    with pytest.raises(Interrupted):
        evaluate_while_it_comes()
    timer.join()
    assert worker.evaluate(".", {}, "1") == 1


JQ_THAT_SIGNALS_ONCE = """
import os, signal
from pathlib import Path
try:
    Path(__file__).with_name("signalled").touch(exist_ok=False)
except FileExistsError:
    pass
else:
    os.kill(os.getppid(), signal.SIGUSR1)

class compile:
    def __init__(self, program, args):
        pass

    def input_text(self, text):
        return [text]
"""


@pytest.mark.usefixtures("_interruptible")
def test_a_signal_while_it_starts_leaves_no_greeting_for_the_next_answer(tmp_path: Path) -> None:
    (tmp_path / "jq.py").write_text(JQ_THAT_SIGNALS_ONCE)
    worker = JqWorker(tmp_path, limit_s=20)
    try:
        with pytest.raises(Interrupted):
            worker.compile(".", {})
        assert worker.pid is None
        assert worker.evaluate(".", {}, "1") == "1"
    finally:
        worker.close()


def test_one_that_cannot_start_is_told() -> None:
    worker = JqWorker(Path("/nowhere"), limit_s=20)
    with pytest.raises(WorkerError, match="could not be given to a worker process, for none started"):
        worker.evaluate(".", {}, "1")
    worker.close()


def test_one_that_starts_too_slowly_is_waited_for_but_twice(tmp_path: Path) -> None:
    (tmp_path / "jq.py").write_text("import time\ntime.sleep(600)\n")
    worker, effort = JqWorker(tmp_path, limit_s=20), Effort()
    begun_s = time.monotonic()
    with pytest.raises(WorkerError, match="none started: no answer"):
        worker.evaluate(".", {}, "1", effort)
    assert time.monotonic() - begun_s < 15  # twice 2 s: the first time may have been the machine's fault
    assert worker.pid is None
    with pytest.raises(WorkerError, match="this message's expressions took longer than 20 s"):
        worker.evaluate(".", {}, "1", effort)
    assert worker.pid is None
    worker.close()


def test_one_that_somebody_stopped_is_replaced_and_the_expression_evaluated_anew() -> None:
    worker, effort = JqWorker(JQ_DIRECTORY, limit_s=1), Effort()
    try:
        assert worker.evaluate(".", {}, "1") == 1
        stopped = pid_of(worker)
        os.kill(stopped, signal.SIGSTOP)
        effort.spent_s = 0.5
        assert worker.evaluate('test("a")', {}, '"abc"', effort) is True
        assert pid_of(worker) != stopped
        assert effort.is_renewed
        assert effort.spent_s < 1
    finally:
        worker.close()


def test_that_happens_once_per_message_and_then_the_text_says_whose_fault_it_is_not() -> None:
    worker, effort = JqWorker(JQ_DIRECTORY, limit_s=0.3), Effort()
    try:
        worker.evaluate(".", {}, "1", effort)
        effort.renew()
        os.kill(pid_of(worker), signal.SIGSTOP)
        with pytest.raises(
            StalledError, match=r"took longer than 0\.3 s, in which the processor hardly worked on it"
        ):
            worker.evaluate(".", {}, "1", effort)
        with pytest.raises(WorkerError, match="was not evaluated"):
            worker.evaluate(".", {}, "1", effort)
    finally:
        worker.close()


def test_one_that_somebody_killed_meanwhile_is_replaced(worker: JqWorker) -> None:
    worker.evaluate(".", {}, "1")
    killed = pid_of(worker)
    os.kill(killed, signal.SIGSTOP)  # so that it has not answered before it is killed
    timer = threading.Timer(0.2, os.kill, (killed, signal.SIGKILL))
    timer.start()
    effort = Effort()
    assert worker.evaluate("length", {}, '"abc"', effort) == 3
    timer.join()
    assert pid_of(worker) != killed
    assert effort.is_renewed


def test_an_expression_that_took_its_time_is_not_tried_again() -> None:
    assert _is_little(7.0, 7.4, limit_s=1)
    assert not _is_little(7.0, 7.6, limit_s=1)
    assert not _is_little(None, 7.6, limit_s=1)
    assert not _is_little(7.0, None, limit_s=1)


def test_an_expression_that_ended_its_worker_by_itself_is_not_tried_again() -> None:
    worker, effort = JqWorker(JQ_DIRECTORY, limit_s=20, memory_bytes=200 * 2**20), Effort()
    try:
        with pytest.raises(WorkerError, match="ended its worker process"):
            worker.evaluate('. as $n | "x" * $n | length', {}, "500000000", effort)
        assert not effort.is_renewed
    finally:
        worker.close()


ORPHAN = """
    import os, sys, time
    from pathlib import Path
    from agent.routing.jq_worker import JqWorker, _Child
    worker = JqWorker(Path(sys.argv[1]), limit_s=20)
    child = _Child(worker._command)
    child.answer(time.monotonic() + 20)
    request = {"program": sys.argv[2], "arguments": "{}", "cpu_s": 0.1}
    try:
        child.ask(request, "1", time.monotonic() + 0.3)
    except TimeoutError:
        pass
    print(child.pid, flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("program", [".", "last(range(1e12))"])
def test_it_does_not_outlive_an_agent_that_was_killed(program: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(ORPHAN), str(JQ_DIRECTORY), program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    wait_until_gone(int(ended.stdout))
