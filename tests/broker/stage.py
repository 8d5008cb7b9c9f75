"""One organisation, ready to be worked for: its topics on the broker, its stand-in for Port, routes and targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException

from agent.delivery.offset_map import Mark, OffsetMap
from tests.broker.agent_process import AgentProcess
from tests.broker.executions import Executions
from tests.broker.kafka_client import KafkaClient
from tests.broker.real_kafka import AGENT, Account, RealKafka
from tests.broker.stand_in import StandIn
from tests.broker.waiting import wait_until
from tests.broker.workload import Order, routes_file


class Stage:
    """A context manager: on leaving it, everything that it started has ended.

    ``account`` is what the stand-in gives out for Kafka; ``pause_s`` is how long each process sleeps.
    """

    def __init__(
        self, kafka: RealKafka, home: Path, org: str, *, account: Account = AGENT, pause_s: float = 0
    ) -> None:
        self.kafka = kafka
        self.client = KafkaClient(kafka)
        self._account = account
        self.org = org
        self.home = home
        self.topic = f"{org}.runs"
        self.group = f"{org}.action-agent"
        self.executions = Executions(home / "executions")
        self.routes = routes_file(home, self.executions.file, self.executions.url, pause_s)
        self._agents: list[AgentProcess] = []
        try:
            self.port = StandIn(org, self.credentials(account), home)
        except BaseException:
            self.executions.close()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all its processes."""
        for agent in self._agents:
            agent.end()
        self.port.end()
        self.executions.close()

    def give_out(self, account: Account, *, brokers: Sequence[str] = ()) -> None:
        """From now on Port's stand-in says this of Kafka; ``brokers`` in place of the real one."""
        said = self.credentials(account) | ({"brokers": list(brokers)} if brokers else {})
        body = {"ok": True, "credentials": said}
        self.port.misbehave({"path": "/v1/kafka-credentials", "status": 200, "body": body, "times": None})

    def credentials(self, account: Account) -> dict[str, object]:
        """What ``/v1/kafka-credentials`` says for ``account``."""
        return {
            "brokers": [self.kafka.bootstrap],
            "username": account.username,
            "password": account.password,
        }

    def make_topics(self, partitions: int = 3) -> None:
        """The organisation's two topics, as Port provisions them, with the agent's rights."""
        self.client.create_topic(self.topic, partitions)
        self.client.create_topic(f"{self.org}.change.log", 1)
        self.client.allow_agent(self.org, self._account)

    def start_agent(
        self, name: str, settings: Mapping[str, str] | None = None, module: Sequence[str] = ("agent",)
    ) -> AgentProcess:
        """An agent with the least settings that this organisation needs; see `AgentProcess`."""
        agent = AgentProcess(
            name,
            self.home,
            {
                "PORT_ORG_ID": self.org,
                "PORT_CLIENT_ID": self.port.client_id,
                "PORT_CLIENT_SECRET": self.port.client_secret,
                "PORT_API_BASE_URL": self.port.url,
                "AGENT_KAFKA_CA_FILE": str(self.kafka.ca_file),
                "AGENT_ROUTES_PATH": str(self.routes),
                "AGENT_PYTHONPATH": str(self.home),
                **(settings or {}),
            },
            module,
        )
        self._agents.append(agent)
        agent.start()
        return agent

    def place(self, orders: Sequence[Order], others: Iterable[bytes | None] = ()) -> None:
        """Begins the runs in the stand-in and produces their records, with ``others`` first."""
        for order in orders:
            self.port.create_run(order.run_id, order.executor)
        self.client.produce(self.topic, [*others, *(order.record for order in orders)])

    def wait_finished(self, timeout_s: float) -> None:
        """Returns once every run has a terminal status; fails with how things stand."""
        wait_until(lambda: self.port.unfinished() == 0, timeout_s=timeout_s, what=self.report)

    def wait_committed(self, timeout_s: float = 60) -> None:
        """Returns once the group has committed everything; fails with how things stand."""
        wait_until(self.is_committed, timeout_s=timeout_s, what=self.report)

    def wait_executed(self, count: int, timeout_s: float = 60) -> None:
        """Returns once that many executions have begun."""
        wait_until(
            lambda: self.executions.by_run().total() >= count,
            timeout_s=timeout_s,
            what=lambda: f"{count} executions:\n{self.report()}",
            pause_s=0.02,
        )

    def check_each_run_once(self) -> None:
        """Every run was executed once and has one terminal status, SUCCESS; nobody else's was executed or named.

        And the group has committed everything that the topic holds. Fails with what is wrong, and `report`.
        """
        runs, executed = self.port.runs(), self.executions.by_run()
        troubles = [
            f"{run_id}: statuses {run['terminal_statuses']}, refused {run['refused_statuses']}"
            for run_id, run in runs.items()
            if run["terminal_statuses"] != ["SUCCESS"] or run["refused_statuses"]
        ]
        troubles += [f"{run_id}: executed {executed[run_id]} times" for run_id in runs if executed[run_id] != 1]
        troubles += [f"{run_id}: executed, but not ours" for run_id in sorted(set(executed) - set(runs))]
        troubles += [f"{run_id}: named to Port, but not ours" for run_id in sorted(self.port.named() - set(runs))]
        if not self.is_committed():
            troubles.append("not everything is committed")
        shown = "\n".join(troubles[:30])
        assert not troubles, f"{len(troubles)} troubles, the first:\n{shown}\n{self.report()}"

    def is_committed(self) -> bool:
        """Whether the group has committed everything that the topic holds."""
        return self._committed_offsets() == self.client.end_offsets(self.topic)

    def offset_maps(self) -> dict[int, OffsetMap]:
        """By partition, what the group remembers; fails where the metadata is no map."""
        maps: dict[int, OffsetMap] = {}
        for partition, found in self.client.committed(self.group, self.topic).items():
            base = found.offset or 0
            known = OffsetMap(0) if found.offset is None else OffsetMap.decode(found.metadata, base)
            assert known is not None, (
                f"partition {partition} has metadata that is no offset map: {found.metadata!r}"
            )
            maps[partition] = known
        return maps

    def report(self) -> str:
        """How things stand, for a failed test: unfinished runs, offsets, what travels with them, last words."""
        runs = self.port.runs()
        unfinished = [run_id for run_id, run in runs.items() if not run["terminal_statuses"]]
        return "\n".join(
            [
                f"{len(unfinished)} of {len(runs)} runs have no terminal status: {unfinished[:20]}",
                self._offsets(),
                *(
                    f"── agent {a.name}, exit code {a.exit_code}\n{a.tail(without='run finished')}"
                    for a in self._agents
                ),
            ]
        )

    def _committed_offsets(self) -> dict[int, int]:
        return {p: found.offset or 0 for p, found in self.client.committed(self.group, self.topic).items()}

    def _offsets(self) -> str:
        try:
            return (
                f"committed: {self.client.committed(self.group, self.topic)}\n"
                f"remembered: {self._remembered()}\n"
                f"end offsets: {self.client.end_offsets(self.topic)}"
            )
        except KafkaException as error:
            return f"offsets: Kafka does not tell: {error}"

    def _remembered(self) -> dict[int, str]:
        return {
            partition: f"{m.marks.count(Mark.DONE)} ended and {m.marks.count(Mark.STARTED)} begun above {m.base}"
            for partition, m in self.offset_maps().items()
        }
