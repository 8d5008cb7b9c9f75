"""Metrics: every fact counts, every metric is fed, and nothing can make the page grow without bound."""

from __future__ import annotations

import threading
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.domain import events as ev
from agent.domain.invocation import RunId
from agent.domain.trace import RunTrace, SpanContext
from agent.observability import metric_table as table
from agent.observability.metrics import Metrics
from tests.observability.helpers import (
    ONE_OF_EACH,
    RUN,
    START_EPOCH_S,
    HeldClock,
    label_values,
    metrics,
    names,
    openmetrics_families,
    route,
    samples,
    tell,
    value,
)

SPECS: tuple[table.CounterSpec | table.HistogramSpec | table.GaugeSpec, ...] = (
    *table.COUNTERS,
    *table.HISTOGRAMS,
    *table.GAUGES,
)


def test_there_is_an_example_of_every_fact() -> None:
    assert {type(event) for event in ONE_OF_EACH} == set(get_args(ev.Event))


COUNTED = [event for event in ONE_OF_EACH if not isinstance(event, ev.TargetRequested)]
"""The rest is told where traces are on only, which no metric may depend on."""


@pytest.mark.parametrize("event", COUNTED, ids=lambda event: type(event).__name__)
def test_every_fact_changes_a_metric(event: ev.Event) -> None:
    observer = metrics()
    if isinstance(event, ev.PartitionStatus):
        tell(observer, ev.Rebalanced("assigned", ((event.topic, event.index),)))

    before = _of_agent(observer)
    tell(observer, event)

    assert _of_agent(observer) != before


def test_every_metric_of_the_table_is_fed() -> None:
    observer = metrics()
    untouched = _of_agent(observer)

    tell(observer, *ONE_OF_EACH)

    counted = {series[0] for series, v in _of_agent(observer).items() if v and untouched.get(series) != v}
    for spec in table.COUNTERS:
        assert spec.name in counted
    for histogram in table.HISTOGRAMS:
        assert f"{histogram.name}_count" in counted
    assert {gauge.name for gauge in table.GAUGES} <= set(names(observer.render(openmetrics=False)))


def test_the_life_of_a_run_is_counted_by_route_and_outcome() -> None:
    observer = metrics(routes=[route("create")])

    tell(
        observer,
        ev.RunReceived("kafka", "create", RUN),
        ev.RunStarted("process", "create", RUN, "create_service", 0.7),
    )
    assert value(observer, "agent_runs_in_flight", executor="process") == 1
    tell(
        observer,
        ev.RunFinished("process", "create", RUN, "success", "", "", 42.0),
        ev.RunReported("create", RUN, "delivered"),
    )

    assert value(observer, "agent_runs_received_total", source="kafka", route="create") == 1
    assert value(observer, "agent_runs_started_total", executor="process", route="create") == 1
    assert value(observer, "agent_runs_finished_total", executor="process", route="create", status="success") == 1
    assert value(observer, "agent_runs_finished_total", executor="process", route="create", status="failure") == 0
    assert value(observer, "agent_runs_in_flight", executor="process") == 0
    assert value(observer, "agent_run_reports_total", result="delivered") == 1
    assert value(observer, "agent_run_queue_wait_seconds_sum", executor="process") == pytest.approx(0.7)
    duration = {"executor": "process", "status": "success"}
    assert value(observer, "agent_run_duration_seconds_bucket", **duration, le="30.0") == 0
    assert value(observer, "agent_run_duration_seconds_bucket", **duration, le="60.0") == 1


def test_known_label_sets_start_at_zero() -> None:
    observer = metrics(routes=[route("create"), route("restart", "http")])

    assert value(observer, "agent_runs_received_total", source="kafka", route="restart") == 0
    assert value(observer, "agent_runs_received_total", source="kafka", route="unrouted") == 0
    for status in ("success", "failure", "accepted", "rejected", "cancelled"):
        assert value(observer, "agent_runs_finished_total", executor="http", route="restart", status=status) == 0
    assert value(observer, "agent_runs_rejected_total", reason="signature") == 0
    assert value(observer, "agent_runs_redelivered_total", outcome="interrupted") == 0
    assert value(observer, "agent_run_reports_total", result="undelivered") == 0
    assert value(observer, "agent_kafka_client_errors_total", code="_AUTHENTICATION") == 0
    assert value(observer, "agent_run_duration_seconds_count", executor="python", status="failure") == 0
    assert value(observer, "agent_runs_in_flight", executor="python") == 0
    assert value(observer, "agent_kafka_assigned_partitions", topic="org.runs") == 0
    assert value(observer, "agent_api_token_refreshes_total", result="refused") == 0


