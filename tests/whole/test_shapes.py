"""Every shape of message that Port sends becomes the right run, and what is not ours is left alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.whole.one_agent import OneAgent, Results, port_message
from tests.whole.world import World

ROUTES = r"""
- name: tutorial-process
  match: {action: create_microservice, blueprint: microservice}
  process:
    command:
      - sh
      - -c
      - echo "creating $1 in $REGION"; echo "summary=created $1" >>"$AGENT_OUTPUT"
      - sh
      - "{{ .inputs.name }}"
    env: {REGION: "{{ .inputs.region }}"}
- name: tutorial-day-2
  match: {action: deploy_microservice}
  process:
    command: [echo, "{{ .entity.identifier }} of {{ .entity.properties.region }} to {{ .inputs.environment }}"]
- name: create-vm
  match: {action: create_vm, type: kafka}
  process: {command: [echo, "{{ .inputs.cpu }} cores for {{ .trigger.by.user.email }}"]}
- name: webhook-v1
  match: {action: action_identifier, type: WEBHOOK}
  env: [TARGET]
  http:
    url: "{{ env.TARGET }}/webhook-v1"
    body: {port: "{{ .inputs.network_port }}", tier: "{{ .entity.properties.tier }}"}
- name: gitlab
  match: {type: GITLAB}
  env: [TARGET]
  http:
    url: "{{ env.TARGET }}/gitlab/\
      {{ .action.invocationMethod.groupName }}%2F{{ .action.invocationMethod.projectName }}"
    body: {ref: "{{ .action.invocationMethod.defaultRef }}", variables: "{{ .inputs | map_values(tostring) }}"}
- name: v2
  match: {when: '.message.wanted == "v2"'}
  process: {command: [echo, "made for {{ .message.wanted }}"]}
- name: array
  match: {when: '(.message | type) == "array" and .message[0].wanted == "array"'}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/array/{{ .message | length }}"}
- name: runless
  match: {when: '.message.wanted == "runless"'}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/runless"}
- name: automation
  match: {action: automation, blueprint: service}
  process: {command: [echo, "{{ .message.event.diff.after.properties.language }}"]}
- name: for-agents
  match: {action: for_agents}
  process: {command: [echo, taken]}
- name: node
  match: {kind: node_run, when: '.message.payload.action.invocationMethod.url | endswith("/process")'}
  process:
    command: [sh, -c, 'echo working; echo greeting=hello >>"$AGENT_OUTPUT"; exit "$1"', sh, "{{ .message.code }}"]
- name: entity-changed
  match: {kind: change_event, blueprint: vm}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/changed/{{ .action.identifier }}", body: "{{ .message.diff.after.properties }}"}
- name: run-changed
  match: {kind: change_event, blueprint: Service}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/run-changed"}
