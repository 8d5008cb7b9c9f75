"""A plain client of the stand-in, as strict or as sloppy as a test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from agent.sandbox.port_api import Credentials, Ledger, PortApi


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class PortClient:
    api: PortApi
    session: aiohttp.ClientSession
    token: str = ""
    timeout_s: float = 10.0
    extra_headers: dict[str, str] = field(default_factory=dict)

    async def login(self) -> Answer:
        body = {"clientId": self.api.client_id, "clientSecret": self.api.client_secret}
        answer = await self("POST", "/v1/auth/access_token", body)
        self.token = answer.body.get("accessToken", "")
        return answer

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"} | self.extra_headers
        timeout = aiohttp.ClientTimeout(total=self.timeout_s)
        if body is not None:
            options["json"] = body
        request = self.session.request(method, self.api.url + path, headers=headers, timeout=timeout, **options)
        async with request as response:
            lower = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, lower, await response.json())


def with_api(
    scenario: Callable[[PortApi, PortClient], Awaitable[None]],
    *,
    ledger: Callable[[], Ledger] = Ledger,
    credentials: Credentials | None = None,
) -> None:
    """Runs the scenario against a fresh stand-in, with a client that is logged in."""

    async def run() -> None:
        async with (
            PortApi.serve(ledger=ledger(), credentials=credentials) as api,
            aiohttp.ClientSession() as session,
        ):
            client = PortClient(api, session)
            await client.login()
            await scenario(api, client)

    asyncio.run(run())
