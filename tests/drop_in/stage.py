"""The agent in the official agent's place: its settings alone, a broker, Port, and all the hosts of the world."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from agent.domain.json import Json
from agent.sandbox.agent_process import AgentProcess
from agent.sandbox.ledger import Ledger
from agent.sandbox.port_api import Credentials, PortApi
from agent.sandbox.records import RequestRecord
from tests.broker.waiting import wait_until
from tests.drop_in.internet import Internet
from tests.whole.world import CLIENT_SECRET, PATIENCE_S, World


@dataclass
class Standing:
    """One agent with an organisation of its own, and what it did. The mapping is written to a file for it."""

    world: World
    port: PortApi
    internet: Internet
    settings: Mapping[str, str]
    process: AgentProcess
    topics: Mapping[str, str]
    log_file: Path

    def deliver(self, message: str | bytes, topic: str = "runs") -> None:
        """Puts a record on ``runs`` or ``change_log``, byte for byte."""
        self.world.broker.produce(self.topics[topic], message)

    def finish(self) -> None:
        """Returns once all that was delivered is done and committed and the agent has ended as it was asked to."""
        wait_until(self._is_committed, timeout_s=PATIENCE_S, what=self._state, pause_s=0.1)
        self.world.loop.call(lambda: self.process.send(signal.SIGTERM))
        exit_code = self.world.loop.run(self.process.ended())
        assert exit_code == 0, self._state()

    def _is_committed(self) -> bool:
        assert self.process.exit_code is None, self._state()
        broker, group = self.world.broker, self.settings["KAFKA_CONSUMER_GROUP_ID"]
        ends = {topic: sum(broker.end_offsets(topic).values()) for topic in self.topics.values()}
        return all(
            sum(offset for offset, _ in broker.committed(group, topic).values()) == end
            for topic, end in ends.items()
        )

    def _state(self) -> str:
        return f"all to be done; exit code {self.process.exit_code}, last words:\n{self.process.last_words()}"

    # ── what came of it ──────────────────────────────────────────────────────────────────────────────

    def told(self, run_id: str, end: str = "") -> list[RequestRecord]:
        """The changes that Port was asked to make to the run."""
        places = (f"/v1/actions/runs/{run_id}{end}", f"/v1/workflows/nodes/runs/{run_id}{end}")
        return [r for r in self.port.ledger.requests if r.method == "PATCH" and r.path in places]

    def report(self, run_id: str) -> dict[str, Any]:
        """All that Port was told about the run, in one."""
        told: dict[str, Any] = {}
        for request in self.told(run_id):
            assert isinstance(request.body, dict)
            assert request.status == 200, request
            told |= request.body
        return told

    def response(self, run_id: str) -> Json:
        """The body of the only change of the run's response, ``None`` where there was none."""
        requests = self.told(run_id, "/response")
        assert len(requests) <= 1
        return requests[0].body if requests else None

    def run_log(self, run_id: str) -> str:
        """What Port shows of the run's log."""
        return self.port.ledger.runs[run_id].log_text

    def output(self) -> str:
        """All that the agent has printed."""
        return self.log_file.read_text("utf-8")

    def everything_port_was_told(self) -> str:
        """As text, to look for what must not be in there. Logging in, which needs the secret, is left out."""
        requests = [r.to_json() for r in self.port.ledger.requests if not r.path.endswith("/access_token")]
        return json.dumps(requests, ensure_ascii=False)


@dataclass
class Stage:
    """Where agents are made to stand in; they are gone at the end of `opened`'s block."""

    world: World
    authority: trustme.CA
    ca_file: Path
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _processes: list[AgentProcess] = field(default_factory=list)

    def begin(self, name: str, mapping: Json, env: Mapping[str, str] | None = None, **settings: str) -> Standing:
        """An agent with this mapping, just started. ``settings`` are the official agent's, ``env`` is the case's.

        An empty setting is left out.
        """
        home = self.world.home / name
        home.mkdir()
        file = home / "control_the_payload_config.json"
        file.write_text(json.dumps(mapping))
        port, internet = self.world.loop.run(self._surroundings())
        org = f"org_{name}"
        needed = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "TMPDIR": str(home),
            "PORT_ORG_ID": org,
            "PORT_CLIENT_ID": port.client_id,
            "PORT_CLIENT_SECRET": CLIENT_SECRET,
            "PORT_API_BASE_URL": port.url,
            "STREAMER_NAME": "KAFKA",
            "USING_LOCAL_PORT_INSTANCE": "True",
            "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": self.world.broker.bootstrap_servers,
            "KAFKA_CONSUMER_SECURITY_PROTOCOL": "plaintext",
            "KAFKA_CONSUMER_AUTHENTICATION_MECHANISM": "none",
            "KAFKA_CONSUMER_GROUP_ID": f"{org}.port-agent",
            "CONTROL_THE_PAYLOAD_CONFIG_PATH": str(file),
            "HTTP_PROXY": internet.proxy_url,
            "HTTPS_PROXY": internet.proxy_url,
            "SSL_CERT_FILE": str(self.ca_file),
        }
        wanted = {n: value for n, value in {**needed, **settings, **(env or {})}.items() if value}
        topics = {"runs": f"{org}.runs", "change_log": f"{org}.change.log"}
        for topic in topics.values():
            self.world.broker.create_topic(topic)
        process = AgentProcess(wanted, home, home / "agent.log")
        self.world.loop.run(process.start())
        self._processes.append(process)
        return Standing(self.world, port, internet, wanted, process, topics, home / "agent.log")

    async def _surroundings(self) -> tuple[PortApi, Internet]:
        ledger = Ledger(create_on_first_touch=True)
        credentials = Credentials(client_secret=CLIENT_SECRET)
        port = await self._stack.enter_async_context(PortApi.serve(credentials=credentials, ledger=ledger))
        return port, await self._stack.enter_async_context(Internet.serve(self.authority))

    async def close(self) -> None:
        """Ends everything that was begun here."""
        for process in self._processes:
            await process.kill()
        await self._stack.aclose()


@contextmanager
def opened(world: World) -> Iterator[Stage]:
    """A stage, alive inside the block."""
    authority = trustme.CA()
    ca_file = world.home / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    stage = Stage(world, authority, ca_file)
    try:
        yield stage
    finally:
        world.loop.run(stage.close())
