"""What users ask for while everything breaks: runs of every kind, as the records that Port would produce."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from agent.domain.json import JsonObject
from agent.sandbox import messages
from agent.sandbox.messages import Click

EXECUTORS = ("process", "http", "python_async", "python_sync")
POLICIES = ("fail", "rerun")
KEYS = 6
PARTITIONS = 6
"""Several for each agent: there is always something to be taken away, and something left."""
MAX_ATTEMPTS = 3

_KEYED = 0.25
_SHAPES = ("tutorial", "kafka_v1", "webhook", "node_run")


@dataclass(frozen=True, slots=True)
class Order:
    """One run that somebody asked for. ``seconds`` is what its work takes; ``offset`` is known once produced.

    A change event is one, too: Port knows no run of it, and ``run_id`` is its entity's identifier.
    """

    run_id: str
    shape: str
    executor: str
    policy: str
    seconds: float
    key: str | None
    partition: int
    offset: int | None = None

    @property
    def is_node_run(self) -> bool:
        """Whether it is a workflow's node, which Port finds once it has its end."""
        return self.shape == "node_run"

    @property
    def is_change_event(self) -> bool:
        """Whether it comes by the change log, and Port is told nothing of it."""
        return self.shape == "change_event"

    @property
    def place(self) -> str:
        """The name of its partition, as in `tests.chaos.evidence.Evidence`."""
        return place(self.partition, change_log=self.is_change_event)

    @property
    def action(self) -> str:
        """The name of its action, also of a node that has none; routes go by it."""
        return f"do_{self.executor}_{self.policy}"

    def produced_at(self, offset: int) -> Order:
        """The same with its place."""
        return replace(self, offset=offset)

    def record(self, org: str, client_secret: str) -> bytes:
        """The message as it stands on the topic."""
        inputs: JsonObject = {"seconds": f"{self.seconds:.2f}", "key": self.key}
        click = Click(self.run_id, self.action, inputs, "service", org_id=org)
        url = f"http://127.0.0.1:9/{self.action}"
        match self.shape:
            case "tutorial":
                text = messages.wire_text(messages.tutorial(click))
            case "kafka_v1":
                text = messages.wire_text(messages.kafka_v1(click))
            case "webhook":
                text = messages.signed_message(messages.webhook(click, url, synchronized=True), client_secret)
            case "change_event":
                entity: JsonObject = {"identifier": self.run_id, "properties": inputs}
                text = messages.wire_text(messages.entity_change("service", self.run_id, after=entity, org_id=org))
            case _:
                node = messages.node_run(self.run_id, url)
                text = messages.signed_message({**node, "seconds": inputs["seconds"]}, client_secret)
        return text.encode()


def place(partition: int, *, change_log: bool = False) -> str:
    """The name of a partition of one of the organisation's two topics."""
    return f"{'change.log' if change_log else 'runs'}[{partition}]"


def order(chance: random.Random, number: int, *, nodes: bool, events: float) -> Order:
    """A run of any kind. Runs of one key have one partition, as they would have on a topic that is keyed so.

    ``events`` is the part that are change events.
    """
    if chance.random() < events:
        return Order(f"e_{number:06d}", "change_event", "http", "rerun", _seconds(chance), None, 0)
    shape = chance.choice(_SHAPES if nodes else _SHAPES[:-1])
    keyed = shape != "node_run" and chance.random() < _KEYED
    key = chance.randrange(KEYS) if keyed else None
    return Order(
        run_id=f"{'wfnr_' if shape == 'node_run' else 'r_'}{number:06d}",
        shape=shape,
        executor=chance.choice(EXECUTORS),
        policy=chance.choice(POLICIES),
        seconds=_seconds(chance),
        key=None if key is None else f"key-{key}",
        partition=chance.randrange(PARTITIONS) if key is None else key % PARTITIONS,
    )


def _seconds(chance: random.Random) -> float:
    """Most are short; a few take as long as it takes to lose a partition."""
    low, high = chance.choices([(0.0, 0.5), (1.0, 3.0), (4.0, 8.0)], [70, 25, 5])[0]
    return chance.uniform(low, high)
