"""Facts as lines: levels, words, and the bound on what repeats itself."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from structlog.testing import CapturingLogger

from agent.domain import events as ev
from agent.observability.log_observer import LogObserver
from tests.observability.helpers import ONE_OF_EACH, RUN, HeldClock

QUIET = {
    ev.RunReceived,
    ev.RunRedelivered,
    ev.WaitingChanged,
    ev.ApiRequested,
    ev.RateBudget,
    ev.LogSent,
    ev.LogTruncated,
    ev.Consumed,
    ev.Polled,
    ev.PartitionStatus,
    ev.TargetRequested,
    ev.SpansSent,
}
"""Facts that are numbers rather than news."""

REFUSED = "GET https://api.port.io/v1/organization: cannot connect to api.port.io:443: Connection refused"


def lines(*events: ev.Event, clock: HeldClock | None = None) -> list[tuple[str, str, dict[str, Any]]]:
    """Level, event and keys of the lines that ``events`` make."""
    logger = CapturingLogger()
    observer = LogObserver(clock or HeldClock(), logger)
    for event in events:
        observer.notify(event)
    return [(call.method_name, call.args[0], dict(call.kwargs)) for call in logger.calls]


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_every_fact_is_a_line_or_meant_to_be_quiet(event: ev.Event) -> None:
    assert len(lines(event)) == (0 if type(event) in QUIET else 1)


def test_what_is_quiet_are_facts() -> None:
    assert set(get_args(ev.Event)) > QUIET


def test_a_run_can_be_followed_by_its_id() -> None:
    found = lines(
        ev.RunStarted("process", "create", RUN, "create_service", 0.25),
        ev.RunFinished("process", "create", RUN, "failure", "exit_code", "exit code 3", 12.3456, "create_service"),
        ev.RunReported("create", RUN, "delivered"),
    )

    assert [(level, event) for level, event, _ in found] == [
        ("info", "run started"),
        ("info", "run finished"),
        ("debug", "run reported"),
    ]
    assert {about["run_id"] for _, _, about in found} == {RUN}
    assert {about["route"] for _, _, about in found} == {"create"}
    assert found[1][2] == {
        "run_id": RUN,
        "route": "create",
        "action": "create_service",
        "executor": "process",
        "outcome": "failure",
        "duration_s": 12.346,
        "reason": "exit_code",
        "detail": "exit code 3",
    }


def test_a_run_that_no_executor_saw_names_its_action_too() -> None:
    ((_, _, about),) = lines(ev.RunFinished("none", "unrouted", RUN, "failure", "no_route", "no", 0.0, "misspelt"))

    assert about["action"] == "misspelt"


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (ev.MessageIgnored("kafka", "unrouted"), "debug"),
        (ev.MessageRejected("kafka", "signature", "does not match", RUN), "warning"),
        (ev.RunReported("create", RUN, "undelivered", "no answer"), "warning"),
        (ev.RunReported("create", RUN, "refused", "422"), "warning"),
        (ev.LogDropped(3, "cap"), "debug"),
        (ev.LogDropped(3, "undelivered"), "warning"),
        (ev.Rebalanced("assigned", ()), "info"),
        (ev.Rebalanced("lost", ()), "warning"),
        (ev.TargetSilent("ops:443", 10, "silence", 5.0, 1), "warning"),
        (ev.TargetAnswered("ops:443", answered=True, silent_targets=0), "info"),
        (ev.SourceFailed("_TRANSPORT", "down"), "warning"),
        (ev.SourceFailed("_FATAL", "fenced", fatal=True), "error"),
        (ev.Committed("_TIMED_OUT"), "warning"),
        (ev.TokenRefreshed("error"), "warning"),
        (ev.TokenRefreshed("refused"), "error"),
        (ev.RoutesReloaded(ok=True, routes=3), "info"),
        (ev.RoutesReloaded(ok=False, routes=3, problems=("x",)), "warning"),
        (ev.ReadyChanged(ready=False, reason="lost"), "info"),
        (ev.DrainStarted(2, 1, 30), "info"),
    ],
    ids=str,
)
def test_levels(event: ev.Event, level: str) -> None:
    assert [found for found, _, _ in lines(event)] == [level]


@pytest.mark.parametrize("event", [ev.Committed("ok"), ev.TokenRefreshed("ok")], ids=str)
def test_what_goes_well_is_no_news(event: ev.Event) -> None:
    assert lines(event) == []


def test_the_same_trouble_is_told_once_a_minute_with_a_count() -> None:
    clock = HeldClock()
    logger = CapturingLogger()
    observer = LogObserver(clock, logger)

    for _ in range(130):
        observer.notify(ev.SourceFailed("_ALL_BROKERS_DOWN", "3/3 brokers are down"))
        observer.notify(ev.ApiRetried("/v1/organization", "connection", REFUSED))
        observer.notify(ev.TokenRefreshed("error", REFUSED))
        clock.pass_s(1)

    told = [call.kwargs for call in logger.calls if call.args[0] == "source failing"]
    assert [about["repeated"] for about in told] == [0, 59, 59]
    assert told[0]["code"] == "_ALL_BROKERS_DOWN"
    for line in ("port api failing", "port token not granted"):
        details = [call.kwargs["detail"] for call in logger.calls if call.args[0] == line]
        assert details == [REFUSED] * 3


FAILED, ANSWERED = (ev.ApiRequested("/v1/organization", "GET", code, 0.1) for code in ("503", "404"))


def again(*events: ev.Event | float) -> list[dict[str, Any]]:
    """What is told of Port's return; numbers are seconds that pass."""
    clock, logger = HeldClock(), CapturingLogger()
    observer = LogObserver(clock, logger)
    for event in events:
        if isinstance(event, float):
            clock.pass_s(event)
        else:
            observer.notify(event)
    return [dict(call.kwargs) for call in logger.calls if call.args[0] == "port api answers again"]


