"""The agent as a process of its own, started as users start it and ended as Kubernetes ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from agent.domain.errors import AgentError
from agent.observability.metric_table import KAFKA_LAG

_STOP_TIMEOUT_S = 20.0
_PROBE_EVERY_S = 0.1
_TAIL_LINES = 30
_CHUNK_BYTES = 64 * 1024
_MOST_LEFT_BYTES = 1024 * 1024


class SandboxError(AgentError):
    """Something that the sandbox needs did not work; the text says what."""


class AgentProcess:
    """``python -m agent run`` with a given environment. `stop` or `kill` must be called at the end.

    ``output``: a file for all that it says, or who is told each line of its standard output; standard error is
    then this process's own. Belongs to one event loop.
    """

    def __init__(self, environment: Mapping[str, str], cwd: Path, output: Path | Callable[[str], None]) -> None:
        self._environment = dict(environment)
        self._cwd = cwd
        self._output = output
        self._process: asyncio.subprocess.Process | None = None
        self._held = contextlib.ExitStack()
        self.url = ""

    async def start(self) -> None:
        """Starts the process, in a session of its own: a Ctrl-C in the terminal is not the agent's."""
        port = _hold_free_port(self._held)
        self.url = f"http://127.0.0.1:{port}"
        with contextlib.ExitStack() as files:
            stderr: int | None = None
            if isinstance(self._output, Path):
                stdout = stderr = files.enter_context(self._output.open("wb")).fileno()
            else:
                ear = _Ear(self._output)
                self._held.callback(ear.close)
                files.callback(os.close, ear.write_end)
                stdout = ear.write_end
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "agent", "run"),
                env=self._environment | {"AGENT_HTTP_HOST": "127.0.0.1", "AGENT_HTTP_PORT": str(port)},
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs; negative: the signal that killed it. Raises `SandboxError` before `start`."""
        return self._started().returncode

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the agent alone. Raises `SandboxError` before `start`."""
        self._started().send_signal(number)

    async def ready(self) -> None:
        """Returns as soon as the agent says that it is ready, and knows where its topics end.

        Port is asked about what came before that: a run of the sandbox shall cost what others do.
        """
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while not await self._is_ready(session):  # noqa: ASYNC110 - the condition is another process's
                await asyncio.sleep(_PROBE_EVERY_S)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/readyz") as ready, session.get(f"{self.url}/metrics") as metrics:
                return ready.status == 200 and f"{KAFKA_LAG.name}{{" in await metrics.text()
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def ended(self) -> int:
        """Waits for the end of the process; returns its exit code (negative: the signal that killed it)."""
        exit_code = await self._started().wait()
        self._held.close()
        return exit_code

    async def stop(self) -> int:
        """Asks the agent to end, as Kubernetes does, and returns its exit code.

        One that does not end in 20 s is killed, with what it has started.
        """
        if self.exit_code is None:
            self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                return await self.ended()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """Ends the agent's process group at once. Does nothing to an agent that has ended or never began."""
        if self._process is None:
            self._held.close()
            return 0
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        return await self.ended()

    def last_words(self) -> str:
        """The end of the agent's output, where it went to a file."""
        if not isinstance(self._output, Path) or not self._output.exists():
            return ""
        lines = self._output.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise SandboxError("the agent was not started")
        return self._process


class _Ear:
    """A pipe that tells ``hear`` each line written to its `write_end`, on the running event loop.

    It is not asyncio's own, whose processes may count as running for as long as anything that they started holds
    the pipe open.
    """

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear
        self._rest = b""
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_end, self._read)

    def close(self) -> None:
        """Tells what was written so far and listens no longer. Called once."""
        for _ in range(_MOST_LEFT_BYTES // _CHUNK_BYTES):
            if not self._read():
                break
        if self._rest:
            self._tell(self._rest)
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)

    def _read(self) -> bool:
        """Whether there was something to read."""
        try:
            chunk = os.read(self._read_end, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._loop.remove_reader(self._read_end)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._tell(line)
        return bool(chunk)

    def _tell(self, line: bytes) -> None:
        self._hear(line.decode("utf-8", "replace"))


def _hold_free_port(held: contextlib.ExitStack) -> int:
    """A free port, which nobody else gets until ``held`` is closed; known at once, whatever the agent logs.

    It is bound here and not listened to. Linux lets the agent listen on it all the same, because both sockets have
    SO_REUSEADDR; it gives the port to nobody who takes just any. Other systems would refuse the agent, too: there
    the port is let go, and whoever is quick may snatch it.
    """
    holder = held.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    port = int(holder.getsockname()[1])
    if sys.platform != "linux":
        holder.close()
    return port
