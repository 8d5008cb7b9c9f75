"""One agent under test: a real process with topics of its own, looked at only from outside."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from agent.domain.json import JsonObject
from agent.sandbox import messages
from agent.sandbox.agent_process import AgentProcess
from agent.sandbox.messages import Click
from agent.sandbox.records import RunRecord
from tests.broker.waiting import wait_until
from tests.whole.world import CLIENT_SECRET, PATIENCE_S, World

ACTIONS = Path(__file__).with_name("actions")


@dataclass(frozen=True)
class Results:
    """Runs that go on while tests ask for them by name, one after the other."""

    world: World
    run_ids: Mapping[str, str]

    def __call__(self, name: str) -> RunRecord:
        """The run, once it has ended."""
        return self.world.ended(self.run_ids[name])


class OneAgent:
    """``python -m agent run`` in the organisation ``org_NAME``. ``settings`` are added to those it needs."""

    def __init__(
        self, world: World, name: str, settings: Mapping[str, str] | None = None, routes: str | None = None
    ) -> None:
        self.world = world
        self.org = f"org_{name}"
        self.group = f"{self.org}.action-agent"
        self.topic = f"{self.org}.runs"
        self.change_log = f"{self.org}.change.log"
        self.home = world.home / name
        self.home.mkdir()
        self.routes_file = self.home / "routes.yaml"
        self._log_file = self.home / "agent.log"
        self.settings = self._needed() | dict(settings or {})
        if routes is not None:
            self.routes_file.write_text(routes)
            self.settings = {"AGENT_ROUTES_PATH": str(self.routes_file)} | self.settings
        self.process = AgentProcess(self.settings, self.home, self._log_file)

    def _needed(self) -> dict[str, str]:
        world = self.world
        return {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "PORT_ORG_ID": self.org,
            "PORT_CLIENT_ID": world.port.client_id,
            "PORT_CLIENT_SECRET": CLIENT_SECRET,
            "PORT_API_BASE_URL": world.port.url,
            "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": world.broker.bootstrap_servers,
            "AGENT_PYTHONPATH": str(ACTIONS),
            "AGENT_STATE_DIR": str(self.home / "state"),
            "AGENT_KILL_GRACE_S": "2",
            "AGENT_DRAIN_TIMEOUT_S": "3",
            "AGENT_REPORT_TIMEOUT_S": "5",
            "TARGET": world.target.url,
            "HOME_OF_TESTS": str(self.home),
        }

    # ── its life ─────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Starts it; `kill` must follow in the end."""
        for topic in (self.topic, self.change_log):
            self.world.broker.create_topic(topic)
        self.world.loop.run(self.process.start())

    def wait_ready(self) -> None:
        """Returns once ``/readyz`` says so; fails at once if it has ended."""
        self.wait_until(lambda: self._state() == 200, "ready")

    def wait_placed(self) -> None:
        """Returns once it knows where its topic ends. What comes later is new; what was there, Port is asked about.

        It is ready before: a run that comes in between costs a request more.
        """
        partitions = self.world.broker.create_topic(self.topic)
        self.wait_until(
            lambda: len(self._samples("agent_kafka_consumer_lag", topic=self.topic)) == partitions,
            f"the ends of {self.topic}",
        )

    def _state(self) -> int | None:
        """The status of ``/readyz``, ``None`` before it answers."""
        assert self.process.exit_code is None, f"{self.org} ended:\n{self.process.last_words()}"
        try:
            return self.get("/readyz")[0]
        except OSError:
            return None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self.world.loop.call(lambda: self.process.send(number))

    def wait_end(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self.world.loop.run(self.process.ended(), timeout_s=60)

    def kill(self) -> None:
        """Ends it at once, if it still runs."""
        self.world.loop.run(self.process.kill())

    # ── what goes in ─────────────────────────────────────────────────────────────────────────────────

    def deliver(
        self, message: str | bytes | JsonObject, *, key: str | None = None, topic: str | None = None
    ) -> None:
        """Puts a record on the runs topic; a document is printed as Port prints it, and not signed.

        Records with equal keys arrive in their order.
        """
        value = message if isinstance(message, str | bytes) else messages.wire_text(message)
        self.world.broker.produce(topic or self.topic, value, key)

    def deliver_signed(self, document: JsonObject, **how: Any) -> None:
        """The same, signed as Port signs it."""
        self.deliver(messages.signed_message(document, CLIENT_SECRET, **how))

    def invoke(self, action: str, inputs: JsonObject | None = None, *, key: str | None = None) -> str:
        """Begins a run of a KAFKA action; its id."""
        run_id = self.world.begin_run(action)
        self.deliver(messages.kafka_v1(Click(run_id, action, inputs or {}, "service", org_id=self.org)), key=key)
        return run_id

    def result_of(self, action: str, inputs: JsonObject | None = None) -> RunRecord:
        """The run of an action, invoked and ended."""
        return self.world.ended(self.invoke(action, inputs))

    def invoke_all(self, orders: Mapping[str, tuple[str, JsonObject]]) -> Results:
        """Invokes (action, inputs) under each name, all at once: a waiting fetch costs each alone 0.25 s."""
        return Results(self.world, {name: self.invoke(*order) for name, order in orders.items()})

    # ── what comes out ───────────────────────────────────────────────────────────────────────────────

    def output(self) -> str:
        """All that it has printed so far."""
        return self._log_file.read_text("utf-8") if self._log_file.exists() else ""

    def lines(self, event: str | None = None, **about: object) -> list[dict[str, Any]]:
        """Its log lines of this event and with these values. Fails for one that is not JSON."""
        whole = self.output().rpartition("\n")[0].splitlines()
        parsed = [json.loads(line) for line in whole if line]
        return [
            line
            for line in parsed
            if event in (None, line["event"]) and all(line.get(name) == value for name, value in about.items())
        ]

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Returns once the condition holds; fails with the end of the agent's log if it does not in time."""
        wait_until(
            condition,
            timeout_s=PATIENCE_S,
            what=lambda: f"{what}; the log ends with\n{self.process.last_words()}",
            pause_s=0.02,
        )

    def wait_line(self, event: str, **about: object) -> dict[str, Any]:
        """The first such line, once it is there."""
        self.wait_until(lambda: self.lines(event, **about), f"the line {event!r} {about}")
        return self.lines(event, **about)[0]

    def wait_settled(self, run_id: str) -> None:
        """Returns once the agent has said its last word on the run. Needs LOG_LEVEL=DEBUG."""
        self.wait_line("run reported", run_id=run_id)

    def wait_committed(self) -> None:
        """Returns once its group has committed everything that its topic holds."""
        broker = self.world.broker

        def is_committed() -> bool:
            committed = {p: offset for p, (offset, _) in broker.committed(self.group, self.topic).items()}
            return sum(broker.end_offsets(self.topic).values()) == sum(committed.values())

        self.wait_until(is_committed, "all to be committed")

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of one of its pages."""
        host, _, port = self.process.url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels."""
        return sum(self._samples(name, **labels))

    def _samples(self, name: str, **labels: str) -> list[float]:
        return [
            sample.value
            for family in text_string_to_metric_families(self._fresh_metrics())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def _fresh_metrics(self) -> str:
        """A page that was rendered after this call began; one that is a moment old may be given out twice."""
        pages = [self.get("/metrics")[1]]

        def is_another() -> bool:
            pages.append(self.get("/metrics")[1])
            return pages[-1] != pages[0]

        wait_until(is_another, timeout_s=PATIENCE_S, what="another page of metrics")
        return pages[-1]

    def wait_metric(self, name: str, value: float, **labels: str) -> None:
        """Returns once the metric has this value."""
        wait_until(
            lambda: self.metric(name, **labels) == value,
            timeout_s=PATIENCE_S,
            what=lambda: f"{name}{labels} to be {value}, it is {self.metric(name, **labels)}",
        )


def port_message(name: str) -> str:
    """A message exactly as Port's documentation prints it."""
    return (Path(__file__).with_name("port_messages") / f"{name}.json").read_text("utf-8")


@contextmanager
def at_work_together(agents: Collection[OneAgent]) -> Iterator[None]:
    """Starts them all at once, and waits for none; they are gone at the end."""
    try:
        for agent in agents:
            agent.start()
        yield
    finally:
        for agent in agents:
            agent.kill()
