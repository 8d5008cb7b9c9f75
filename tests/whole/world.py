"""What the agents of these tests live in: a broker, a stand-in for Port, a target for their requests.

Everything runs in one event loop on a thread of its own, so that it goes on while a test waits.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from agent.sandbox.broker import EmbeddedBroker
from agent.sandbox.port_api import Credentials, Fault, Ledger, PortApi
from agent.sandbox.records import RequestRecord, RunRecord
from tests.broker.waiting import wait_until
from tests.whole.target import Target

T = TypeVar("T")

CLIENT_SECRET = "cS9Qz1TestOnlyClientSecret0123456789abcdefXYZ"
"""The secret of Port's published examples, so that their signatures and ciphertexts hold here."""

PATIENCE_S = 30.0
"""For what takes a moment on an idle machine; only a failing test ever waits so long."""


class BackgroundLoop:
    """An event loop on its own thread, alive inside a ``with`` block."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="world")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float = PATIENCE_S) -> T:
        """The result of ``work``, done on the loop."""
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._loop).result()

    def call(self, work: Callable[[], T]) -> T:
        """The result of ``work``, called on the loop's thread."""

        async def called() -> T:
            return work()

        return self.run(called())


class World:
    """The agents' surroundings. Tests read the ledger's records as they are; the loop alone changes them."""

    def __init__(
        self, loop: BackgroundLoop, broker: EmbeddedBroker, port: PortApi, target: Target, home: Path
    ) -> None:
        self.loop = loop
        self.broker = broker
        self.port = port
        self.target = target
        self.home = home

    @property
    def ledger(self) -> Ledger:
        return self.port.ledger

    def begin_run(self, action: str = "an_action", run_id: str | None = None) -> str:
        """A click in Port: a run in progress; its id. One of the same id is replaced."""
        return self.loop.call(lambda: self.ledger.create_run(action, run_id=run_id))

    def ended(self, run_id: str, timeout_s: float = PATIENCE_S) -> RunRecord:
        """The run, once it has a terminal status."""
        run = self.ledger.runs[run_id]
        wait_until(
            lambda: run.terminal_statuses,
            timeout_s=timeout_s,
            what=lambda: f"the end of {run}; requests: {self.requests_of(run_id)}",
            pause_s=0.01,
        )
        return run

    def asked(self) -> int:
        """How much was asked of Port beside what each agent asks once at its start."""
        at_start = ("/v1/auth/access_token", "/v1/organization")
        return sum(request.path not in at_start for request in self.ledger.requests)

    def requests_of(self, run_id: str) -> list[RequestRecord]:
        """What was asked of Port that names the run, in order."""
        return [request for request in self.ledger.requests if request.run_id == run_id]

    def misbehave(self, *faults: Fault) -> None:
        """From now on Port has these faults, too."""
        self.loop.call(lambda: self.port.script.add(*faults))

    def everything_port_was_told(self) -> str:
        """As text, to look for what must not be in there. Logging in, which needs the secret, is left out."""
        requests = [r.to_json() for r in self.ledger.requests if not r.path.endswith("/access_token")]
        return json.dumps(requests, ensure_ascii=False)

    def check_nothing_ended_twice(self) -> None:
        """Each run of the whole session got at most one terminal status, and nobody tried to give it another."""
        twice = {
            run.id: (run.terminal_statuses, run.refused_statuses)
            for run in self.ledger.runs.values()
            if len(run.terminal_statuses) + len(run.refused_statuses) > 1
        }
        assert not twice, twice


@contextmanager
def opened(home: Path) -> Iterator[World]:
    """A world, alive inside the block."""
    with BackgroundLoop() as loop, EmbeddedBroker() as broker:
        stack = AsyncExitStack()

        async def open_all() -> World:
            credentials = Credentials(client_secret=CLIENT_SECRET)
            kafka = {"brokers": [broker.bootstrap_servers], "username": "agent", "password": "kafka-passw0rd"}
            port = await stack.enter_async_context(PortApi.serve(credentials=credentials, kafka=kafka))
            target = await stack.enter_async_context(Target.serve())
            return World(loop, broker, port, target, home)

        try:
            yield loop.run(open_all())
        finally:
            loop.run(stack.aclose())
