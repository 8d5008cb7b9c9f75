"""One process beside the agent in which jq may take too long: it is killed at the limit, and replaced.

The limit is one of wall time, for the agent waits meanwhile. So a machine that stands still, or somebody who stops
or kills the process, may be the cause as well as an expression. The processor time that the process took tells
these apart, and what is not the expression's doing is tried once more.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.domain.invocation import Effort
from agent.domain.json import Json
from agent.routing import jq_child

_START_LIMIT_S = 2.0
_FIRST_START_LIMIT_S = 20.0
"""While routes are compiled: refusing them because the machine is busy would be worse than waiting."""
_CHUNK_BYTES = 1 << 18
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
"""Signals that the process does not bring on itself, as it does those for its limits of memory and time."""
_LITTLE = 0.5
"""The part of its time below which an expression cannot be blamed for the rest."""
_MEMORY_BYTES = 512 * 1024 * 1024


class WorkerError(Exception):
    """There is no value for a reason of ours; the text is a predicate of the expression: "took longer than 1 s"."""


class StalledError(WorkerError):
    """As `WorkerError`, but not the expression's doing: it had little of the processor's time, or none."""


class JqFailure(Exception):  # noqa: N818 - what jq said, not an error of the worker
    """jq refused; the text is jq's own and may quote values."""