def test_routes_that_come_with_a_reload_start_at_zero_too() -> None:
    routes = [route("create")]
    observer = metrics(routes=routes)
    assert value(observer, "agent_runs_started_total", executor="http", route="added") is None

    routes.append(route("added", "http"))

    assert value(observer, "agent_runs_started_total", executor="http", route="added") == 0


def test_what_is_not_known_yet_is_left_out() -> None:
    page = metrics().render(openmetrics=False)

    assert "agent_api_rate_limit_remaining" not in names(page)
    assert "agent_api_last_success_timestamp_seconds" not in names(page)


def test_outcomes_that_wait_for_port_are_gauged() -> None:
    observer = metrics()
    assert value(observer, "agent_journal_pending_reports") == 0
    assert value(observer, "agent_journal_writable") == 1
    tell(observer, ev.JournalStood(3, "disk full"))
    assert value(observer, "agent_journal_pending_reports") == 3
    assert value(observer, "agent_journal_writable") == 0
    tell(observer, ev.JournalStood(1))
    assert value(observer, "agent_journal_writable") == 1


FAILED = ev.ApiRequested("/v1/organization", "GET", "timeout", 60.0)


def test_runs_that_more_slots_would_help_are_gauged_beside_all_that_wait() -> None:
    observer = metrics()
    tell(observer, ev.WaitingChanged(7, 100.0, 2, 3))
    assert value(observer, "agent_runs_waiting") == 7
    assert value(observer, "agent_runs_waiting_for_slot") == 3


def test_ages_are_those_of_the_scrape() -> None:
    clock = HeldClock()
    observer = metrics(clock)
    assert value(observer, "agent_oldest_waiting_run_age_seconds") == 0
    assert value(observer, "agent_seconds_since_progress") == 0

    tell(
        observer,
        ev.Rebalanced("assigned", (("org.runs", 0),)),
        ev.RunStarted("process", "a", RUN, None, 0),
        ev.WaitingChanged(1, clock.monotonic() - 5),
        ev.PartitionStatus("org.runs", 0, 0, 1, 0, 3.0, paused=False),
    )
    clock.pass_s(10)
    tell(observer, ev.RunStarted("process", "a", RunId("r_2"), None, 0))
    clock.pass_s(2)

    assert value(observer, "agent_oldest_waiting_run_age_seconds") == 17
    assert value(observer, "agent_oldest_in_flight_run_age_seconds") == 12
    assert value(observer, "agent_seconds_since_progress") == 2
    at = {"topic": "org.runs", "partition": "0"}
    assert value(observer, "agent_kafka_oldest_uncommitted_age_seconds", **at) == 15


def test_an_idle_agent_is_not_without_progress() -> None:
    clock = HeldClock()
    observer = metrics(clock)

    tell(
        observer,
        ev.RunStarted("process", "a", RUN, None, 0),
        ev.RunFinished("process", "a", RUN, "success", "", "", 1),
    )
    clock.pass_s(3600)

    assert value(observer, "agent_seconds_since_progress") == 0


def test_messages_that_are_read_and_not_settled_are_work_without_progress() -> None:
    clock = HeldClock()
    observer = metrics(clock)

    tell(
        observer,
        ev.Rebalanced("assigned", (("org.runs", 0),)),
        ev.PartitionStatus("org.runs", 0, 0, 1, 0, 3.0, paused=False),
    )
    clock.pass_s(130)
    assert value(observer, "agent_seconds_since_progress") == 130
    tell(observer, ev.PartitionStatus("org.runs", 0, 0, 0, 0, None, paused=False))
    assert value(observer, "agent_seconds_since_progress") == 0
    tell(observer, ev.WaitingChanged(0, None, 1))
    assert value(observer, "agent_seconds_since_progress") == 130


