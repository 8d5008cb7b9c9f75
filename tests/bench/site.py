"""One organisation to measure on: its topics, its counterpart, its routes, its agents and its bare loops."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confluent_kafka import Producer

from tests.bench.counterpart import Counterpart, Identity, Manners
from tests.bench.routes import ACTIONS
from tests.bench.server import Counts
from tests.bench.usage import Cpu
from tests.bench.workload import SECRET, Workload
from tests.broker.agent_process import AgentProcess
from tests.broker.child import Child
from tests.broker.kafka_client import KafkaClient
from tests.broker.real_kafka import AGENT, RealKafka
from tests.broker.waiting import wait_until

_STANDSTILL_S = 90.0
_START_TIMEOUT_S = 60.0
_CHUNK_RECORDS, _CHUNK_BYTES = 20_000, 64 * 1024 * 1024
"""So much is produced at once: the producer's own queue is bounded."""
_WARM_UP = 200
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True)
class Bare:
    """A bare loop, see `tests.bench.floors`. ``share``: of the agent's runs, so many are enough for a slow one."""

    name: str
    work: str
    client: str
    loop: str
    at_once: int = 64
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Pass:
    """So many runs, handled once. ``wall_s``: from when the records were produced until the last status.

    ``cpu`` is that of the agents, or of the bare loop. ``counts`` are what the counterpart saw meanwhile.
    """

    runs: int
    wall_s: float
    cpu: Cpu
    counts: Counts

    @property
    def runs_per_s(self) -> float:
        """By the clock."""
        return self.runs / self.wall_s

    @property
    def cpu_ms(self) -> float:
        """Of a run, with the processes that it started."""
        return 1000 * (self.cpu.own_s + self.cpu.children_s) / self.runs

    @property
    def per_core(self) -> float:
        """Runs per CPU second: what one core for itself would handle in a second."""
        return 1000 / self.cpu_ms


