"""A browser's side of the page, without a browser: requests and the stream of events."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from agent.sandbox.actions import ACTIONS, Invoker
from agent.sandbox.agent_log import AgentLog
from agent.sandbox.broker import EmbeddedBroker
from agent.sandbox.ledger import Ledger
from agent.sandbox.page import Page
from agent.sandbox.routes_file import RoutesFile

TOPIC = "org_sandbox.runs"
SECRET = "a client secret of more than thirty-two characters"
ROUTES_PATH = Path('/tmp/<b>"routes".yaml')


@dataclass
class Visit:
    """A page that is served, what stands behind it, and a session of the visitor's."""

    page: Page
    ledger: Ledger
    broker: EmbeddedBroker
    session: aiohttp.ClientSession
    log: AgentLog

    def hear(self, event: str, **about: Any) -> None:
        """The agent logs this."""
        self.log.take(json.dumps({"timestamp": "now", "level": "debug", "event": event, **about}))

    async def events(self, run_id: str = "") -> AsyncIterator[tuple[str, Any]]:
        """The events of one stream, by name and content."""
        async with self.session.get(f"{self.page.url}/events?run={run_id}") as response:
            name = ""
            while line := (await response.content.readline()).decode():
                key, _, value = line.rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)


def with_page(scenario: Callable[[Visit], Awaitable[None]], own_routes: Path | None = None) -> None:
    """Runs the scenario against a page, with the examples unless it is one for routes of the visitor's own."""

    async def run() -> None:
        with EmbeddedBroker() as broker:
            ledger = Ledger()
            page = Page(ledger, () if own_routes else ACTIONS)
            routes = RoutesFile(own_routes or ROUTES_PATH, is_copy=own_routes is None)
            log = AgentLog(io.StringIO(), routes, ledger.touch)
            async with page.listening(), aiohttp.ClientSession() as session:
                invoker = Invoker(ledger, broker, topic=TOPIC, client_secret=SECRET, target_url=page.url)
                page.open(invoker, agent_url="http://127.0.0.1:9", routes=routes, log=log)
                await scenario(Visit(page, ledger, broker, session, log))

    asyncio.run(run())