def test_whether_it_is_alive_is_a_number() -> None:
    observer = metrics()
    assert value(observer, "agent_alive") == 1
    tell(observer, ev.AliveChanged(alive=False, reason="the consumer has not polled for 121 s"))
    assert value(observer, "agent_alive") == 0
    tell(observer, ev.AliveChanged(alive=True, reason="alive"))
    assert value(observer, "agent_alive") == 1


def test_runs_that_came_again_are_counted_by_what_became_of_them() -> None:
    observer = metrics()
    tell(observer, ev.RunRedelivered(RUN, "over"), ev.RunRedelivered(RUN, "over"), ev.RunRedelivered(None, "begun"))
    counted = {word: value(observer, "agent_runs_redelivered_total", outcome=word) for word in ("over", "begun")}
    assert counted == {"over": 2, "begun": 1}


@pytest.mark.parametrize("failure", ["503", "timeout", "connection"])
def test_an_outage_of_port_is_gauged_from_its_first_failure_to_the_next_answer(failure: str) -> None:
    clock = HeldClock()
    observer = metrics(clock)
    assert value(observer, "agent_api_unanswered_seconds") == 0
    tell(observer, ev.ApiRequested("/v1/organization", "GET", failure, 0.1))
    clock.pass_s(60)
    tell(observer, ev.ApiRequested("/v1/organization", "GET", failure, 0.1))
    clock.pass_s(30)
    assert value(observer, "agent_api_unanswered_seconds") == 60
    tell(observer, ev.ApiRequested("/v1/organization", "GET", "422", 0.1))
    assert value(observer, "agent_api_unanswered_seconds") == 0


def test_a_request_that_failed_and_that_nobody_sends_again_is_no_outage_that_grows() -> None:
    clock = HeldClock()
    observer = metrics(clock)
    tell(observer, FAILED)
    clock.pass_s(60)
    assert value(observer, "agent_api_unanswered_seconds") == 0
    tell(observer, FAILED)
    clock.pass_s(300)
    assert value(observer, "agent_api_unanswered_seconds") == 60, (
        "until then a request may wait to be sent once more"
    )
    clock.pass_s(120)
    assert value(observer, "agent_api_unanswered_seconds") == 0
    tell(observer, FAILED)
    clock.pass_s(10)
    tell(observer, FAILED)
    assert value(observer, "agent_api_unanswered_seconds") == 10, "an outage of its own"


def test_the_last_poll_is_at_first_the_start() -> None:
    observer = metrics()
    assert value(observer, "agent_kafka_last_poll_timestamp_seconds") == START_EPOCH_S

    tell(observer, ev.Polled(START_EPOCH_S + 77))

    assert value(observer, "agent_kafka_last_poll_timestamp_seconds") == START_EPOCH_S + 77


def test_a_run_that_never_started_leaves_no_run_in_flight() -> None:
    observer = metrics()

    tell(observer, ev.RunFinished("process", "a", RUN, "failure", "bad_template", "", 0))

    assert value(observer, "agent_runs_in_flight", executor="process") == 0
    assert value(observer, "agent_runs_finished_total", executor="process", route="a", status="failure") == 1


def test_runs_without_an_id_are_told_apart_by_number() -> None:
    observer = metrics()
    start = ev.RunStarted("process", "a", None, None, 0)

    tell(observer, start, start, ev.RunFinished("process", "a", None, "success", "", "", 1))

    assert value(observer, "agent_runs_in_flight", executor="process") == 1


def test_beyond_fifty_routes_they_are_counted_as_other() -> None:
    observer = metrics()

    for number in range(80):
        tell(observer, ev.RunStarted("process", f"route-{number}", RUN, None, 0))
    tell(observer, ev.RunReceived("kafka", "unrouted", RUN))

    page = observer.render(openmetrics=False)
    started = label_values(page, "agent_runs_started_total", "route")
    assert started == {f"route-{number}" for number in range(50)} | {"other"}
    assert value(observer, "agent_runs_started_total", executor="process", route="other") == 30
    assert value(observer, "agent_runs_received_total", source="kafka", route="unrouted") == 1