class Site:
    """A context manager: on leaving it, everything that it started has ended.

    ``routes`` is the text of the routes file, in which ``{url}`` stands for the target's address.
    """

    def __init__(
        self, kafka: RealKafka, home: Path, org: str, routes: str, manners: Manners, partitions: int = 1
    ) -> None:
        self.home = home
        self.org = org
        self.topic = f"{org}.runs"
        self.workload = Workload(org)
        self._kafka = kafka
        self._client = KafkaClient(kafka)
        self.bare_topic = f"{org}.bare"
        self._children: list[Child] = []
        self._numbers = itertools.count(1)
        home.mkdir(parents=True)
        (home / "bench_actions.py").write_text(ACTIONS)
        self._client.create_topic(self.topic, partitions)
        self._client.create_topic(self.bare_topic, partitions)
        self._client.create_topic(f"{org}.change.log", 1)
        self._client.allow_agent(org)
        account = {"brokers": [kafka.bootstrap], "username": AGENT.username, "password": AGENT.password}
        self.port = Counterpart(org, account, home, manners, Identity(kafka.key_file, kafka.ca_file))
        self._trust = {"SSL_CERT_FILE": str(kafka.ca_file)} if manners.tls else {}
        self._routes = home / "routes.yaml"
        self._routes.write_text(routes.replace("{url}", self.port.url))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all its processes."""
        for child in self._children:
            child.end()
        self.port.end()

    def start_agent(self, **settings: str) -> AgentProcess:
        """An agent with default settings but for these; returns once it is ready."""
        agent = AgentProcess(f"agent{next(self._numbers)}", self.home, {**self._settings(), **settings})
        self._children.append(agent)
        agent.start()
        agent.wait_ready()
        return agent

    def produce(self, records: Iterable[bytes]) -> None:
        """Appends records to the topic of runs, spread over its partitions; waits until the broker has them."""
        self._produce(self.topic, records)

    def warm_up(self, action: str, runs: int = _WARM_UP) -> None:
        """Has a few runs handled: Port is asked about a group's first records, and pools are empty before them."""
        self.port.reset()
        self.produce(self.workload.records(action, runs))
        self.wait_ended(runs)

    def agents_pass(self, agents: Iterable[AgentProcess], action: str, runs: int) -> Pass:
        """Has the agents handle a backlog of so many runs."""
        pids = [agent.pid for agent in agents]
        records = list(self.workload.records(action, runs))
        self.port.reset()
        before = Cpu.of(*pids)
        began_s = time.monotonic()
        self.produce(records)
        counts = self.wait_ended(runs)
        return _judged(Pass(runs, counts.last_status_s - began_s, Cpu.of(*pids).since(before), counts))

    def bare_pass(self, bare: Bare, action: str, runs: int) -> Pass:
        """The same by a bare loop, which is a new process, and has a topic of its own."""
        runs = max(1, int(runs * bare.share))
        records = list(self.workload.records(action, runs))
        loop = self.start_bare(bare, runs)
        self.port.reset()
        began_s = time.monotonic()
        self.produce_bare(records)
        counts = self.wait_ended(runs)
        loop.wait(_START_TIMEOUT_S)
        used = json.loads(loop.output().splitlines()[-1])
        return _judged(Pass(runs, counts.last_status_s - began_s, Cpu(**used), counts))

    def start_bare(self, bare: Bare, runs: int) -> Child:
        """A bare loop for so many runs; returns once it consumes."""
        config = {"fetch.wait.max.ms": 500, **self._kafka.client_config(AGENT)}
        argv = ["-m", "tests.bench.floors", f"--kafka={json.dumps(config)}", f"--topic={self.bare_topic}"]
        argv += [f"--url={self.port.url}", f"--count={runs}", f"--at-once={bare.at_once}", f"--work={bare.work}"]
        argv += [f"--client={bare.client}", f"--loop={bare.loop}"]
        log = self.home / f"bare{next(self._numbers)}.log"
        child = Child([sys.executable, *argv], log, {"LC_ALL": "C.UTF-8", **self._trust})
        self._children.append(child)
        child.start()
        wait_until(lambda: "ready" in child.output(), timeout_s=_START_TIMEOUT_S, what=child.tail)
        return child

    def produce_bare(self, records: Iterable[bytes]) -> None:
        """Appends records to the topic of the bare loops."""
        self._produce(self.bare_topic, records)

    def wait_ended(self, runs: int, standstill_s: float = _STANDSTILL_S) -> Counts:
        """Returns once so many runs have a status since the last reset; fails if none gets one for so long."""
        return list(self.progress(runs, standstill_s))[-1]

    def progress(self, runs: int, standstill_s: float = _STANDSTILL_S) -> Iterator[Counts]:
        """As `wait_ended`: how things stand, many times a second, until they have ended."""
        seen, at_s = -1, time.monotonic()
        while True:
            counts = self.port.counts()
            if counts.status > seen:
                seen, at_s = counts.status, time.monotonic()
            yield counts
            if counts.status >= runs:
                return
            assert time.monotonic() - at_s < standstill_s, f"only {counts} of {runs} runs\n{self._last_words()}"
            time.sleep(_LOOK_EVERY_S)

    def feed(self, topic: str) -> Feed:
        """Produces single records to a topic, with nothing in between."""
        return Feed(Producer({**self._kafka.client_config(), "linger.ms": 0}), topic)

    def _produce(self, topic: str, records: Iterable[bytes]) -> None:
        chunk: list[bytes] = []
        size = 0
        for record in records:
            chunk.append(record)
            size += len(record)
            if len(chunk) >= _CHUNK_RECORDS or size >= _CHUNK_BYTES:
                self._client.produce(topic, chunk)
                chunk, size = [], 0
        self._client.produce(topic, chunk)

    def _settings(self) -> Mapping[str, str]:
        return {
            "PORT_ORG_ID": self.org,
            "PORT_CLIENT_ID": "made-up",
            "PORT_CLIENT_SECRET": SECRET,
            "PORT_API_BASE_URL": self.port.url,
            "AGENT_KAFKA_CA_FILE": str(self._kafka.ca_file),
            "AGENT_ROUTES_PATH": str(self._routes),
            "AGENT_PYTHONPATH": str(self.home),
            **self._trust,
        }

    def _last_words(self) -> str:
        return "\n".join(child.tail(without="run finished") for child in self._children)


class Feed:
    """Produces records one by one, each at once."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        producer.list_topics(topic, _START_TIMEOUT_S)  # the connection is made before the first record needs it

    def produce(self, record: bytes) -> float:
        """Hands over a record. Returns the monotonic time of that."""
        at_s = time.monotonic()
        self._producer.produce(self._topic, record)
        self._producer.poll(0)
        return at_s

    def flush(self) -> None:
        """Returns once the broker has all of them."""
        assert not self._producer.flush(_START_TIMEOUT_S), "Kafka does not take records"


def _judged(found: Pass) -> Pass:
    """Fails where runs did not end as they should: their speed would mean nothing."""
    counts = found.counts
    assert counts.status == found.runs, f"{counts.status} statuses for {found.runs} runs"
    assert not counts.failed, f"{counts.failed} of {found.runs} runs failed"
    return found
