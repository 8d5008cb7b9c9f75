from __future__ import annotations

import asyncio
from pathlib import Path

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


def test_the_brokers_password_is_masked_in_the_agents_log_as_soon_as_port_gives_it(tmp_path: Path) -> None:
    given: JsonObject = {"brokers": ["127.0.0.1:9"], "username": "org_1", "password": "a-password-of-port"}

    async def go() -> str:
        redactor = Learning()
        async with PortApi.serve(org_id="org_1", kafka=given) as port:
            settings = Settings.model_validate(
                {
                    "PORT_ORG_ID": "org_1",
                    "PORT_CLIENT_ID": port.client_id,
                    "PORT_CLIENT_SECRET": port.client_secret,
                    "PORT_API_BASE_URL": port.url,
                    "AGENT_STATE_DIR": tmp_path,
                    "AGENT_HTTP_HOST": "127.0.0.1",
                    "AGENT_HTTP_PORT": 0,
                }
            )
            stop = Stop()
            agent = asyncio.create_task(Agent(settings, {}, redactor).run(stop))
            try:
                await asyncio.wait_for(redactor.learned.wait(), 30)
            finally:
                stop.ask()
                assert await agent == 0
        return redactor.mask_text("SASL failed for a-password-of-port")

    assert "a-password-of-port" not in asyncio.run(go())