RETRIED = ev.ApiRetried("/v1/organization", "status_503", REFUSED)


def test_the_end_of_an_outage_of_port_is_told_with_its_length() -> None:
    assert again(FAILED, RETRIED, 192.0, FAILED, RETRIED, 0.25, ANSWERED, ANSWERED) == [
        {"away_s": 192.25, "failed_requests": 2}
    ]


def test_whoever_read_that_port_fails_reads_that_it_answers_again() -> None:
    assert again(FAILED, RETRIED, 0.3, ANSWERED) == [{"away_s": 0.3, "failed_requests": 1}]
    no_token = ev.TokenRefreshed("error", REFUSED)
    assert again(FAILED, no_token, 0.3, ANSWERED) == [{"away_s": 0.3, "failed_requests": 1}]


def test_hiccups_that_were_not_told_end_untold_and_longer_outages_do_not() -> None:
    hiccup = (FAILED, RETRIED, 0.3, ANSWERED)
    assert len(again(*hiccup, *hiccup, *hiccup)) == 1
    assert [told["away_s"] for told in again(*hiccup, FAILED, RETRIED, 30.0, ANSWERED)] == [0.3, 30.0]


def test_an_hour_in_which_nobody_asked_is_no_outage_of_an_hour() -> None:
    assert again(FAILED, RETRIED, 30.0, FAILED, RETRIED, 3600.0, ANSWERED) == [
        {"away_s": 30.0, "failed_requests": 2}
    ]


def test_a_refusal_and_a_cancelled_request_are_no_outage() -> None:
    throttled = ev.ApiRequested("/v1/organization", "GET", "429", 0.1)
    cancelled = ev.ApiRequested("/v1/organization", "GET", "cancelled", 0.1)
    assert again(throttled, ev.ApiRetried("/v1", "status_429"), 60.0, cancelled, 60.0, ANSWERED) == []
    assert again(FAILED, 60.0, cancelled, 60.0, ANSWERED) == [{"away_s": 120.0, "failed_requests": 1}]


def test_refused_credentials_are_told_once_a_minute_with_what_to_do() -> None:
    clock = HeldClock()
    refused = [ev.TokenRefreshed("refused", "POST https://api/v1/auth/access_token: HTTP 401: no")] * 100
    [(level, event, about)] = lines(*refused, clock=clock)
    assert (level, event) == ("error", "port refuses the credentials")
    assert about["detail"] == "POST https://api/v1/auth/access_token: HTTP 401: no"
    for name in ("PORT_CLIENT_ID", "PORT_CLIENT_SECRET", "PORT_API_BASE_URL", "action-agent doctor"):
        assert name in about["hint"]