def test_series_of_a_revoked_partition_go_away_and_do_not_come_back() -> None:
    observer = metrics()
    status = ev.PartitionStatus("org.runs", 1, 7, 3, 2, 4.0, paused=True)
    tell(observer, ev.Rebalanced("assigned", (("org.runs", 0), ("org.runs", 1))), status)
    assert value(observer, "agent_kafka_consumer_lag", topic="org.runs", partition="1") == 7
    assert value(observer, "agent_kafka_assigned_partitions", topic="org.runs") == 2
    assert value(observer, "agent_kafka_paused_partitions", topic="org.runs") == 1

    tell(observer, ev.Rebalanced("revoked", (("org.runs", 1),)), status)

    page = observer.render(openmetrics=False)
    assert label_values(page, "agent_kafka_uncommitted_messages", "partition") == set()
    assert value(observer, "agent_kafka_assigned_partitions", topic="org.runs") == 1
    assert value(observer, "agent_kafka_paused_partitions", topic="org.runs") == 0


def test_under_1500_series_with_200_routes_and_64_partitions_whatever_the_facts_say() -> None:
    executors = ("http", "process", "python", "kubernetes")
    routes = [route(f"route-{n}", executors[n % 4]) for n in range(200)]
    observer = metrics(routes=routes)
    observer.render(openmetrics=False)
    partitions = tuple(("org.runs", n) for n in range(64))

    tell(observer, *ONE_OF_EACH, ev.Rebalanced("assigned", partitions))
    for topic, index in partitions:
        tell(observer, ev.PartitionStatus(topic, index, 1, 1, 1, 1.0, paused=False))
    for n in range(400):
        _flood(observer, n, executors[n % 4])

    count = len(samples(observer.render(openmetrics=False)))
    assert 1000 < count < 1500


def test_the_bounds_alone_keep_the_page_under_1500_series() -> None:
    counters = sum(spec.max_series for spec in table.COUNTERS)
    histograms = sum(spec.max_series * (len(spec.buckets) + 3) for spec in table.HISTOGRAMS)
    per_partition = sum("partition" in spec.labels for spec in table.GAUGES)

    assert counters + histograms + 64 * per_partition + 2 * len(table.GAUGES) + 10 < 1500


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_names_follow_the_rules(spec: table.CounterSpec | table.HistogramSpec | table.GaugeSpec) -> None:
    assert spec.name.startswith("agent_")
    assert spec.name == spec.name.lower()
    assert spec.help.endswith(".")
    assert spec.name.endswith("_total") == isinstance(spec, table.CounterSpec)
    if isinstance(spec, table.HistogramSpec):
        assert spec.name.endswith("_seconds")
        assert list(spec.buckets) == sorted(spec.buckets)
    assert not {"run_id", "run", "user", "url", "action", "input", "inputs", "le"} & set(spec.labels)


def test_each_name_stands_in_the_table_once() -> None:
    assert len({spec.name for spec in SPECS}) == len(SPECS)


def test_the_page_parses_and_has_help_for_every_metric() -> None:
    observer = metrics(routes=[route("create")])
    tell(observer, *ONE_OF_EACH)

    families = list(text_string_to_metric_families(observer.render(openmetrics=False).decode()))

    assert all(family.documentation for family in families)
    assert not [family.name for family in families if family.name.endswith("_created")]
    assert {"process_cpu_seconds", "process_open_fds", "agent_build_info"} <= {family.name for family in families}


def test_run_ids_are_exemplars_of_openmetrics_and_nothing_else() -> None:
    observer = metrics()
    tell(observer, *ONE_OF_EACH)

    assert RUN.encode() not in observer.render(openmetrics=False)
    families = openmetrics_families(observer.render(openmetrics=True).decode())
    exemplars = [(s.name, s.exemplar.labels) for family in families for s in family.samples if s.exemplar]

    assert ("agent_run_duration_seconds_bucket", {"run_id": RUN}) in exemplars