class Patience:
    """How long the expressions of one message may take in all, in this process and in the worker."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s

    @contextlib.contextmanager
    def counted_here(self, effort: Effort) -> Iterator[None]:
        """Adds the processor time that its block takes in this thread to ``effort``: it is not stopped for waiting.

        Raises `WorkerError` where nothing is left.
        """
        self.left_s(effort)
        begun_s = time.thread_time()
        try:
            yield
        finally:
            effort.spent_s += time.thread_time() - begun_s

    @contextlib.contextmanager
    def counted(self, effort: Effort) -> Iterator[float]:
        """Adds the time that its block takes to ``effort``; hands out the block's deadline (monotonic seconds).

        Raises `WorkerError` where nothing is left, and in place of a `TimeoutError` of the block.
        """
        left_s = self.left_s(effort)
        begun_s = time.monotonic()
        try:
            yield begun_s + left_s
        except TimeoutError:
            self.exhaust(effort)
            what = f"{self._limit_s:g} s"
            if left_s < 0.95 * self._limit_s:  # else only the message's text was made before
                what = f"the {left_s:.2g} s that were left of this message's {what}"
            raise WorkerError(f"took longer than {what}") from None
        finally:
            effort.spent_s += time.monotonic() - begun_s

    def left_s(self, effort: Effort) -> float:
        """The seconds that are left. Raises `WorkerError` if there are none."""
        if effort.spent_s >= self._limit_s:
            raise WorkerError(f"was not evaluated: this message's expressions took longer than {self._limit_s:g} s")
        return self._limit_s - effort.spent_s

    def exhaust(self, effort: Effort) -> None:
        """Leaves the message no more time."""
        effort.spent_s = max(effort.spent_s, self._limit_s)


class JqWorker:
    """Evaluates programs in a child process with an empty environment, its own session and little memory.

    The process starts at the first use, is kept, and replaced when it was killed or has died. Calls block the
    calling thread, up to the limit and for a start; threads take turns. `close` ends it for good. What was stopped
    through no fault of its own is evaluated again by a new process, with the whole limit anew; once per message.
    """

    def __init__(self, jq_directory: Path, limit_s: float, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._command = [sys.executable, "-I", "-S", jq_child.__file__, str(jq_directory), str(memory_bytes)]
        self.patience = Patience(limit_s)
        self._memory_bytes = memory_bytes
        self._turn = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        return self._child.pid if self._child is not None else None

    def compile(self, program: str, arguments: Mapping[str, Json]) -> None:
        """Checks ``program`` where that can do no harm: jq computes constants then. Raises as `evaluate`."""
        self._exchange(program, arguments, None, Effort())

    def evaluate(
        self, program: str, arguments: Mapping[str, Json], text: str, effort: Effort | None = None
    ) -> Json:
        """The first result of ``program`` on the JSON ``text``, ``None`` if there is none.

        ``effort`` is that of the message; without it the whole limit is left. Raises `JqFailure` for what jq says
        and `WorkerError` for everything else.
        """
        return self._exchange(program, arguments, text, Effort() if effort is None else effort)

    def close(self) -> None:
        """Ends the process and reaps it. Idempotent; later evaluations are refused."""
        with self._turn:
            self._closed = True
            self._end()

    def _exchange(self, program: str, arguments: Mapping[str, Json], text: str | None, effort: Effort) -> Json:
        with self._turn:
            if self._closed:
                raise WorkerError("was not begun, for the agent is stopping")
            request: dict[str, Json] = {"program": program, "arguments": json.dumps(arguments)}
            try:
                answer = self._answer(request, text, effort)
            except StalledError:
                if effort.is_renewed:
                    raise
                effort.renew()
                answer = self._answer(request, text, effort)
        if "error" in answer:
            raise JqFailure(answer["error"])
        if "unfit" in answer:
            raise WorkerError(answer["unfit"])
        value: Json = answer["value"]
        return value

    def _answer(self, request: dict[str, Json], text: str | None, effort: Effort) -> dict[str, Any]:
        """The worker's answer. Raises `WorkerError`; then there is no worker any more."""
        left_s = self.patience.left_s(effort)
        child = self._ready_child(_FIRST_START_LIMIT_S if text is None else _START_LIMIT_S, effort)
        before_s = child.cpu_s()
        try:
            with self.patience.counted(effort) as deadline_s:
                return child.ask({**request, "cpu_s": left_s}, text, deadline_s)
        except WorkerError as error:
            is_innocent = _is_little(before_s, child.cpu_s(), left_s)
            self._end()
            if is_innocent:
                raise StalledError(f"{error}, in which the processor hardly worked on it") from None
            raise
        except (EOFError, OSError) as error:
            is_innocent = _is_little(before_s, child.cpu_s(), left_s)
            code, death = self._death()
            kind = StalledError if is_innocent and -code in _FROM_OUTSIDE else WorkerError
            raise kind(death) from error
        except BaseException:
            self._end()  # half an answer may be left in the pipe
            raise

    def _ready_child(self, limit_s: float, effort: Effort) -> _Child:
        if self._child is not None and self._child.is_alive():
            return self._child
        self._end()
        try:
            self._child = _Child(self._command)
            self._child.answer(time.monotonic() + limit_s)
        except (OSError, EOFError) as error:
            self._end()
            self.patience.exhaust(effort)  # one message does not wait in vain again and again
            raise StalledError(f"could not be given to a worker process, for none started: {error}") from error
        except BaseException:
            self._end()  # else its greeting, still to come, would be taken for the next answer
            raise
        return self._child

    def _death(self) -> tuple[int, str]:
        """The exit code of the worker that died, and how to tell it."""
        assert self._child is not None  # noqa: S101 - it has just been asked
        code = self._child.end()
        self._child = None
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return code, f"ended its worker process ({how}), which may use {self._memory_bytes // 2**20} MiB of memory"

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """The process and its two pipes; all waiting has a deadline (monotonic seconds)."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        self._stdin, self._stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._stdin, False)
        os.set_blocking(self._stdout, False)
        self._text: str | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_s(self) -> float | None:
        """The processor time that it has taken, also if it has just died; ``None`` where the system is silent."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Json], text: str | None, deadline_s: float) -> dict[str, Any]:
        """Sends the request, with ``text`` unless it was the last one sent, and waits for the answer."""
        if text is not None:
            request = {**request, "text": None if text is self._text else text}
            self._text = text
        frame = json.dumps(request).encode()
        self._send(struct.pack(">I", len(frame)) + frame, deadline_s)
        return self.answer(deadline_s)

    def answer(self, deadline_s: float) -> dict[str, Any]:
        """Raises `TimeoutError` at the deadline and `EOFError` when the process is gone."""
        size = struct.unpack(">I", self._receive(4, deadline_s))[0]
        answer: dict[str, Any] = json.loads(self._receive(size, deadline_s))
        return answer

    def end(self) -> int:
        """Kills it if it still runs, closes the pipes, reaps it; returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return self._process.wait()

    def _send(self, frame: bytes, deadline_s: float) -> None:
        rest = memoryview(frame)
        while rest:
            _await(self._stdin, select.POLLOUT, deadline_s)
            rest = rest[os.write(self._stdin, rest[:_CHUNK_BYTES]) :]

    def _receive(self, size: int, deadline_s: float) -> bytes:
        received = bytearray()
        while len(received) < size:
            _await(self._stdout, select.POLLIN, deadline_s)
            chunk = os.read(self._stdout, min(size - len(received), _CHUNK_BYTES))
            if not chunk:
                raise EOFError("it ended")
            received += chunk
        return bytes(received)


def _is_little(before_s: float | None, after_s: float | None, limit_s: float) -> bool:
    """Whether an expression with ``limit_s`` left had little of the processor; ``False`` where nobody knows."""
    return before_s is not None and after_s is not None and after_s - before_s < _LITTLE * limit_s


def _await(descriptor: int, event: int, deadline_s: float) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    if not poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
        raise TimeoutError("no answer")
