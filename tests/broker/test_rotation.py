"""Kafka's credentials are rotated while the agent works: the broker has new ones, and later Port gives them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.broker.chance import seeded
from tests.broker.real_kafka import Account, RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.broker.workload import orders

pytestmark = pytest.mark.kafka


@pytest.mark.timeout(240)
def test_a_password_that_is_changed_in_the_middle_of_runs_loses_nothing(kafka: RealKafka, tmp_path: Path) -> None:
    old, new = Account("rotating", "old-made-up-password"), Account("rotating", "new-made-up-password")
    with Stage(kafka, tmp_path, "org_T3stRotate", account=old, pause_s=0.3) as stage:
        stage.client.set_password(old)
        stage.make_topics()
        agent = stage.start_agent("agent", {"AGENT_MAX_CONCURRENT_RUNS": "8"})
        agent.wait_ready()
        stage.place(orders(seeded(), 300, stage.org, stage.port.client_secret))
        stage.wait_executed(60)

        stage.client.set_password(new)
        kafka.stop()  # no connection outlives it: the agent must log in anew
        assert stage.port.unfinished() > 0, "the broker stopped too late: all runs had ended"
        kafka.start()
        wait_until(lambda: "uthentication" in agent.output(), timeout_s=60, what=agent.tail)
        assert agent.probe("/livez") == 200
        stage.give_out(new)

        stage.wait_finished(timeout_s=90)
        stage.wait_committed()
        assert agent.stop(timeout_s=30) == 0, agent.tail()
        stage.check_each_run_once()
        assert [p for p in (old.password, new.password) if p in agent.output()] == []


@pytest.mark.timeout(240)
def test_brokers_that_are_all_others_now_end_the_agent_in_order_and_the_next_one_repeats_nothing(
    kafka: RealKafka, tmp_path: Path
) -> None:
    old, new = Account("moving", "old-made-up-password"), Account("moving", "new-made-up-password")
    with Stage(kafka, tmp_path, "org_T3stMoved", account=old, pause_s=0.3) as stage:
        stage.client.set_password(old)
        stage.make_topics()
        agent = stage.start_agent("agent", {"AGENT_MAX_CONCURRENT_RUNS": "8"})
        agent.wait_ready()
        placed = orders(seeded(), 250, stage.org, stage.port.client_secret)
        # What the agent cannot commit any more the next one asks Port about, which tells nothing of node runs.
        stage.place([order for order in placed if order.shape != "node_run"])
        stage.wait_executed(60)

        stage.client.set_password(new)
        stage.give_out(new, brokers=["127.0.0.1:9"])
        kafka.stop()
        kafka.start()
        assert agent.wait(timeout_s=120) == 1, agent.tail()
        assert "the organisation's brokers have changed: a new start takes the new ones" in agent.output()

        stage.give_out(new)
        heir = stage.start_agent("heir")
        stage.wait_finished(timeout_s=90)
        stage.wait_committed()
        assert heir.stop(timeout_s=30) == 0, heir.tail()
        stage.check_each_run_once()
