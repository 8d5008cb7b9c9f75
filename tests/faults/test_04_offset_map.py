"""What is committed is moved, deleted or spoilt by hand between two lives of an agent, or the log is cut: no run is
lost, and none is executed again that Port knows as ended.

How maps are spelled and read is proven in `tests.delivery.test_offset_map` and `tests.fuzz`; that a real broker
takes the longest one, in `tests.faults.test_05_map_size`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.faults.gated import Gated
from tests.faults.moved_commits import CUT, MOVES, Fate, Story, played

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

DONE, OPEN = ["SUCCESS"], list[str]()
NO_MAP_OF_OURS = (
    "up, metadata kept",
    "down, metadata kept",
    "foreign metadata",
    "damaged",
    "cut off",
    "not base64",
    "older version",
)


@pytest.fixture(scope="module")
def story(kafka: RealKafka, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return played(kafka, tmp_path_factory.mktemp("moved"))


def check_only_what_had_not_ended_was_executed(fate: Fate, stuck: list[int]) -> None:
    assert fate.statuses == [DONE] * 7, fate.report
    assert fate.attempts == [[1], [1], stuck, [1], [1], [1], [1]], fate.report


def test_by_a_map_that_nobody_touched_only_the_run_that_was_begun_is_asked_about(story: Story) -> None:
    fate = story.fates["untouched"]
    check_only_what_had_not_ended_was_executed(fate, [1, 2])
    assert fate.looked_up == [0, 0, 1, 0, 0, 0, 0], fate.report


@pytest.mark.parametrize("move", sorted(set(MOVES) - set(CUT) - {"untouched", "up", "up, metadata kept"}))
def test_without_a_map_what_had_ended_is_asked_about_and_the_rest_is_executed(story: Story, move: str) -> None:
    fate = story.fates[move]
    check_only_what_had_not_ended_was_executed(fate, [1, 1])
    assert fate.looked_up == [1] * 7 if move.startswith(("down", "past")) else [0, 0, 1, 1, 1, 1, 1], fate.report


@pytest.mark.parametrize("move", ["up", "up, metadata kept"])
def test_what_a_commit_was_moved_over_by_hand_is_left_as_it_is(story: Story, move: str) -> None:
    fate = story.fates[move]
    assert fate.statuses == [DONE, DONE, OPEN, DONE, DONE, DONE, DONE], fate.report
    assert fate.attempts == [[1]] * 7, fate.report
    assert fate.looked_up == [0, 0, 0, 0, 1, 1, 1], fate.report


@pytest.mark.parametrize("move", sorted(CUT))
def test_of_a_log_that_was_cut_above_the_commit_the_rest_is_executed_and_the_map_still_counts(
    story: Story, move: str
) -> None:
    fate = story.fates[move]
    assert fate.statuses == [DONE, DONE, OPEN, DONE, DONE, DONE, DONE], fate.report
    assert fate.attempts == [[1]] * 7, fate.report
    assert fate.looked_up == [0] * 7, fate.report


def test_metadata_that_is_no_map_is_told_once_a_minute_with_its_place(story: Story) -> None:
    lines = [json.loads(line) for line in story.log.splitlines() if '"source failing"' in line]
    assert {line["code"] for line in lines} == {"offset_map"}, lines
    assert len(lines) == 1, lines  # of seven partitions, within a moment
    told = lines[0]["detail"]
    assert "is no offset map of ours: passed over" in told
    assert any(f"org_F4Moved.runs[{list(MOVES).index(move)}]@" in told for move in NO_MAP_OF_OURS), told


def test_after_all_that_was_committed_is_deleted_nothing_that_has_ended_is_executed_again(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with Stage(kafka, tmp_path, "org_F4Deleted") as stage:
        gated = Gated(stage)
        gated.open("open")
        ended = gated.place("open", 8)
        first = stage.start_agent("first")
        stage.wait_finished(timeout_s=60)
        assert first.stop(timeout_s=60) == 0, first.tail()

        stage.client.delete_group(stage.group)
        gated.open("new")
        new = gated.place("new", 4)
        second = stage.start_agent("second")
        stage.wait_finished(timeout_s=60)
        stage.wait_committed()
        assert second.stop(timeout_s=60) == 0, second.tail()
        assert [gated.statuses(run_id) for run_id in (*ended, *new)] == [(["SUCCESS"], [])] * 12, stage.report()
        executed = gated.worklog.by_run()
        assert [len(executed[run_id]) for run_id in (*ended, *new)] == [1] * 12, stage.report()
