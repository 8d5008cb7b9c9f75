"""A real Kafka that goes on when one of its brokers is killed: two brokers, and a controller beside them."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.broker.child import Child
from tests.broker.real_kafka import RealKafka, free_ports
from tests.broker.waiting import wait_until

_HOST = "127.0.0.1"
_BROKERS = (2, 3)
_OFFSETS = "__consumer_offsets"


class ThreeNodes(RealKafka):
    """Node 1 is the controller, nodes 2 and 3 are brokers that both have a copy of everything."""

    copies = 2

    def __init__(self, libs: Path, home: Path) -> None:
        self._ports = dict(zip(_BROKERS, free_ports(len(_BROKERS)), strict=True))
        super().__init__(libs, home)
        self._brokers = {node: self._made(node) for node in _BROKERS}

    @property
    def bootstrap(self) -> str:
        """Both brokers."""
        return ",".join(f"{_HOST}:{port}" for port in self._ports.values())

    def start(self, timeout_s: float = 90) -> None:
        """Starts all and waits until both brokers are seen."""
        self._child.start()
        for broker in self._brokers.values():
            broker.start()
        wait_until(self._answers, timeout_s=timeout_s, what=lambda: f"two brokers:\n{self.tail()}")

    def kill_coordinator(self) -> None:
        """Ends the broker that keeps the offsets of all groups, without warning."""
        metadata = AdminClient(self.client_config()).list_topics(_OFFSETS, timeout=10)
        self._brokers[metadata.topics[_OFFSETS].partitions[0].leader].end()

    def close(self) -> None:
        """Ends all and removes their records. Idempotent."""
        for broker in self._brokers.values():
            broker.end()
        super().close()

    def tail(self) -> str:
        """The last lines of all logs."""
        return "\n".join(child.tail(10) for child in (self._child, *self._brokers.values()))

    def _answers(self) -> bool:
        children = (self._child, *self._brokers.values())
        assert all(child.running for child in children), f"Kafka ended:\n{self.tail()}"
        try:
            return len(AdminClient(self.client_config()).list_topics(timeout=2).brokers) == len(_BROKERS)
        except KafkaException:
            return False

    def _server_properties(self) -> str:
        """Of the controller: what stands last counts."""
        address = f"CONTROLLER://{_HOST}:{self._controller_port}"
        return super()._server_properties() + (
            f"process.roles=controller\nlisteners={address}\nadvertised.listeners={address}\n"
        )

    def _made(self, node: int) -> Child:
        address = f"CLIENTS://{_HOST}:{self._ports[node]}"
        properties = self._home / f"server-{node}.properties"
        properties.write_text(
            super()._server_properties()
            + f"process.roles=broker\nnode.id={node}\nlisteners={address}\nadvertised.listeners={address}\n"
            + f"log.dirs={self._home}/records-{node}\noffsets.topic.replication.factor={self.copies}\n"
        )
        self._format(properties, "--no-initial-controllers")
        command = self._java("kafka.Kafka", str(properties))
        return Child(command, self._home / f"broker-{node}.log", {"LC_ALL": "C.UTF-8"})
