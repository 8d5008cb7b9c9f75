"""A process that a test starts, with its output in a file."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class Child:
    """One process at a time, which may be started again; its output is appended to ``log_file``.

    The environment is exactly ``env``. `end` must be called at the end, whatever happened in between.
    """

    def __init__(self, argv: Sequence[str], log_file: Path, env: Mapping[str, str]) -> None:
        self.log_file = log_file
        self.env = dict(env)
        self._argv = list(argv)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it. Raises ``AssertionError`` if it runs already."""
        assert not self.running, f"{self._argv} runs already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self.env
            )

    @property
    def pid(self) -> int:
        """Its process id, while it runs."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def stands_still(self) -> bool:
        """Whether it runs and was stopped as by SIGSTOP."""
        if self._process is None or not self.running:
            return False
        state = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    @property
    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal), ``None`` while it runs or before its start."""
        return None if self._process is None else self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to it, e.g. SIGSTOP and SIGCONT to freeze and thaw it."""
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    def has_ended_within(self, timeout_s: float) -> bool:
        """Whether it ends by itself in that time; waits for it."""
        assert self._process is not None, "not started"
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait(self, timeout_s: float) -> int:
        """Its exit code, once it has ended by itself; fails with its last output if it does not in time."""
        assert self._process is not None, "not started"
        assert self.has_ended_within(timeout_s), f"{self._argv} still runs after {timeout_s:g} s:\n{self.tail()}"
        return self._process.returncode

    def stop(self, timeout_s: float) -> int:
        """SIGTERM, then `wait`."""
        self.send(signal.SIGTERM)
        return self.wait(timeout_s)

    def end(self) -> None:
        """Kills it if it still runs. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def output(self) -> str:
        """Everything it has written so far, over all its starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def tail(self, lines: int = 40, without: str | None = None) -> str:
        """The last lines of its output, leaving out those that have ``without`` in them."""
        chosen = [line for line in self.output().splitlines() if without is None or without not in line]
        return "\n".join(chosen[-lines:])
