"""A partition goes while its runs are in flight: what its last owner learns of them then is not committed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from agent.delivery.offset_map import Mark
from tests.broker.agent_process import AgentProcess
from tests.broker.kafka_client import Committed
from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.faults.dying_agent import ANSWERED_LATE
from tests.faults.gated import Gated

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

COUNT = 12


def assigned(agent: AgentProcess, topic: str) -> set[int]:
    """The partitions of ``topic`` that it was given last, by its log."""
    lines = [json.loads(line) for line in agent.output().splitlines() if '"partitions assigned"' in line]
    return set(lines[-1]["partitions"].get(topic, [])) if lines else set()


def committed(stage: Stage, partitions: set[int]) -> dict[int, Committed]:
    return {p: one for p, one in stage.client.committed(stage.group, stage.topic).items() if p in partitions}


def offsets(stage: Stage) -> dict[int, int | None]:
    return {p: one.offset for p, one in committed(stage, {0, 1, 2}).items()}


def marks(stage: Stage, mark: Mark) -> int:
    return sum(known.marks.count(mark) for known in stage.offset_maps().values())


def test_runs_of_a_revoked_partition_are_told_by_their_agent_and_committed_by_the_new_owner(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "org_T3stRevoked") as stage:
        gated = Gated(stage)
        first = stage.start_agent("first")
        first.wait_ready()
        run_ids = gated.place("gated", COUNT)
        wait_until(lambda: gated.worklog.begun() == COUNT, timeout_s=60, what=stage.report)
        second = stage.start_agent("second")
        moved = wait_until(lambda: assigned(second, stage.topic), timeout_s=60, what=stage.report)
        kept = {0, 1, 2} - moved
        assert kept, "the first agent kept no partition"
        wait_until(lambda: "may be at this run still" in second.output(), timeout_s=60, what=stage.report)
        handed_over = committed(stage, moved)

        second.send(signal.SIGSTOP)  # or it might find out that they ended, and commit that itself
        gated.open("gated")
        stage.wait_finished(timeout_s=60)
        ends = {p: end for p, end in stage.client.end_offsets(stage.topic).items() if p in kept}
        wait_until(
            lambda: {p: one.offset or 0 for p, one in committed(stage, kept).items()} == ends,
            timeout_s=30,
            what=stage.report,
        )
        assert committed(stage, moved) == handed_over, stage.report()
        second.send(signal.SIGCONT)
        stage.wait_committed()
        for agent in (first, second):
            assert agent.stop(timeout_s=30) == 0, agent.tail()

        assert [gated.statuses(run_id) for run_id in run_ids] == [(["SUCCESS"], [])] * COUNT, stage.report()
        executed = gated.worklog.by_run()
        assert [len(executed[run_id]) for run_id in run_ids] == [1] * COUNT
        assert {known.marks for known in stage.offset_maps().values()} == {b""}


def test_what_a_frozen_agent_learns_of_lost_partitions_is_not_committed(kafka: RealKafka, tmp_path: Path) -> None:
    settings = {"KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000", "AGENT_CLOSE_CHECK_S": "0"}
    with Stage(kafka, tmp_path, "org_T3stLost") as stage:
        gated = Gated(stage)
        frozen = stage.start_agent("frozen", settings)
        frozen.wait_ready()
        run_ids = gated.place("gated", COUNT)
        wait_until(lambda: gated.worklog.begun() == COUNT, timeout_s=60, what=stage.report)
        wait_until(lambda: marks(stage, Mark.STARTED) == COUNT, timeout_s=30, what=stage.report)
        frozen.send(signal.SIGSTOP)
        heir = stage.start_agent("heir", settings)
        stage.wait_finished(timeout_s=60)  # interrupted, as far as anybody can know
        stage.wait_committed()
        later = gated.place("later", 6)
        wait_until(lambda: gated.worklog.begun() == COUNT + len(later), timeout_s=60, what=stage.report)
        wait_until(lambda: marks(stage, Mark.STARTED) == len(later), timeout_s=30, what=stage.report)
        taken_over = offsets(stage)

        frozen.send(signal.SIGCONT)
        wait_until(lambda: "partitions lost" in frozen.output(), timeout_s=60, what=stage.report)
        gated.open("gated")
        wait_until(
            lambda: frozen.output().count("report refused by Port") == COUNT, timeout_s=60, what=stage.report
        )
        # Now it has settled what was its own once. Others' commits go on meanwhile, and must be all there is.
        gated.open("after")
        after = gated.place("after", COUNT)
        wait_until(lambda: marks(stage, Mark.DONE) == len(after), timeout_s=60, what=stage.report)
        assert marks(stage, Mark.STARTED) == len(later), stage.report()
        assert offsets(stage) == taken_over, stage.report()
        gated.open("later")
        stage.wait_finished(timeout_s=60)
        stage.wait_committed()
        for agent in (frozen, heir):
            assert agent.stop(timeout_s=30) == 0, agent.tail()

        told = (["FAILURE"], ["SUCCESS"])
        assert [gated.statuses(run_id) for run_id in run_ids] == [told] * COUNT, stage.report()
        others = (*later, *after)
        assert [gated.statuses(run_id) for run_id in others] == [(["SUCCESS"], [])] * len(others), stage.report()
        executed = gated.worklog.by_run()
        assert [len(executed[run_id]) for run_id in (*run_ids, *others)] == [1] * (COUNT + len(others))
        assert {known.marks for known in stage.offset_maps().values()} == {b""}


def test_a_run_that_was_given_up_while_its_agent_stood_still_before_its_start_does_not_begin_there(
    kafka: RealKafka, tmp_path: Path
) -> None:
    settings = {"KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000"}
    with Stage(kafka, tmp_path, "org_T3stLate") as stage:
        gated = Gated(stage)
        gated.open("open")
        frozen = stage.start_agent("frozen", settings, ("tests.faults.dying_agent", ANSWERED_LATE))
        frozen.wait_ready()
        [run_id] = gated.place("open", 1)
        wait_until(lambda: frozen.stands_still, timeout_s=60, what=stage.report)
        heir = stage.start_agent("heir", settings)
        stage.wait_finished(timeout_s=60)

        frozen.send(signal.SIGCONT)
        wait_until(lambda: "partitions lost" in frozen.output(), timeout_s=60, what=stage.report)
        wait_until(lambda: frozen.output().count('"partitions assigned"') > 1, timeout_s=60, what=stage.report)
        for agent in (frozen, heir):
            assert agent.stop(timeout_s=30) == 0, agent.tail()
        assert gated.statuses(run_id) == (["FAILURE"], []), stage.report()
        assert gated.worklog.by_run() == {}, stage.report()
