"""One agent under test, as the image runs it: reachable over loopback, and nothing of this machine in it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from agent.sandbox.agent_process import AgentProcess, _hold_free_port
from tests.image.container import PODMAN, STRICT, image, podman
from tests.whole.one_agent import OneAgent
from tests.whole.world import World

_OF_THIS_MACHINE = frozenset({"PATH", "LC_ALL", "AGENT_PYTHONPATH", "AGENT_STATE_DIR", "HOME_OF_TESTS"})


class ContainedProcess(AgentProcess):
    """A container whose process 1 is the agent. What `AgentProcess` watches is podman, which ends as that does."""

    def __init__(self, name: str, options: tuple[str, ...], output: Path) -> None:
        super().__init__({}, output.parent, output)
        self._name = name
        self._options = options
        self._log = output

    async def start(self) -> None:
        """Starts the container, on this machine's own network."""
        port = _hold_free_port(self._held)
        self.url = f"http://127.0.0.1:{port}"
        address = _variables({"AGENT_HTTP_HOST": "127.0.0.1", "AGENT_HTTP_PORT": str(port)})
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(PODMAN, "run", "--rm", f"--name={self._name}", *STRICT, *self._options, *address, image()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def kill(self) -> int:
        """Ends the container, if it still runs."""
        if self.exit_code is None:
            await asyncio.to_thread(podman, "rm", "--force", "--time=0", "--volumes", self._name, check=False)
        return await self.ended()


class ContainedAgent(OneAgent):
    """`OneAgent` in a container, with its routes mounted where the image looks for them."""

    def __init__(self, world: World, name: str, routes: str, options: tuple[str, ...] = ()) -> None:
        super().__init__(world, name, {"AGENT_DRAIN_TIMEOUT_S": "30", "LOG_LEVEL": "DEBUG"}, routes)
        settings = {key: value for key, value in self.settings.items() if key not in _OF_THIS_MACHINE}
        self.container = f"action-agent-test-{name}-{os.getpid()}"
        self.options = (
            "--network=host",
            f"--volume={self.routes_file}:/etc/action-agent/routes.yaml:ro",
            *_variables(settings | {"AGENT_ROUTES_PATH": "routes.yaml"}),
            *options,
        )
        self.process = ContainedProcess(self.container, self.options, self.home / "agent.log")

    def stop(self) -> subprocess.Popen[bytes]:
        """Has it stopped as a cluster does: SIGTERM to process 1, and SIGKILL should it still be there in 60 s."""
        return subprocess.Popen([PODMAN, "stop", "--time=60", self.container], stdout=subprocess.DEVNULL)


def _variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"--env={name}={value}" for name, value in environment.items())
