"""An agent that takes over with a live backlog from one that is not of its version: what has ended in Port is not
executed again, what is new is executed, and looking up costs one request a message at most.

That an older version's map, or a damaged one, is passed over likewise stands in `tests.faults.test_04_offset_map`;
two agents of which one is killed in the middle, in `tests.faults.test_02_comings_and_goings`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message

from tests.broker.kafka_client import Committed
from tests.broker.real_kafka import AGENT, RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.faults.gated import Gated

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

ONE_PARTITION = 0
SETTINGS = {"AGENT_CLOSE_CHECK_S": "0"}
"""It asks about runs as well."""


class OfficialAgent:
    """The way of Port's own agent: one message at a time, each committed without metadata once it was handled."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        config = {**stage.kafka.client_config(AGENT), "group.id": stage.group, "enable.auto.commit": False}
        self._consumer = Consumer({**config, "auto.offset.reset": "earliest"})
        self._consumer.subscribe([stage.topic])

    def handle(self, count: int) -> None:
        """So many runs from beginning to end, and their commits."""
        for _ in range(count):
            message = self._handled()
            self._consumer.commit(message=message, asynchronous=False)

    def handle_and_die(self) -> None:
        """One more run ends in Port, and its commit is never made."""
        self._handled()
        self._consumer.close()

    def _handled(self) -> Message:
        message = wait_until(lambda: self._consumer.poll(0.2), timeout_s=60, what=self._stage.report)
        assert message is not None
        assert message.error() is None, message.error()
        body = message.value()
        assert body is not None
        self._stage.port.end_run(json.loads(body)["context"]["runId"])
        return message


def asked(stage: Stage, run_ids: Sequence[str]) -> Counter[str]:
    """How often Port was asked how far each run is."""
    requests = stage.port.ledger()["requests"]
    return Counter(r["run_id"] for r in requests if r["method"] == "GET" and r["run_id"] in run_ids)


def check_taken_over(stage: Stage, gated: Gated, ended: Sequence[str], left: Sequence[str]) -> None:
    """Those that had ended were left alone, the others were executed once, and all is committed."""
    assert [gated.statuses(run_id) for run_id in (*ended, *left)] == [(["SUCCESS"], [])] * len((*ended, *left)), (
        stage.report()
    )
    executed = gated.worklog.by_run()
    assert set(executed) == set(left), stage.report()
    assert {len(executions) for executions in executed.values()} == {1}, stage.report()


def test_after_the_official_agent_died_between_a_status_and_its_commit_the_rest_is_executed(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "org_F21Official") as stage:
        gated = Gated(stage, partitions=1)
        gated.open("open")
        run_ids = gated.place("open", 12)
        official = OfficialAgent(stage)
        official.handle(5)
        official.handle_and_die()
        assert stage.client.committed(stage.group, stage.topic) == {ONE_PARTITION: Committed(5, "")}

        agent = stage.start_agent("agent", SETTINGS)
        agent.wait_ready()
        gated.open("late")
        late = gated.place("late", 3)
        stage.wait_finished(timeout_s=60)
        stage.wait_committed()
        assert agent.stop(timeout_s=60) == 0, agent.tail()
        check_taken_over(stage, gated, run_ids[:6], [*run_ids[6:], *late])
        looked_up = asked(stage, [*run_ids, *late])
        assert looked_up.keys() & set(run_ids) == set(run_ids[5:])
        assert set(looked_up.values()) == {1}, looked_up


def test_while_the_official_agent_is_there_still_an_agent_waits_and_takes_over_once_it_has_left(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "org_F21Overlap") as stage:
        gated = Gated(stage, partitions=1)
        gated.open("open")
        run_ids = gated.place("open", 8)
        official = OfficialAgent(stage)
        official.handle(2)
        agent = stage.start_agent("agent", SETTINGS)
        wait_until(lambda: "NCONSISTENT" in agent.output(), timeout_s=60, what=stage.report)
        official.handle(2)
        official.handle_and_die()
        stage.wait_finished(timeout_s=90)
        stage.wait_committed()
        assert agent.stop(timeout_s=60) == 0, agent.tail()
        check_taken_over(stage, gated, run_ids[:5], run_ids[5:])


def test_the_map_of_a_newer_version_is_passed_over_and_what_had_ended_is_asked_about(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "org_F21Newer") as stage:
        gated = Gated(stage, partitions=1)
        run_ids = gated.place("open", 10)
        ended = [run_ids[n] for n in (0, 1, 3, 4, 8)]
        for run_id in ended:
            stage.port.end_run(run_id)
        newer = "AM9zQ.a1-newer_way~of~spelling/it{}:" + "0123456789" * 300
        stage.client.set_committed(stage.group, stage.topic, {ONE_PARTITION: Committed(2, newer)})

        gated.open("open")
        agent = stage.start_agent("agent", SETTINGS)
        stage.wait_finished(timeout_s=60)
        stage.wait_committed()
        assert agent.stop(timeout_s=60) == 0, agent.tail()
        check_taken_over(stage, gated, ended, [run_id for run_id in run_ids if run_id not in ended])
        assert asked(stage, run_ids) == dict.fromkeys(run_ids[2:], 1)
        assert agent.output().count("is no offset map of ours: passed over") == 1, agent.tail()
