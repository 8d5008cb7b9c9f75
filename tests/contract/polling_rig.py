"""The polling source under contract: over real HTTP, against the stand-in of Port's API."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx

from agent.clock import SystemClock
from agent.composition.polling import PortClaims
from agent.domain.json import JsonObject
from agent.net.client import open_client
from agent.polling.claims_file import ClaimsFile
from agent.polling.pace import Pace
from agent.polling.source import PollingSettings, PollingSource
from agent.ports import Delivery, Source
from agent.runs_api.client import RunsClient
from agent.sandbox.port_api import PortApi
from tests.contract.source_rig import Stage
from tests.runs_api.rig import QUICK, Facts

VISIBILITY_S = 1.0
BRISK = Pace(interval_s=0.05, first_backoff_s=0.05, max_backoff_s=0.2, gap_s=0.01)


class PollingStage:
    """Every agent has a directory of its own, below one."""

    def __init__(self, api: PortApi, directory: Path) -> None:
        self.api = api
        self.facts = Facts()
        self._directory = directory

    async def put(self, *names: str) -> None:
        for name in names:
            method: JsonObject = {"type": "WEBHOOK", "url": "http://hook", "agent": True, "body": {"action": name}}
            self.api.ledger.create_run(name, run_id=f"r_{name}", pending=method)

    @asynccontextmanager
    async def life(self, agent: str = "first") -> AsyncIterator[Source]:
        async with self.client() as client:
            settings = PollingSettings(BRISK, visibility_s=VISIBILITY_S, agent_name=agent)
            open_file = partial(ClaimsFile.open_first_free, self._directory / agent, 1 << 24)
            source = PollingSource(settings, PortClaims(client), open_file, self.facts, SystemClock())
            await source.start()
            try:
                yield source
            finally:
                await source.close(10)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RunsClient]:
        http = open_client(
            tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            max_connections=100,
            timeout=httpx.Timeout(5.0),
            user_agent="test",
        )
        client = RunsClient(
            http,
            base_url=self.api.url,
            client_id=lambda: self.api.client_id,
            client_secret=lambda: self.api.client_secret,
            observer=self.facts,
            clock=SystemClock(),
            limits=QUICK,
        )
        try:
            yield client
        finally:
            await client.close()

    def name_of(self, delivery: Delivery) -> str:
        return str(json.loads(delivery.body)["action"])

    def settled(self) -> Sequence[str]:
        """Those that Port gives to nobody any more, and that no agent keeps."""
        kept: set[str] = set()
        for path in self._directory.iterdir():
            file = ClaimsFile.open_first_free(path, 1 << 24)
            kept.update(one.run_id for one in file.read())
            file.close()
        pending = self.api.ledger.pending.runs.values()
        return [run.run_id.removeprefix("r_") for run in pending if run.is_acknowledged and run.run_id not in kept]


class PollingRig:
    """See `agent.polling`."""

    name = "polling"

    @asynccontextmanager
    async def stage(self, tmp_path: Path) -> AsyncIterator[Stage]:
        async with PortApi.serve() as api:
            yield PollingStage(api, tmp_path / "claims")
