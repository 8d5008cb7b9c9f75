"""What the scenarios share: a world on the embedded broker, agents in it, and chance with a seed; a real Kafka."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.broker.conftest import client, kafka, kafka_libs  # noqa: F401 - fixtures of the scenarios on a real Kafka
from tests.whole.one_agent import OneAgent
from tests.whole.world import World, opened

SEED = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("faults")) as world:
        yield world


@pytest.fixture
def chance() -> random.Random:
    """Chance with a seed that a failed test prints; FAULT_SEED=… repeats it."""
    print(f"FAULT_SEED={SEED}")  # noqa: T201 - pytest shows it for failed tests only
    return random.Random(SEED)  # noqa: S311 - no secrets are made of it


Begin = Callable[[str, str, Mapping[str, str]], OneAgent]
"""Starts an agent by its name, with these routes and settings; returns once it is at home in its topic."""

_NOT_OURS = b'{"payload": {"action": {"invocationMethod": {"type": "WEBHOOK", "agent": false}}}}'


@pytest.fixture
def begin(world: World) -> Iterator[Begin]:
    """Agents that are gone when the test ends. Each has an organisation and a state directory of its own."""
    begun: list[OneAgent] = []

    def start(name: str, routes: str, settings: Mapping[str, str]) -> OneAgent:
        agent = OneAgent(world, name, settings, routes)
        begun.append(agent)
        agent.start()
        agent.wait_ready()
        _settle_in(agent)
        return agent

    yield start
    for agent in begun:
        agent.kill()


def _settle_in(agent: OneAgent) -> None:
    """A record for each partition: Port is asked about the first, as the embedded broker cannot tell its age."""
    broker = agent.world.broker
    partitions, count = set(range(broker.create_topic(agent.topic))), 0
    while partitions:
        partitions.discard(broker.produce(agent.topic, _NOT_OURS, key=f"key {count}")[0])
        count += 1
    agent.wait_metric("agent_messages_ignored_total", count)
