"""Replicas beyond the partitions: they have nothing to do, are ready, and take over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broker.agent_process import AgentProcess
from tests.broker.chance import seeded
from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.broker.workload import orders

pytestmark = pytest.mark.kafka

REPLICAS = 3


def sum_of(agent: AgentProcess, name: str) -> float:
    """Over all series of a metric; 0 while the agent does not tell."""
    return (agent.metrics() or {}).get(name, 0.0)


def assigned(agents: list[AgentProcess]) -> list[float]:
    return [sum_of(agent, "agent_kafka_assigned_partitions") for agent in agents]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_replica_without_partitions_is_ready_executes_nothing_and_takes_over(
    kafka: RealKafka, tmp_path: Path, protocol: str
) -> None:
    """Two topics with a partition each keep two of three busy."""
    chance = seeded()
    with Stage(kafka, tmp_path, f"org_T3stBy{protocol}") as stage:
        stage.make_topics(partitions=1)
        settings = {"AGENT_KAFKA_GROUP_PROTOCOL": protocol}
        agents = [stage.start_agent(f"agent-{n}", settings) for n in range(REPLICAS)]
        for agent in agents:
            agent.wait_ready()
        wait_until(lambda: sorted(assigned(agents)) == [0, 1, 1], timeout_s=60, what=stage.report)
        stand_by = agents[assigned(agents).index(0)]

        first = orders(chance, 60, stage.org, stage.port.client_secret)
        stage.place(first[:40])
        stage.wait_finished(timeout_s=60)
        [busy] = [agent for agent in agents if sum_of(agent, "agent_runs_started_total")]
        assert busy is not stand_by
        assert sum_of(stand_by, "agent_kafka_messages_consumed_total") == 0
        assert (stand_by.probe("/readyz"), stand_by.probe("/livez")) == (200, 200)
        stage.wait_committed()

        assert busy.stop(timeout_s=60) == 0, busy.tail()
        stage.place(first[40:])
        stage.wait_finished(timeout_s=120)
        stage.wait_committed()
        assert sum_of(stand_by, "agent_runs_started_total") == 20
        assert stand_by.probe("/readyz") == 200
        stage.check_each_run_once()