def test_whoever_read_that_credentials_are_refused_reads_that_they_are_taken_again() -> None:
    clock = HeldClock()
    refused, taken = ev.TokenRefreshed("refused", "POST https://api: HTTP 401: no"), ev.TokenRefreshed("ok")
    assert lines(taken, clock=clock) == []
    found = lines(refused, taken, taken, clock=clock)
    assert [(level, text) for level, text, _ in found] == [
        ("error", "port refuses the credentials"),
        ("info", "port takes the credentials again"),
    ]


def test_where_no_token_is_granted_the_address_is_named() -> None:
    [(_, text, about)] = lines(ev.TokenRefreshed("error", "POST https://api/v1/auth/access_token: HTTP 404: no"))
    assert text == "port token not granted"
    assert "PORT_API_BASE_URL" in about["hint"]


def test_an_answer_on_another_route_is_not_the_end_of_what_was_told() -> None:
    elsewhere = ev.ApiRequested("/v1/actions/runs/{run_id}", "PATCH", "200", 0.1)
    busy = (FAILED, RETRIED, 0.1, elsewhere, 8.0, FAILED, RETRIED, 60.0, elsewhere)
    assert again(*busy, *busy, *busy) == []
    told = again(*busy, 1.0, ANSWERED)
    assert [(round(line["away_s"], 3), line["failed_requests"]) for line in told] == [(69.1, 2)]


def test_the_drain_tells_runs_from_reports() -> None:
    assert lines(ev.DrainStarted(2, 5, 30.0)) == [
        ("info", "draining", {"runs": 2, "reports": 5, "timeout_s": 30.0}),
    ]


def test_another_trouble_is_told_at_once() -> None:
    found = lines(ev.SourceFailed("_TRANSPORT", "a"), ev.SourceFailed("_AUTHENTICATION", "b"))

    assert [about["code"] for _, _, about in found] == ["_TRANSPORT", "_AUTHENTICATION"]


def test_a_refused_reload_names_every_problem_and_what_goes_on() -> None:
    ((_, event, about),) = lines(ev.RoutesReloaded(ok=False, routes=2, problems=("a.yaml:1: x", "a.yaml:2: y")))

    assert event == "routes reload refused"
    assert about["problems"] == ("a.yaml:1: x", "a.yaml:2: y")
    assert "stay in force" in about["effect"]


def test_a_silent_target_is_told_with_its_host_and_the_last_error() -> None:
    ((_, text, about),) = lines(ev.TargetSilent("ops:443", 10, "ops:443 did not answer in time", 5.0, 1))
    assert text == "http target does not answer"
    assert about["target"] == "ops:443"
    assert about["requests_in_a_row"] == 10
    assert about["detail"] == "ops:443 did not answer in time"
    ends = [lines(ev.TargetAnswered("ops:443", answered, 0))[0][1] for answered in (True, False)]
    assert ends == ["http target answers again", "http target is asked for no more"]


def test_partitions_are_told_by_topic() -> None:
    ((_, event, about),) = lines(ev.Rebalanced("revoked", (("b", 1), ("a", 2), ("a", 0))))

    assert event == "partitions revoked"
    assert about == {"count": 3, "partitions": {"a": [0, 2], "b": [1]}}


def test_outcomes_that_are_in_memory_alone_are_told_once_a_minute() -> None:
    clock = HeldClock()
    full = [ev.JournalStood(n, "database or disk is full") for n in range(100)]
    [(level, event, about)] = lines(ev.JournalStood(3), *full, clock=clock)
    assert (level, event) == ("warning", "outcomes are not kept on disk")
    assert about["detail"] == "database or disk is full"
    assert "AGENT_STATE_DIR" in about["hint"]


def test_a_damaged_journal_is_told() -> None:
    [(level, _, about)] = lines(ev.JournalStood(0, note="outcomes-v1-0 was damaged"))
    assert (level, about["detail"]) == ("warning", "outcomes-v1-0 was damaged")
