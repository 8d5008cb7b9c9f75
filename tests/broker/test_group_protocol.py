"""Kafka's newer group protocol: gone over to and back from, and a broker that does not have it."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.broker.agent_process import AgentProcess
from tests.broker.chance import seeded
from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.broker.workload import Order, orders

pytestmark = pytest.mark.kafka

CLASSIC = {"AGENT_KAFKA_GROUP_PROTOCOL": "classic", "AGENT_MAX_CONCURRENT_RUNS": "5"}
CONSUMER = {"AGENT_KAFKA_GROUP_PROTOCOL": "consumer", "AGENT_MAX_CONCURRENT_RUNS": "5"}


@pytest.mark.timeout(240)
def test_agents_go_over_to_the_newer_protocol_once_nobody_with_the_other_is_left(
    kafka: RealKafka, tmp_path: Path
) -> None:
    """A member that kept partitions over a rebalance has told the group so, in a form that Kafka cannot convert."""
    with Stage(kafka, tmp_path, "org_T3stThere", pause_s=0.2) as stage:
        stage.make_topics()
        old = []
        for n in range(2):
            old.append(stage.start_agent(f"old-{n}", CLASSIC))
            old[-1].wait_ready()
        first, second = _halves(stage)
        stage.place(first)
        stage.wait_executed(100)
        early = stage.start_agent("early", CONSUMER)
        assert early.wait(timeout_s=60) == 1, early.tail()
        assert "stop them all, or set AGENT_KAFKA_GROUP_PROTOCOL=classic" in early.output()
        stage.place(second)
        _stop_at_once(old)
        assert stage.port.unfinished() > 0, "the old ones left too late: nothing was left to do"
        new = [stage.start_agent(f"new-{n}", CONSUMER) for n in range(2)]
        stage.wait_finished(timeout_s=120)
        wait_until(stage.is_committed, timeout_s=60, what=stage.report)
        for agent in new:
            assert agent.stop(timeout_s=60) == 0, agent.tail()
        stage.check_each_run_once()


@pytest.mark.timeout(240)
def test_agents_go_back_to_the_classic_protocol_once_nobody_with_the_other_is_left(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "org_T3stBack", pause_s=0.2) as stage:
        stage.make_topics()
        old = [stage.start_agent(f"old-{n}", CONSUMER) for n in range(2)]
        for agent in old:
            agent.wait_ready()
        first, second = _halves(stage)
        stage.place(first)
        stage.wait_executed(100)
        stage.place(second)
        _stop_at_once(old)
        assert stage.port.unfinished() > 0, "the old ones left too late: nothing was left to do"
        new = [stage.start_agent(f"new-{n}", CLASSIC) for n in range(2)]
        stage.wait_finished(timeout_s=120)
        wait_until(stage.is_committed, timeout_s=60, what=stage.report)
        for agent in new:
            assert agent.stop(timeout_s=60) == 0, agent.tail()
        stage.check_each_run_once()


def test_an_idle_agent_is_ready_once_the_group_has_it(kafka: RealKafka, tmp_path: Path) -> None:
    with Stage(kafka, tmp_path, "org_T3stIdle") as stage:
        stage.client.create_topic(stage.topic, 1)
        stage.client.create_topic(f"{stage.org}.change.log", 1)
        settings = CONSUMER | {"KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000"}
        agents = [stage.start_agent(f"agent-{n}", settings) for n in range(3)]  # one more than partitions
        wait_until(lambda: all(agent.probe("/livez") == 200 for agent in agents), timeout_s=60, what=stage.report)
        # Kafka takes in nobody who has no right to the group.
        wait_until(
            lambda: all("GROUP_AUTHORIZATION_FAILED" in agent.output() for agent in agents),
            timeout_s=60,
            what=stage.report,
        )
        assert [agent.probe("/readyz") for agent in agents] == [503] * 3
        stage.client.allow_agent(stage.org)
        for agent in agents:
            agent.wait_ready()
        for agent in agents:
            assert agent.stop(timeout_s=30) == 0, agent.tail()
            assert "KAFKA_CONSUMER_SESSION_TIMEOUT_MS has no effect with this group protocol" in agent.output()


def test_brokers_without_the_protocol_are_told_with_what_to_do(kafka_libs: Path, tmp_path: Path) -> None:
    kafka = RealKafka(kafka_libs, tmp_path / "kafka", features=["group.version=0"])
    try:
        kafka.start()
        with Stage(kafka, tmp_path, "org_T3stOlder") as stage:
            stage.make_topics()
            agent = stage.start_agent("agent", CONSUMER)
            assert agent.wait(timeout_s=60) == 1, agent.tail()
            assert "set AGENT_KAFKA_GROUP_PROTOCOL=classic" in agent.output(), agent.tail()

            doctor = agent.ask("doctor")
            assert doctor.returncode == 1, doctor
            assert "set AGENT_KAFKA_GROUP_PROTOCOL=classic" in doctor.stdout, doctor
            assert doctor.stderr == ""

            assert "group protocol: classic" in stage.start_agent("classic", CLASSIC).ask("doctor").stdout
    finally:
        kafka.close()


def _halves(stage: Stage) -> tuple[list[Order], list[Order]]:
    """Runs that Port can be asked about: of a node run a new owner cannot learn whether it has ended.

    Each half takes two agents some seconds at least, for a quarter of it sleeps.
    """
    placed = orders(seeded(), 1000, stage.org, stage.port.client_secret)
    asked = [order for order in placed if order.shape != "node_run"]
    return asked[::2], asked[1::2]


def _stop_at_once(agents: Sequence[AgentProcess]) -> None:
    """Of agents that are stopped one after the other, the last would do the others' work meanwhile."""
    for agent in agents:
        agent.send(signal.SIGTERM)
    for agent in agents:
        assert agent.wait(timeout_s=60) == 0, agent.tail()
