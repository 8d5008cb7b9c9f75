"""What one agent handles: runs in a second and processor time for each executor, memory with many runs at once.

The agent, the real Kafka, the stand-in for Port's API and the target of HTTP routes are processes of their own, and
share this machine's processors: an agent that has one for itself handles more.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.bench.target import Target
from tests.bench.usage import Cpu, memory_mib
from tests.broker.agent_process import AgentProcess
from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.broker.workload import Order

ROUTES = """\
routes:
  - name: python
    match: {{action: python}}
    python: {{callable: "bench_actions:nothing"}}
  - name: process
    match: {{action: process}}
    process: {{command: [/bin/true]}}
  - name: http
    match: {{action: [quick, slow, held]}}
    http: {{url: "{url}/{{{{ .action.identifier }}}}", body: "{{{{ .inputs }}}}", timeout: 5m}}
"""
ACTIONS = """\
from agent import Run, Succeeded


async def nothing(run: Run) -> Succeeded:
    return Succeeded()
"""

_PATIENCE_S = 120
_TEXT = "x" * 1000
"""Makes a message of some 1.6 KB, as Port's are."""


@dataclass(frozen=True, slots=True)
class Load:
    """So many runs of one action at once, for an agent with so many slots; Port answers after ``port_takes_s``."""

    name: str
    action: str
    runs: int
    slots: int = 50
    port_takes_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One load, handled once: from its first record on the topic until Port had the last status."""

    runs_per_s: float
    own_cpu_ms: float
    """Of the agent, for each run."""
    children_cpu_ms: float
    requests_per_run: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the agent and of what it started, with so many requests to a target under way. MiB."""

    at_once: int
    mib: float


class Bench:
    """A context manager around everything that is needed; measures one thing at a time."""

    def __init__(self, kafka: RealKafka, home: Path) -> None:
        self._kafka = kafka
        self._home = home
        self._numbers = iter(range(10**9))

    def throughput(self, loads: Sequence[Load], rounds: int) -> Mapping[str, Reading]:
        """The median of each load. A round goes through all loads, so that a bad moment hits them alike."""
        readings: dict[str, list[Reading]] = {load.name: [] for load in loads}
        for _ in range(rounds):
            for load in loads:
                readings[load.name].append(self._handled(load))
        return {name: _median(found) for name, found in readings.items()}

    def memory(self, at_once: Sequence[int]) -> list[Memory]:
        """A new agent's: before its first run, then with each of these numbers at once."""
        slots = max(at_once) * 6 // 5  # no action alone gets the last tenth
        with self._stage(slots) as (stage, agent, target):
            found = [Memory(0, memory_mib(agent.pid))]
            self._warm_up(stage)
            for count in at_once:
                self._place(stage, "held", count)
                wait_until(lambda n=count: target.held() == n, timeout_s=_PATIENCE_S, what=stage.report)  # type: ignore[misc]
                found.append(Memory(count, memory_mib(agent.pid)))
                target.release()
                stage.wait_finished(_PATIENCE_S)
            return found

    def _handled(self, load: Load) -> Reading:
        with self._stage(load.slots) as (stage, agent, _):
            self._warm_up(stage)
            if load.port_takes_s:
                stage.port.misbehave({"effect": "delay", "delay_s": load.port_takes_s, "times": None})
            orders = self._orders(stage, load.action, load.runs)
            for order in orders:
                stage.port.create_run(order.run_id, load.action)
            cpu, began_s = Cpu.of(agent.pid), time.monotonic()
            stage.client.produce(stage.topic, [order.record for order in orders])
            stage.wait_finished(_PATIENCE_S)
            took_s, used = time.monotonic() - began_s, Cpu.of(agent.pid).since(cpu)
            runs = stage.port.runs()
            bad = [run for run in runs.values() if run["terminal_statuses"] != ["SUCCESS"]]
            assert not bad, bad[:3]
            requests = sum(runs[order.run_id]["requests"] for order in orders)
            each = 1000 / load.runs
            return Reading(load.runs / took_s, used.own_s * each, used.children_s * each, requests / load.runs)

    @contextmanager
    def _stage(self, slots: int) -> Iterator[tuple[Stage, AgentProcess, Target]]:
        """An organisation of its own, with an agent that is ready, and nothing left of others."""
        number = next(self._numbers)
        home = self._home / str(number)
        home.mkdir(parents=True)
        target = Target(home)
        try:
            (home / "bench_actions.py").write_text(ACTIONS)
            routes = home / "bench.yaml"
            routes.write_text(ROUTES.format(url=target.url))
            with Stage(self._kafka, home, f"org_bench{number}") as stage:
                stage.make_topics()
                settings = {"AGENT_ROUTES_PATH": str(routes), "AGENT_MAX_CONCURRENT_RUNS": str(slots)}
                agent = stage.start_agent("agent", settings)
                agent.wait_ready()
                yield stage, agent, target
        finally:
            target.end()

    def _warm_up(self, stage: Stage) -> None:
        """Port is asked about a group's first records, and pools are empty before them."""
        for action in ("python", "process", "quick"):
            self._place(stage, action, 50)
        stage.wait_finished(_PATIENCE_S)
        stage.wait_committed()

    def _place(self, stage: Stage, action: str, count: int) -> None:
        orders = self._orders(stage, action, count)
        for order in orders:
            stage.port.create_run(order.run_id, action)
        stage.client.produce(stage.topic, [order.record for order in orders])

    def _orders(self, stage: Stage, action: str, count: int) -> list[Order]:
        run_ids = [f"r_{action}{next(self._numbers):08d}" for _ in range(count)]
        clicks = [Click(run_id, action, {"text": _TEXT}, "service", org_id=stage.org) for run_id in run_ids]
        records = [messages.wire_text(messages.kafka_v1(click)).encode() for click in clicks]
        return [
            Order(click.run_id, "kafka_v1", action, record) for click, record in zip(clicks, records, strict=True)
        ]


def _median(readings: Sequence[Reading]) -> Reading:
    """The one in the middle, by runs in a second."""
    middle = statistics.median_low([reading.runs_per_s for reading in readings])
    return next(reading for reading in readings if reading.runs_per_s == middle)
