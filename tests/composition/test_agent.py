from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.composition import Agent
from agent.dispatch.lifecycle import Stop
from agent.domain.json import JsonObject
from agent.domain.redaction import Redactor
from agent.sandbox.port_api import PortApi
from agent.settings import Settings


class Learning(Redactor):
    """Says when it is told a secret."""

    def __init__(self) -> None:
        super().__init__()
        self.learned = asyncio.Event()

    def add(self, secret: str) -> bool:
        self.learned.set()
        return super().add(secret)


def settings_for(port: PortApi, home: Path) -> Settings:
    return Settings.model_validate(
        {
            "PORT_ORG_ID": "org_1",
            "PORT_CLIENT_ID": port.client_id,
            "PORT_CLIENT_SECRET": port.client_secret,
            "PORT_API_BASE_URL": port.url,
            "AGENT_STATE_DIR": home,
            "AGENT_HTTP_HOST": "127.0.0.1",
            "AGENT_HTTP_PORT": 0,
        }
    )


def test_the_brokers_password_is_masked_in_the_agents_log_as_soon_as_port_gives_it(tmp_path: Path) -> None:
    given: JsonObject = {"brokers": ["127.0.0.1:9"], "username": "org_1", "password": "a-password-of-port"}

    async def go() -> str:
        redactor = Learning()
        async with PortApi.serve(org_id="org_1", kafka=given) as port:
            settings = settings_for(port, tmp_path)
            stop = Stop()
            agent = asyncio.create_task(Agent(settings, {}, redactor).run(stop))
            try:
                await asyncio.wait_for(redactor.learned.wait(), 30)
            finally:
                stop.ask()
                assert await agent == 0
        return redactor.mask_text("SASL failed for a-password-of-port")

    assert "a-password-of-port" not in asyncio.run(go())


def test_what_fails_at_the_end_keeps_nothing_else_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def failing(name: str, end: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        async def end_and_fail() -> None:
            await end()
            ended.append(name)
            raise ValueError(name)

        return end_and_fail

    async def go() -> None:
        async with PortApi.serve(org_id="org_1") as port:
            agent, stop = Agent(settings_for(port, tmp_path), {}, Redactor()), Stop()
            agent._workspaces.mkdir(parents=True)
            for name in ("_server", "_reporter"):
                part = getattr(agent, name)
                method = "stop" if name == "_server" else "close"
                monkeypatch.setattr(part, method, failing(name, getattr(part, method)))
            monkeypatch.setattr(agent._rules.registry, "close", failing("registry", agent._rules.registry.close))
            close_reader = agent._rules.reader.close

            def close() -> None:
                close_reader()
                ended.append("reader")

            monkeypatch.setattr(agent._rules.reader, "close", close)
            stop.ask()
            with pytest.raises(ValueError, match="registry"):
                await agent.run(stop)
            assert not agent._workspaces.exists()

    asyncio.run(go())
    assert ended == ["_server", "_reporter", "registry", "reader"]