"""

TUTORIAL_RUN = "r_QOz6WoOB1Q2lmhZZ"


# ── the tutorial's shape: everything under an outer payload ──────────────────────────────────────────


def test_the_tutorial_as_printed_is_done_by_a_process(world: World, agent: OneAgent) -> None:
    world.begin_run("create_microservice", TUTORIAL_RUN)
    agent.deliver(port_message("tutorial_create"))
    run = world.ended(TUTORIAL_RUN)
    assert (run.terminal_statuses, run.summary) == (["SUCCESS"], "created my-microservice")
    assert run.log_text == "creating my-microservice in eu-west-1"


def test_the_tutorial_as_printed_is_done_by_a_request(world: World, lenient: OneAgent) -> None:
    world.begin_run("create_microservice", TUTORIAL_RUN)
    lenient.deliver(port_message("tutorial_create"))
    run = world.ended(TUTORIAL_RUN)
    assert (run.terminal_statuses, run.links) == (["SUCCESS"], ["https://target.example/made"])
    assert json.loads(world.target.request("/tutorial").body) == {"name": "my-microservice", "region": "eu-west-1"}


def test_the_tutorial_as_printed_is_done_by_python(world: World, narrow: OneAgent) -> None:
    world.begin_run("create_microservice", TUTORIAL_RUN)
    narrow.deliver(port_message("tutorial_create"))
    run = world.ended(TUTORIAL_RUN)
    assert (run.terminal_statuses, run.summary) == (["SUCCESS"], "made by Python")
    assert [(e.identifier, e.run_id) for e in run.entities] == [("my-microservice", TUTORIAL_RUN)]
    assert (run.log_text, run.links) == ("creating my-microservice", ["https://git.example/my-microservice"])


def test_the_tutorials_day_2_message_brings_its_entity(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("deploy_microservice", "r_z0nJYJv0wCm2ASTR")
    agent.deliver(port_message("tutorial_day_2"))
    assert world.ended(run_id).log_text == "my-microservice of eu-west-1 to production"


# ── the first version's shape ────────────────────────────────────────────────────────────────────────


def test_a_v1_kafka_message_as_printed(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("create_vm", "run_q2mGf9ZYkFRnZJjB")
    agent.deliver(port_message("kafka_v1"))
    run = world.ended(run_id)
    assert (run.terminal_statuses, run.log_text) == (["SUCCESS"], "2 cores for test@test.com")


def test_a_v1_webhook_for_agents_as_printed_with_its_own_signature(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("action_identifier", "r_HardNzG6kzc9vWOQ")
    agent.deliver(port_message("webhook_v1"))
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert json.loads(world.target.request("/webhook-v1").body) == {"port": "8080", "tier": "gold"}


def test_a_gitlab_message_as_printed_goes_where_its_route_says(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("Create", "r_jE5FhDURh4Uen2Qr")
    agent.deliver(port_message("gitlab"))
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    sent = json.loads(world.target.request("/gitlab/group/project").body)
    assert sent == {"ref": "main", "variables": {"foo": "x", "bar": "3", "on": "true", "obj": '{"k":[1,2]}'}}


# ── payloads of the user's own making ────────────────────────────────────────────────────────────────

RUN_ID_PLACES: dict[str, Any] = {
    "context.runId": lambda run_id: {"context": {"runId": run_id}},
    "port_context.runId": lambda run_id: {"port_context": {"runId": run_id, "entity": None}},
    "port_context.run_id": lambda run_id: {"port_context": {"run_id": run_id}},
    "headers.RUN_ID": lambda run_id: {"headers": {"RUN_ID": run_id}},
    "runId": lambda run_id: {"runId": run_id},
    "run_id": lambda run_id: {"run_id": run_id},
    "port_run_id": lambda run_id: {"port_run_id": run_id},
    "AGENT_RUN_ID_PATH": lambda run_id: {"deep": {"ticket": run_id}},
}


@pytest.fixture(scope="module")
def placed(world: World, agent: OneAgent) -> Results:
    run_ids = {place: world.begin_run("v2") for place in RUN_ID_PLACES}
    for place, run_id in run_ids.items():
        agent.deliver({"wanted": "v2", **RUN_ID_PLACES[place](run_id)})
    return Results(world, run_ids)


@pytest.mark.parametrize("place", RUN_ID_PLACES)
def test_a_v2_payload_may_have_its_run_id_in(place: str, placed: Results) -> None:
    run = placed(place)
    assert (run.terminal_statuses, run.log_text) == (["SUCCESS"], "made for v2")


def test_a_documented_place_wins_over_the_operators_path(world: World, agent: OneAgent) -> None:
    run_id, other = world.begin_run("v2"), world.begin_run("v2")
    agent.deliver({"wanted": "v2", "context": {"runId": run_id}, "deep": {"ticket": other}})
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert world.requests_of(other) == []


def test_a_payload_without_a_run_is_executed_and_nothing_is_reported(world: World, agent: OneAgent) -> None:
    before = world.asked()
    agent.deliver({"wanted": "runless"})
    world.target.request("/runless")
    agent.wait_line("run finished", route="runless", outcome="success")
    assert world.asked() == before


def test_a_payload_may_be_an_array_that_keeps_its_run_id_where_the_operators_path_says(
    world: World, agent: OneAgent
) -> None:
    run_id = world.begin_run("array")
    agent.deliver(json.dumps([{"wanted": "array", "ticket": run_id}, 2, None]))
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert json.loads(world.target.request("/array/3").body) == [{"wanted": "array", "ticket": run_id}, 2, None]


def test_an_automation_whose_payload_is_the_whole_template_context(world: World, agent: OneAgent) -> None:
    document = json.loads(port_message("automation"))
    document["run"]["id"] = run_id = world.begin_run("automation")
    # its blueprint stands under another name than that of an action's run
    agent.deliver(document)
    run = world.ended(run_id)
    assert (run.terminal_statuses, run.log_text) == (["SUCCESS"], "Python")


# ── for agents, or not ───────────────────────────────────────────────────────────────────────────────


def _flagged(flag: Any, world: World, agent: OneAgent) -> str:
    run_id = world.begin_run("for_agents")
    agent.deliver_signed(messages.webhook(Click(run_id, "for_agents"), "http://unused.example/", agent=flag))
    return run_id


def test_a_webhook_message_is_for_agents_if_it_says_true_or_says_so_in_text(world: World, agent: OneAgent) -> None:
    for run_id in [_flagged(flag, world, agent) for flag in (True, "true", "True")]:
        run = world.ended(run_id)
        assert (run.terminal_statuses, run.log_text) == (["SUCCESS"], "taken")


def test_a_webhook_message_that_says_anything_else_is_passed_over(world: World, agent: OneAgent) -> None:
    before = agent.metric("agent_messages_ignored_total", reason="not_for_agents")
    flags = (False, "false", "False", "", None, 1)
    runs = [_flagged(flag, world, agent) for flag in flags]
    agent.wait_metric("agent_messages_ignored_total", before + len(flags), reason="not_for_agents")
    for run_id in runs:
        assert world.requests_of(run_id) == []
        assert not agent.lines(run_id=run_id)


# ── workflow node runs ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("code", "result"), [("0", "SUCCESS"), ("4", "FAILED")])
def test_a_workflow_node_reports_through_its_own_endpoints(
    code: str, result: str, world: World, agent: OneAgent
) -> None:
    run_id = world.begin_run("node", f"wfnr_exit{code}")
    agent.deliver_signed({**messages.node_run(run_id, "http://unused.example/process"), "code": code})
    run = world.ended(run_id)
    assert (run.status, run.result, run.output) == ("COMPLETED", result, {"greeting": "hello"})
    assert "working" in run.log_text
    assert ("exit code 4" in run.log_text) == (result == "FAILED")
    prefix = f"/v1/workflows/nodes/runs/{run_id}"
    assert {(r.method, r.path) for r in world.requests_of(run_id)} == {
        ("PATCH", prefix),
        ("POST", f"{prefix}/logs"),
    }


def test_a_workflow_node_as_printed_is_refused_without_a_true_signature(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("node", "wfnr_abc123")
    agent.deliver(port_message("node_run"))
    agent.wait_line("message rejected", run_id=run_id, reason="signature")
    assert world.requests_of(run_id) == []


# ── the change log ───────────────────────────────────────────────────────────────────────────────────


def test_a_change_event_with_a_route_is_executed(world: World, agent: OneAgent) -> None:
    agent.deliver(port_message("entity_changed"), topic=agent.change_log)
    assert json.loads(world.target.request("/changed/UPDATE").body) == {"free_storage": 0.5}


def test_a_run_that_a_change_event_tells_of_is_not_ours(world: World, agent: OneAgent) -> None:
    run_id = "r_jE5FhDURh4Uen2Qr"
    before = len(world.requests_of(run_id))
    agent.deliver(port_message("run_changed"), topic=agent.change_log)
    world.target.request("/run-changed")
    agent.wait_line("run finished", route="run-changed", outcome="success")
    assert len(world.requests_of(run_id)) == before


def test_a_change_event_without_a_route_is_passed_over(agent: OneAgent) -> None:
    before = agent.metric("agent_messages_ignored_total", reason="change_event")
    agent.deliver(port_message("timer_expired"), topic=agent.change_log)
    agent.wait_metric("agent_messages_ignored_total", before + 1, reason="change_event")


def test_an_invocation_on_the_change_log_topic_is_no_invocation(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("create_vm")
    before = agent.metric("agent_messages_ignored_total", reason="change_event")
    agent.deliver(messages.kafka_v1(Click(run_id, "create_vm")), topic=agent.change_log)
    agent.wait_metric("agent_messages_ignored_total", before + 1, reason="change_event")
    assert world.requests_of(run_id) == []


def test_a_change_event_on_the_runs_topic_is_no_change_event(world: World, agent: OneAgent) -> None:
    before = agent.metric("agent_messages_ignored_total", reason="not_for_agents")
    known = len(world.target.received)
    agent.deliver(port_message("entity_changed"))
    agent.wait_metric("agent_messages_ignored_total", before + 1, reason="not_for_agents")
    assert len(world.target.received) == known


# ── noise ────────────────────────────────────────────────────────────────────────────────────────────

NOT_OURS: list[str | bytes] = [
    '{"resourceType":"integration","action":"RESYNC"}',
    "[1,2,3]",
    "{}",
    '{"context":{"runId":"r_noise"},"action":"somebody_elses"}',
    '{"payload":null,"context":[],"headers":"?"}',
]
UNREADABLE: list[str | bytes] = [
    '"text"',
    "null",
    "17",
    b"",
    b"not JSON",
    b"\xff\xfe\x00",
    b'{"cut',
    b"[" * 100_000,
]


def test_noise_is_counted_and_costs_neither_requests_nor_the_runs_behind_it(world: World, agent: OneAgent) -> None:
    requests = world.asked()
    ignored = agent.metric("agent_messages_ignored_total")
    undecodable = agent.metric("agent_runs_rejected_total", reason="undecodable")
    for noise in [*NOT_OURS, *UNREADABLE]:
        agent.deliver(noise, key="one partition")
    agent.wait_metric("agent_messages_ignored_total", ignored + len(NOT_OURS))
    agent.wait_metric("agent_runs_rejected_total", undecodable + len(UNREADABLE), reason="undecodable")
    assert world.asked() == requests
    run_id = world.begin_run("create_vm")
    agent.deliver(messages.kafka_v1(Click(run_id, "create_vm", {"cpu": 1})), key="one partition")
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
