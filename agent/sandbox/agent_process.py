"""The agent as a process of its own, started as users start it and ended as Kubernetes ends it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from agent.domain.errors import AgentError

_STOP_TIMEOUT_S = 20.0
_PROBE_EVERY_S = 0.1
_TAIL_LINES = 30


class SandboxError(AgentError):
    """Something that the sandbox needs did not work; the text says what."""


class AgentProcess:
    """``python -m agent run`` with a given environment. `stop` or `kill` must be called at the end.

    Its output goes to ``log_file``, or to this process's own where that is ``None``. Belongs to one event loop.
    """

    def __init__(self, environment: Mapping[str, str], cwd: Path, log_file: Path | None) -> None:
        self._environment = dict(environment)
        self._cwd = cwd
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None
        self._held = contextlib.ExitStack()
        self.url = ""

    async def start(self) -> None:
        """Starts the process, in a session of its own: a Ctrl-C in the terminal is not the agent's."""
        port = _hold_free_port(self._held)
        self.url = f"http://127.0.0.1:{port}"
        with contextlib.ExitStack() as files:
            output = None if self._log_file is None else files.enter_context(self._log_file.open("wb"))
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "agent", "run"),
                env=self._environment | {"AGENT_HTTP_HOST": "127.0.0.1", "AGENT_HTTP_PORT": str(port)},
                cwd=self._cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
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
        """Returns as soon as the agent says that it is ready."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while not await self._is_ready(session):  # noqa: ASYNC110 - the condition is another process's
                await asyncio.sleep(_PROBE_EVERY_S)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/readyz") as response:
                return response.status == 200
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
        if self._log_file is None or not self._log_file.exists():
            return ""
        lines = self._log_file.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise SandboxError("the agent was not started")
        return self._process


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
