"""What operators see of a running agent: its pages, its metrics, its log."""

from __future__ import annotations

import json
import re

from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.whole.one_agent import OneAgent
from tests.whole.world import CLIENT_SECRET, World

ROUTES = """
- name: shown
  match: {action: shown}
  process: {command: [echo, "the words of a run"]}
- name: telling-of-itself
  match: {action: telling_of_itself}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/status/500", headers: {Authorization: "Bearer t0p-secret-bearer"}, retry: 0}
"""


def test_the_probes_answer_while_all_is_well(agent: OneAgent) -> None:
    assert agent.get("/livez") == (200, "alive\n")
    assert agent.get("/readyz") == (200, "ready\n")
    assert agent.get("/nothing-here")[0] == 404


def test_the_status_page_shows_the_run_its_route_and_nothing_of_its_inputs(agent: OneAgent) -> None:
    run = agent.result_of("shown", {"name": "an input's value"})
    agent.wait_settled(run.id)
    status, page = agent.get("/")
    assert status == 200
    assert page.startswith("<!doctype html>")
    for word in (run.id, "shown", agent.org, "Ready"):
        assert word in page
    assert "an input&#x27;s value" not in page
    assert "an input's value" not in page
    assert CLIENT_SECRET not in page


def test_the_metrics_count_a_run_at_each_of_its_steps(agent: OneAgent) -> None:
    steps = {
        "agent_runs_received_total": {"route": "shown", "source": "kafka"},
        "agent_runs_started_total": {"route": "shown", "executor": "process"},
        "agent_runs_finished_total": {"route": "shown", "executor": "process", "status": "success"},
        "agent_run_reports_total": {"result": "delivered"},
        "agent_kafka_messages_consumed_total": {"topic": agent.topic},
        "agent_run_duration_seconds_count": {"executor": "process", "status": "success"},
        "agent_run_queue_wait_seconds_count": {"executor": "process"},
        "agent_run_log_lines_total": {},
        "agent_run_log_bytes_total": {},
    }
    before = {name: agent.metric(name, **labels) for name, labels in steps.items()}
    run = agent.result_of("shown")
    agent.wait_settled(run.id)
    added = {name: agent.metric(name, **labels) - before[name] for name, labels in steps.items()}
    assert added.pop("agent_run_log_bytes_total") >= len("the words of a run")
    assert added == dict.fromkeys(added, 1)


def test_the_metrics_of_ops_are_there(agent: OneAgent) -> None:
    page = agent.get("/metrics")[1]
    for name in (
        "agent_build_info",
        "agent_ready",
        "agent_draining",
        "agent_config_last_reload_successful",
        "agent_runs_in_flight",
        "agent_runs_in_flight_limit",
        "agent_runs_waiting",
        "agent_oldest_waiting_run_age_seconds",
        "agent_kafka_consumer_lag",
        "agent_kafka_uncommitted_messages",
        "agent_kafka_assigned_partitions",
        "agent_kafka_paused_partitions",
        "agent_kafka_last_poll_timestamp_seconds",
        "agent_kafka_commits_total",
        "agent_kafka_rebalances_total",
        "agent_api_requests_total",
        "agent_api_request_duration_seconds_bucket",
        "agent_api_rate_limit_remaining",
        "agent_api_token_refreshes_total",
        "agent_api_last_success_timestamp_seconds",
        "agent_run_log_lines_dropped_total",
        "process_resident_memory_bytes",
    ):
        assert re.search(rf"^{name}[{{ ]", page, re.MULTILINE), name
    assert agent.metric("agent_ready") == 1
    assert agent.metric("agent_kafka_assigned_partitions", topic=agent.topic) > 0
    assert len([line for line in page.splitlines() if not line.startswith("#")]) < 1500


def test_no_metric_has_a_run_or_an_unknown_action_as_label(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run()
    strange = "strange_action_of_a_hostile_message"
    agent.deliver_signed(messages.webhook(Click(run_id, strange), "http://unused.example/hostile-url"))
    world.ended(run_id)
    page = agent.get("/metrics")[1]
    assert run_id not in page
    assert strange not in page
    assert "hostile-url" not in page


def test_every_log_line_is_json_and_those_of_a_run_name_it_and_its_route(agent: OneAgent) -> None:
    run = agent.result_of("shown")
    agent.wait_settled(run.id)
    for line in agent.lines():
        assert {"timestamp", "level", "event"} <= set(line), line
    of_run = agent.lines(run_id=run.id)
    assert [line["event"] for line in of_run] == ["run started", "run finished", "run reported"]
    assert {line["route"] for line in of_run} == {"shown"}
    assert of_run[1]["outcome"] == "success"


def test_an_unhappy_run_says_why_in_its_line(agent: OneAgent) -> None:
    run = agent.result_of("telling_of_itself")
    line = agent.wait_line("run finished", run_id=run.id)
    assert (line["outcome"], line["reason"]) == ("failure", "http_status")


def test_the_line_of_a_run_that_no_route_takes_names_its_action(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run()
    agent.deliver_signed(messages.webhook(Click(run_id, "not_routed_anywhere"), "http://unused.example/"))
    line = agent.wait_line("run finished", run_id=run_id)
    assert (line["action"], line["route"], line["reason"]) == ("not_routed_anywhere", "unrouted", "no_route")


def test_the_first_line_tells_what_was_started(agent: OneAgent) -> None:
    (line,) = agent.lines("started")
    assert line["group"] == agent.group
    assert line["topics"] == [agent.topic, agent.change_log]
    assert "shown" in line["routes"]
    assert line["stop_takes_at_most_s"] > line["drain_s"] + line["kill_grace_s"] + line["report_s"]


def test_no_secret_is_in_the_log_at_debug_whatever_the_session_did(world: World, agent: OneAgent) -> None:
    run = agent.result_of("telling_of_itself")
    agent.wait_settled(run.id)
    log = agent.output()
    assert '"level":"debug"' in log
    tokens = {r.headers["authorization"].removeprefix("Bearer ") for r in world.requests_of(run.id)}
    assert tokens
    for secret in (CLIENT_SECRET, "t0p-secret-bearer", "declared-s3cret-value", *tokens):
        assert secret not in log
    assert "t0p-secret-bearer" not in json.dumps(run.to_json())


def test_nothing_in_the_whole_session_was_a_defect_of_the_agent(agent: OneAgent, forwarding: OneAgent) -> None:
    for one in (agent, forwarding):
        assert one.lines(level="error") == []
        assert one.lines(level="critical") == []
