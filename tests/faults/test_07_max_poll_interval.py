"""Slow work: runs that last three times as long as a consumer may stay away from its polls."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError

from tests.broker.chance import seeded
from tests.broker.kafka_client import KafkaClient
from tests.broker.real_kafka import AGENT, RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.broker.workload import orders

pytestmark = pytest.mark.kafka

INTERVAL_S = 10
RUN_S = 30

SHORT_INTERVAL = f"""\
import agent.kafka.source as source

full = source.consumer_config


def short(*given):
    changed = {{"max.poll.interval.ms": {INTERVAL_S * 1000}, "session.timeout.ms": 6000}}
    return full(*given) | changed


source.consumer_config = short
"""
"""Is imported by the agent's interpreter as it starts: the product itself knows no interval so short."""


@pytest.mark.timeout(240)
def test_runs_three_times_as_long_as_the_interval_cost_the_agent_no_partition(
    kafka: RealKafka, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SHORT_INTERVAL)
    with Stage(kafka, tmp_path, "org_F7Slow", pause_s=RUN_S) as stage:
        stage.make_topics()
        agent = stage.start_agent("agent", {"PYTHONPATH": str(tmp_path), "AGENT_MAX_CONCURRENT_RUNS": "60"})
        agent.wait_ready()
        chance = seeded()
        placed = orders(chance, 60, stage.org, stage.port.client_secret)
        slow = [order.run_id for order in placed if order.executor == "process"]
        assert slow
        began_s = time.monotonic()
        stage.place(placed)
        stage.wait_finished(timeout_s=RUN_S + 60)
        assert time.monotonic() - began_s >= RUN_S > 2 * INTERVAL_S
        stage.wait_committed(timeout_s=30)
        moved = [
            line
            for line in agent.output().splitlines()
            if "partitions revoked" in line or "partitions lost" in line
        ]
        assert moved == []
        assert "MAX_POLL" not in agent.output()
        assert agent.stop(timeout_s=60) == 0, agent.tail()
        stage.check_each_run_once()


def test_a_consumer_that_does_its_work_between_its_polls_is_thrown_out(
    kafka: RealKafka, client: KafkaClient
) -> None:
    """The test above could not fail if Kafka did not insist."""
    client.create_topic("org_f7.runs", 1)
    client.allow_agent("org_f7")
    settings = {
        "group.id": "org_f7.agent",
        "session.timeout.ms": 6000,
        "max.poll.interval.ms": INTERVAL_S * 1000,
        "auto.offset.reset": "earliest",
        "log_level": 0,
    }
    client.produce("org_f7.runs", [b"work"])
    with Consumer({**kafka.client_config(AGENT), **settings}) as consumer:
        consumer.subscribe(["org_f7.runs"])
        message = consumer.poll(20)
        assert message is not None
        assert message.value() == b"work"
        wait_until(
            lambda: client.members("org_f7.agent") == 0, timeout_s=RUN_S, what="the group to lose its member"
        )
        late = consumer.poll(5)
        assert late is not None
        error = late.error()
        assert error is not None
        assert error.code() == KafkaError._MAX_POLL_EXCEEDED
