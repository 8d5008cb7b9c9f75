"""The organisation's users: they ask for runs, whatever is broken, and never wait for the ones before."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from confluent_kafka import KafkaError, Message, Producer

from tests.broker.stage import Stage
from tests.broker.workload import noise
from tests.chaos.clockwork import Clockwork
from tests.chaos.order import PARTITIONS, Order, order

_PATIENCE_S = 180


@dataclass(frozen=True, slots=True)
class Demand:
    """How much is asked for: runs in a second on average, and which part of the records is none of ours.

    ``events`` is the part of what is asked for that are change events.
    """

    runs_per_s: float = 8.0
    bursts: float = 0.02
    burst: int = 40
    noise: float = 0.05
    nodes: bool = True
    events: float = 0.0


class Customer:
    """Begins runs at Port and produces their records, as Port would: each once, whatever the broker does."""

    def __init__(self, stage: Stage, demand: Demand) -> None:
        self._stage = stage
        self._demand = demand
        self._orders: dict[str, Order] = {}
        self._lock = threading.Lock()
        self._failures: list[str] = []
        self._producer = Producer(
            {
                **stage.kafka.client_config(),
                # A broker that is killed between taking a record and saying so must not have it twice.
                "enable.idempotence": True,
                "message.timeout.ms": _PATIENCE_S * 1000,
                "linger.ms": 5,
            }
        )

    @property
    def orders(self) -> dict[str, Order]:
        """All runs by id; those whose record the broker has know their place."""
        with self._lock:
            return dict(self._orders)

    def ask(self, chance: random.Random, clockwork: Clockwork) -> None:
        """Asks for runs until the time is over, then waits until the broker has all records."""
        not_ours = noise(chance, 10**6, self._stage.org)
        while not clockwork.is_over:
            for _ in range(self._demand.burst if chance.random() < self._demand.bursts else 1):
                if chance.random() < self._demand.noise:
                    place = chance.randrange(PARTITIONS)
                    self._producer.produce(self._stage.topic, next(not_ours), partition=place)
                demand = self._demand
                self._place(order(chance, len(self._orders), nodes=demand.nodes, events=demand.events))
            self._producer.poll(0)
            clockwork.pass_time(chance.expovariate(self._demand.runs_per_s))
        self.finish()

    def finish(self) -> None:
        """Waits until the broker has all records. Fails with what it did not take."""
        left = self._producer.flush(_PATIENCE_S)
        assert not left, f"{left} records were not taken by Kafka within {_PATIENCE_S} s"
        assert not self._failures, f"Kafka refused records: {self._failures[0]}"

    def _place(self, wanted: Order) -> None:
        with self._lock:
            self._orders[wanted.run_id] = wanted
        if not wanted.is_change_event:
            self._stage.port.create_run(wanted.run_id, wanted.action)
        record = wanted.record(self._stage.org, self._stage.port.client_secret)

        def note(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failures.append(f"{wanted.run_id}: {error}")
                return
            with self._lock:
                self._orders[wanted.run_id] = wanted.produced_at(message.offset() or 0)

        topic = f"{self._stage.org}.change.log" if wanted.is_change_event else self._stage.topic
        self._producer.produce(topic, record, partition=wanted.partition, on_delivery=note)
