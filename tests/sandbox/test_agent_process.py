"""The agent's port is the agent's alone from the moment that it is named."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from agent.sandbox.agent_process import AgentProcess


def test_nobody_takes_the_port_between_its_choice_and_the_agents_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        agent = AgentProcess({}, tmp_path, tmp_path / "agent.log")
        try:
            await agent.start()
            host, port = agent.url.removeprefix("http://").split(":")
            with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
                stranger.bind((host, int(port)))
        finally:
            await agent.kill()
        with socket.socket() as stranger:
            stranger.bind((host, int(port)))

    asyncio.run(scenario())


def test_an_agent_that_never_began_holds_no_port(tmp_path: Path) -> None:
    async def scenario() -> None:
        agent = AgentProcess({}, tmp_path / "no such directory", list[str]().append)
        with pytest.raises(FileNotFoundError):
            await agent.start()
        assert await agent.kill() == 0
        with socket.socket() as stranger:
            stranger.bind(("127.0.0.1", int(agent.url.rpartition(":")[2])))

    asyncio.run(scenario())
