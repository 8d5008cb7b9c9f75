"""Faults of the broker while runs are in flight: it is down for a while, it refuses the password for a while, it
answers no commit for a while, the broker that coordinates the group is killed and the other one takes over.

A restart of the broker in the middle of runs stands in `tests.broker.test_real_kafka`.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.broker.chance import seeded
from tests.broker.real_kafka import Account, RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.broker.workload import orders
from tests.faults.three_nodes import ThreeNodes

pytestmark = pytest.mark.kafka

DOWN_S = 20.0
COMMIT_PATIENCE_S = 30.0


@pytest.mark.timeout(240)
def test_runs_in_flight_finish_and_report_while_the_broker_is_down_and_their_commits_catch_up(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "org_F6Down", pause_s=2) as stage:
        stage.make_topics()
        agent = stage.start_agent("agent", {"AGENT_MAX_CONCURRENT_RUNS": "20"})
        agent.wait_ready()
        stage.place(orders(seeded(), 60, stage.org, stage.port.client_secret))
        stage.wait_executed(20)
        begun = set(stage.executions.by_run())
        kafka.kill()
        down_until_s = time.monotonic() + DOWN_S
        assert stage.port.unfinished() > 0, "the broker went too late: all runs had ended"

        def are_reported() -> bool:
            runs = stage.port.runs()
            return all(runs[run_id]["terminal_statuses"] for run_id in begun)

        wait_until(are_reported, timeout_s=DOWN_S, what=lambda: f"{len(begun)} runs to end:\n{agent.tail()}")
        assert agent.probe("/livez") == 200
        wait_until(lambda: time.monotonic() > down_until_s, timeout_s=DOWN_S + 5, what="the outage to last")
        kafka.start()
        stage.wait_finished(timeout_s=90)
        stage.wait_committed()
        assert agent.stop(timeout_s=30) == 0, agent.tail()
        stage.check_each_run_once()


@pytest.mark.timeout(240)
def test_a_password_that_is_refused_for_a_while_and_then_taken_again_loses_nothing(
    kafka: RealKafka, tmp_path: Path
) -> None:
    right, wrong = Account("flickering", "made-up-password"), Account("flickering", "another-password")
    with Stage(kafka, tmp_path, "org_F6Sasl", account=right, pause_s=0.3) as stage:
        stage.client.set_password(right)
        stage.make_topics()
        agent = stage.start_agent("agent", {"AGENT_MAX_CONCURRENT_RUNS": "8"})
        agent.wait_ready()
        stage.place(orders(seeded(), 200, stage.org, stage.port.client_secret))
        stage.wait_executed(60)
        stage.client.set_password(wrong)
        kafka.stop()
        assert stage.port.unfinished() > 0, "the broker stopped too late: all runs had ended"
        kafka.start()
        wait_until(lambda: "uthentication" in agent.output(), timeout_s=60, what=agent.tail)
        stage.client.set_password(right)  # Port gave out the right one all the time
        stage.wait_finished(timeout_s=90)
        stage.wait_committed()
        assert agent.stop(timeout_s=30) == 0, agent.tail()
        stage.check_each_run_once()


@pytest.mark.timeout(300)
def test_a_broker_that_answers_no_commit_for_longer_than_the_agent_waits_loses_nothing(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "org_F6Mute", pause_s=0.3) as stage:
        stage.make_topics()
        agent = stage.start_agent("agent", {"AGENT_MAX_CONCURRENT_RUNS": "8"})
        agent.wait_ready()
        stage.place(orders(seeded(), 200, stage.org, stage.port.client_secret))
        stage.wait_executed(60)
        kafka.freeze()
        try:
            mute_until_s = time.monotonic() + COMMIT_PATIENCE_S + 5
            wait_until(
                lambda: time.monotonic() > mute_until_s, timeout_s=COMMIT_PATIENCE_S + 10, what="the silence"
            )
            assert agent.probe("/livez") == 200
            assert stage.port.unfinished() > 0, "the broker fell silent too late: all runs had ended"
        finally:
            kafka.thaw()
        stage.wait_finished(timeout_s=120)
        stage.wait_committed()
        assert agent.stop(timeout_s=30) == 0, agent.tail()
        stage.check_each_run_once()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_runs_go_on_when_the_broker_that_coordinates_their_group_is_killed(
    kafka_libs: Path, tmp_path: Path, protocol: str
) -> None:
    kafka = ThreeNodes(kafka_libs, tmp_path / "kafka")
    try:
        kafka.start()
        with Stage(kafka, tmp_path, "org_F6Move", pause_s=0.3) as stage:
            stage.make_topics()
            settings = {"AGENT_MAX_CONCURRENT_RUNS": "8", "AGENT_KAFKA_GROUP_PROTOCOL": protocol}
            agent = stage.start_agent("agent", settings)
            agent.wait_ready()
            stage.place(orders(seeded(), 300, stage.org, stage.port.client_secret))
            stage.wait_executed(60)
            kafka.kill_coordinator()
            assert stage.port.unfinished() > 0, "it was killed too late: all runs had ended"
            stage.wait_finished(timeout_s=120)
            stage.wait_committed()
            assert agent.stop(timeout_s=30) == 0, agent.tail()
            stage.check_each_run_once()
    finally:
        kafka.close()