@pytest.mark.parametrize(("sampled", "run_id"), [(True, RUN), (False, RUN), (True, "r_" + "x" * 79)])
def test_an_exemplar_has_the_trace_that_is_recorded(*, sampled: bool, run_id: str) -> None:
    observer, root = metrics(), SpanContext("a" * 32, "b" * 16, sampled=sampled)
    trace = RunTrace(root, root.child("c" * 16), 0.0, START_EPOCH_S)
    tell(
        observer,
        ev.RunStarted("process", "create", RunId(run_id), "act", 0.1, trace=trace),
        ev.RunFinished("process", "create", RunId(run_id), "success", "", "", 1.0, trace=trace),
    )

    families = openmetrics_families(observer.render(openmetrics=True).decode())
    exemplars = {s.name: s.exemplar.labels for family in families for s in family.samples if s.exemplar}

    expected = ({"trace_id": "a" * 32} if sampled else {}) | ({"run_id": run_id} if run_id == RUN else {})
    assert exemplars["agent_run_duration_seconds_bucket"] == expected
    assert exemplars["agent_run_queue_wait_seconds_bucket"] == expected


@pytest.mark.parametrize("hostile", ["r_\ud800", "r_" + "x" * 500, 'r_"\n{}', "r_ä"])
def test_no_run_id_can_break_the_page(hostile: str) -> None:
    observer = metrics()
    tell(
        observer,
        ev.RunStarted("process", hostile, RunId(hostile), hostile, 0.1),
        ev.RunFinished("process", hostile, RunId(hostile), "success", "", "", 1.0),
    )

    assert list(text_string_to_metric_families(observer.render(openmetrics=False).decode()))
    assert list(openmetrics_families(observer.render(openmetrics=True).decode()))


def test_the_accept_header_chooses_the_form() -> None:
    observer = metrics()

    plain = observer.page("text/plain;version=0.0.4;q=0.3, */*;q=0.1")
    openmetrics = observer.page("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")

    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert openmetrics.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.body.endswith(b"# EOF\n")


def test_two_threads_count_exactly_while_a_third_scrapes() -> None:
    observer = metrics()
    rounds, threads = 2000, 2
    barrier = threading.Barrier(threads + 1)

    def work(number: int) -> None:
        barrier.wait()
        for turn in range(rounds):
            run = RunId(f"r_{number}_{turn}")
            tell(
                observer,
                ev.RunStarted("process", f"route-{turn % 70}", run, None, 0.1),
                ev.Rebalanced("assigned", (("org.runs", turn % 8),)),
                ev.PartitionStatus("org.runs", turn % 8, turn, 0, 0, None, paused=False),
                ev.RunFinished("process", f"route-{turn % 70}", run, "success", "", "", 0.5),
            )

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    while any(worker.is_alive() for worker in workers):
        samples(observer.render(openmetrics=False))
    for worker in workers:
        worker.join()

    found = samples(observer.render(openmetrics=False))
    started = sum(v for (name, _), v in found.items() if name == "agent_runs_started_total")
    assert started == threads * rounds
    duration = ("agent_run_duration_seconds_count", frozenset({("executor", "process"), ("status", "success")}))
    assert found[duration] == threads * rounds
    assert value(observer, "agent_runs_in_flight", executor="process") == 0
    assert len(label_values(observer.render(openmetrics=False), "agent_runs_started_total", "route")) == 51


def _of_agent(observer: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    page = samples(observer.render(openmetrics=False))
    return {key: v for key, v in page.items() if key[0].startswith("agent_")}


def _flood(observer: Metrics, n: int, executor: str) -> None:
    """Facts with ever new words in every label."""
    run, name = RunId(f"r_{n}"), f"route-{n}"
    status = table.STATUSES[n % 5]
    tell(
        observer,
        ev.MessageIgnored("kafka", f"reason-{n}"),
        ev.MessageRejected("kafka", f"reason-{n}", ""),
        ev.RunReceived("kafka", name, run),
        ev.RunStarted(executor, name, run, name, 1.0),
        ev.RunFinished(executor, name, run, status, f"reason-{n}", "", 1.0),
        ev.RunRedelivered(run, f"outcome-{n}"),
        ev.RunReported(name, run, f"result-{n}"),
        ev.RunRetried(executor, f"reason-{n}"),
        ev.LogDropped(1, f"reason-{n}"),
        ev.LogTruncated(f"reason-{n}"),
        ev.ApiRequested(f"/v1/{n % 20}", "POST", str(n), 0.1),
        ev.ApiRetried(f"/v1/{n % 20}", f"status_{n}"),
        ev.TokenRefreshed(f"result-{n}"),
        ev.Consumed(f"topic-{n}", 1),
        ev.Committed(f"error-{n}"),
        ev.SourceFailed(f"code-{n}", ""),
    )
