"""``kill -9`` at each point of a run's way: it has one end in Port, and is not silently repeated."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.broker.real_kafka import RealKafka
from tests.faults.dying_agent import POINTS
from tests.faults.kill_play import Case, End, played

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(420)]

AT_ONCE = 6
POLICIES = ("fail", "rerun")
CASES = (
    *(Case(point, policy) for point in POINTS if point != "outcome-kept" for policy in POLICIES),
    *(Case(point, policy, "same") for point in ("outcome-kept", "status-accepted") for policy in POLICIES),
)

Ends = Mapping[Case, End]


@pytest.fixture(scope="module")
def ends(kafka: RealKafka, tmp_path_factory: pytest.TempPathFactory) -> Ends:
    """All cases, several at once, for most of their time is spent on waiting for a session to end."""
    home = tmp_path_factory.mktemp("kill")

    def play(case: Case) -> End:
        return played(case, kafka, home / f"{case.point}-{case.policy}-{case.heir}")

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return dict(zip(CASES, threads.map(play, CASES), strict=True))


policies = pytest.mark.parametrize("policy", POLICIES)


def check_executed_once_and_told(end: End) -> None:
    assert end.statuses == ["SUCCESS"], end.report
    assert end.refused == [], end.report
    assert end.attempts == [1], end.report


def check_interrupted(end: End, policy: str, *, begun: bool) -> None:
    """Whoever takes the run over knows only that it was begun; ``begun``: whether it truly was."""
    first = [1] if begun else []
    if policy == "fail":
        assert end.statuses == ["FAILURE"], end.report
        assert end.summary.startswith("interrupted while running on "), end.summary
        assert end.attempts == first, end.report
    else:
        assert end.statuses == ["SUCCESS"], end.report
        assert end.attempts == [*first, 2], end.report
    assert end.refused == [], end.report


@policies
def test_kill_after_a_record_was_polled_lets_the_next_agent_execute_it(ends: Ends, policy: str) -> None:
    check_executed_once_and_told(ends[Case("polled", policy)])


@policies
def test_kill_while_a_run_is_queued_lets_the_next_agent_execute_it(ends: Ends, policy: str) -> None:
    check_executed_once_and_told(ends[Case("queued", policy)])


@policies
def test_kill_before_the_marker_is_sent_lets_the_next_agent_execute_it(ends: Ends, policy: str) -> None:
    check_executed_once_and_told(ends[Case("marker-unsent", policy)])


@policies
def test_kill_between_the_marker_and_the_start_counts_as_interrupted(ends: Ends, policy: str) -> None:
    check_interrupted(ends[Case("marker-taken", policy)], policy, begun=False)


@policies
def test_kill_after_the_child_was_started_counts_as_interrupted(ends: Ends, policy: str) -> None:
    check_interrupted(ends[Case("child-started", policy)], policy, begun=True)


@policies
def test_kill_after_the_child_exited_and_before_anybody_knows_counts_as_interrupted(
    ends: Ends, policy: str
) -> None:
    check_interrupted(ends[Case("child-exited", policy)], policy, begun=True)


@policies
def test_kill_between_child_exit_and_status_is_reported_once(ends: Ends, policy: str) -> None:
    """The agent's journal has the outcome: once it is back it tells Port, and executes nothing."""
    check_executed_once_and_told(ends[Case("outcome-kept", policy, "same")])


@policies
def test_kill_between_child_exit_and_status_is_told_by_another_agent(ends: Ends, policy: str) -> None:
    """The journal lies on the disk of the one that is gone; how the run ended stands in the commit as well."""
    end = ends[Case("end-committed", policy)]
    check_executed_once_and_told(end)
    assert end.summary.startswith("succeeded on "), end.summary


@pytest.mark.parametrize("heir", ["same", "other"])
@policies
def test_kill_after_the_status_was_accepted_tells_nothing_again(ends: Ends, policy: str, heir: str) -> None:
    check_executed_once_and_told(ends[Case("status-accepted", policy, heir)])


@policies
def test_kill_before_the_commit_tells_nothing_again(ends: Ends, policy: str) -> None:
    check_executed_once_and_told(ends[Case("before-commit", policy)])


@policies
def test_kill_after_the_commit_leaves_nothing_to_do(ends: Ends, policy: str) -> None:
    check_executed_once_and_told(ends[Case("after-commit", policy)])
