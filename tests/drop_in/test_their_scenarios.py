"""What Port's own agent tests of itself, test by test: on Kafka with its messages, through the whole agent."""

from __future__ import annotations

import ast
import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox import messages
from agent.sandbox.messages import Click, encrypted
from tests.whole.one_agent import OneAgent, port_message
from tests.whole.target import Received
from tests.whole.world import CLIENT_SECRET, World

ROOT = Path(__file__).parents[2]

# ── its messages ─────────────────────────────────────────────────────────────────────────────────────

TRIGGER = {"by": {"orgId": "test_org", "userId": "test_user"}, "origin": "UI", "at": "2022-11-16T16:31:32.447Z"}
RUN: dict[str, Any] = {
    "action": "Create",
    "resourceType": "run",
    "status": "TRIGGERED",
    "trigger": TRIGGER,
    "context": {"entity": None, "blueprint": "Service", "runId": "?"},
    "payload": {
        "entity": None,
        "action": {
            "id": "action_34aweFQtayw7SCVb",
            "identifier": "Create",
            "title": "Create",
            "icon": "DefaultBlueprint",
            "userInputs": {
                "properties": {
                    "foo": {"type": "string", "description": "Description"},
                    "bar": {"type": "number", "description": "Description"},
                },
                "required": [],
            },
            "invocationMethod": {},
            "trigger": "CREATE",
            "description": "",
            "blueprint": "Service",
            "createdAt": "2022-11-15T09:58:52.863Z",
            "createdBy": "test_user",
            "updatedAt": "2022-11-15T09:58:52.863Z",
            "updatedBy": "test_user",
        },
        "properties": {},
    },
    "headers": {},
}


def run_message(world: World, path: str, **method: Any) -> dict[str, Any]:
    """Its run of the action `Create`, as a run of ours that calls this path of the target."""
    context = {**RUN["context"], "runId": world.begin_run("Create")}
    invocation = {"type": "WEBHOOK", "agent": True, "url": world.target.url + path, **method}
    payload = {**RUN["payload"], "action": {**RUN["payload"]["action"], "invocationMethod": invocation}}
    return {**RUN, "context": context, "payload": payload}


def change_message(world: World, path: str, **destination: Any) -> dict[str, Any]:
    """Its change of a run, for this path of the target."""
    event: dict[str, Any] = json.loads(port_message("run_changed"))
    return {
        **event,
        "changelogDestination": {"type": "WEBHOOK", "agent": True, "url": world.target.url + path, **destination},
    }


def node_message(world: World, name: str, path: str, **method: Any) -> dict[str, Any]:
    """Its run of a workflow's node."""
    run_id = world.begin_run("node", f"wfnr_{name}")
    node = messages.node_run(run_id, world.target.url + path, synchronized=None)
    node["payload"]["action"]["invocationMethod"] |= {"headers": {"Content-Type": "application/json"}, **method}
    return node


def deliver(agent: OneAgent, message: dict[str, Any]) -> str:
    """Puts it where it belongs, signed if it is a run; the run's id."""
    if "changelogDestination" in message:
        agent.deliver(message, topic=agent.change_log)
    else:
        agent.deliver_signed(message)
    return str(message["context"]["runId"])


def verified(request: Received) -> bool:
    signed = request.headers["x-port-timestamp"].encode() + b"." + request.body
    digest = hmac.new(CLIENT_SECRET.encode(), signed, hashlib.sha256).digest()
    return request.headers["x-port-signature"] == "v1," + base64.b64encode(digest).decode()


MESSAGES = {"change log": change_message, "run": run_message}


# ── its tests of one message ─────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["agent", "unmapped"])
def either(request: pytest.FixtureRequest) -> OneAgent:
    """One with a route that forwards, and one without any routes."""
    either: OneAgent = request.getfixturevalue(request.param)
    return either


@pytest.mark.parametrize("kind", MESSAGES)
def test_single_stream_success(kind: str, world: World, either: OneAgent) -> None:
    path = f"/success/{kind}/{either.org}"
    message = MESSAGES[kind](world, path)
    run_id = deliver(either, message)
    received = world.target.request(path)
    assert (received.method, json.loads(received.body)) == ("POST", message)
    if kind == "run":
        either.wait_settled(run_id)
        assert world.ledger.runs[run_id].status == "IN_PROGRESS"
    assert either.lines(level="error") == []


@pytest.mark.parametrize("kind", MESSAGES)
def test_single_stream_failed(kind: str, world: World, either: OneAgent) -> None:
    path = "/status/500" if kind == "run" else "/status/507"
    run_id = deliver(either, MESSAGES[kind](world, path))
    code = path.removeprefix("/status/")
    either.wait_until(lambda: _failed_with(either, code), "the failure to be told")
    if kind == "run":
        run = world.ended(run_id)
        assert run.terminal_statuses == ["FAILURE"]
        assert run.summary is not None
        assert "500" in run.summary


def _failed_with(agent: OneAgent, code: str) -> bool:
    return any(code in line["detail"] for line in agent.lines("run finished", outcome="failure"))


@pytest.mark.parametrize("kind", MESSAGES)
def test_single_stream_success_control_the_payload(kind: str, world: World, agent: OneAgent) -> None:
    path = f"/{kind}/mapped"
    message = MESSAGES[kind](world, path)
    run_id = deliver(agent, message)
    received = world.target.request(path)
    assert (received.method, json.loads(received.body), received.query) == ("POST", message, {})
    assert received.headers["my-header"] == "run"
    assert verified(received)
    if kind == "run":
        agent.wait_settled(run_id)
        assert world.ledger.runs[run_id].links == ["http://test.com"]


def test_invocation_method_synchronized(world: World, agent: OneAgent) -> None:
    message = run_message(world, "/synchronized/mapped", synchronized=True)
    run = world.ended(deliver(agent, message))
    received = world.target.request("/synchronized/mapped")
    assert json.loads(received.body) == message
    assert received.headers["my-header"] == "run"
    told = [r.path.partition(run.id)[2] for r in world.requests_of(run.id) if r.method == "PATCH"]
    assert told == ["/response", ""]
    assert (run.terminal_statuses, run.links) == (["SUCCESS"], ["http://test.com"])


@pytest.mark.parametrize("kind", MESSAGES)
def test_invocation_method_method_override(kind: str, world: World, agent: OneAgent) -> None:
    path = f"/override/{kind}/mapped"
    message = MESSAGES[kind](world, path, method="GET")
    run_id = deliver(agent, message)
    received = world.target.request(path)
    assert (received.method, json.loads(received.body)) == ("GET", message)
    assert verified(received)
    if kind == "run":
        agent.wait_settled(run_id)


def test_single_stream_skipped_due_to_agentless(world: World, agent: OneAgent) -> None:
    before = agent.metric("agent_messages_ignored_total", reason="not_for_agents")
    run_id = deliver(agent, run_message(world, "/agentless", agent=False))
    agent.wait_metric("agent_messages_ignored_total", before + 1, reason="not_for_agents")
    assert (world.requests_of(run_id), world.target.requests("/agentless")) == ([], [])
    assert agent.lines(level="error") == []


# ── its tests of a workflow's node ───────────────────────────────────────────────────────────────────


def test_wf_node_run_stream_success(world: World, either: OneAgent) -> None:
    run = world.ended(deliver(either, node_message(world, f"abc123_{either.org}", "/node", synchronized=True)))
    assert (run.status, run.result) == ("COMPLETED", "SUCCESS")
    assert run.output is not None
    assert run.output.keys() == {"response"}
    assert json.dumps(run.output).startswith('{"response": {"status": 200, "data": {"ok": true')
    last = world.requests_of(run.id)[-1]
    assert (last.method, last.path) == ("PATCH", f"/v1/workflows/nodes/runs/{run.id}")


def test_wf_node_run_not_synchronized(world: World, either: OneAgent) -> None:
    path = f"/node-async/{either.org}"
    run_id = deliver(either, node_message(world, f"asynchronous_{either.org}", path, synchronized=False))
    world.target.request(path)
    either.wait_settled(run_id)
    assert world.ledger.runs[run_id].status == "IN_PROGRESS"
    assert "PATCH" not in {request.method for request in world.requests_of(run_id)}


def test_wf_node_run_stream_skips_non_agent(world: World, agent: OneAgent) -> None:
    before = agent.metric("agent_messages_ignored_total", reason="not_for_agents")
    run_id = deliver(agent, node_message(world, "agentless", "/node-agentless", agent=False))
    agent.wait_metric("agent_messages_ignored_total", before + 1, reason="not_for_agents")
    assert (world.requests_of(run_id), world.target.requests("/node-agentless")) == ([], [])


# ── its tests of fieldsToDecryptPaths ────────────────────────────────────────────────────────────────


def test_fields_at_any_depth_are_opened_and_nothing_else_is_touched(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("decrypts")
    sealed = encrypted("secret_value", CLIENT_SECRET)
    inputs: dict[str, Any] = {
        "field1": sealed,
        "nested": {"field2": sealed, "other": "not encrypted"},
        "list": [{"deep": {"secret": sealed}}, {"deep": {"not_secret": "foo"}}],
        "field3": "plain_value3",
    }
    agent.deliver_signed(messages.webhook(Click(run_id, "decrypts", inputs), world.target.url + "/decrypted"))
    assert json.loads(world.target.request("/decrypted").body)["payload"]["properties"] == {
        "field1": "secret_value",
        "nested": {"field2": "secret_value", "other": "not encrypted"},
        "list": [{"deep": {"secret": "secret_value"}}, {"deep": {"not_secret": "foo"}}],
        "field3": "plain_value3",
    }
    agent.wait_settled(run_id)
    assert "secret_value" not in agent.output() + world.everything_port_was_told()


# ── all of its tests, and where each has its counterpart ─────────────────────────────────────────────

HERE = "tests/drop_in/test_their_scenarios.py"
SECRETS = "tests/intake/test_secrets.py"
POLLING = "tests/whole/test_polling.py"
POLLED = "tests/polling/test_message.py"
PACE = "tests/polling/test_pace.py"
CLAIMS = "tests/composition/test_polling.py"
FORWARDED = f"{POLLING}::test_runs_and_nodes_of_workflows_are_forwarded_and_reported"
DEPTHS = f"{HERE}::test_fields_at_any_depth_are_opened_and_nothing_else_is_touched"

COUNTERPARTS = {
    "processors/kafka/test_kafka_to_webhook_processor.py": {
        "test_single_stream_success": [f"{HERE}::test_single_stream_success"],
        "test_single_stream_failed": [f"{HERE}::test_single_stream_failed"],
        "test_single_stream_success_control_the_payload": [
            f"{HERE}::test_single_stream_success_control_the_payload",
            "tests/routing/test_mapping.py::test_the_first_that_is_enabled_takes_the_message",
            "tests/routing/test_mapping.py::test_a_mapping_is_enabled_by_true_and_nothing_else",
        ],
        "test_invocation_method_synchronized": [f"{HERE}::test_invocation_method_synchronized"],
        "test_invocation_method_method_override": [f"{HERE}::test_invocation_method_method_override"],
        "test_wf_node_run_stream_success": [f"{HERE}::test_wf_node_run_stream_success"],
        "test_wf_node_run_not_synchronized": [f"{HERE}::test_wf_node_run_not_synchronized"],
    },
    "streamers/kafka/test_kafka_streamer.py": {
        "test_single_stream_success": [f"{HERE}::test_single_stream_success"],
        "test_single_stream_failed": [f"{HERE}::test_single_stream_failed"],
        "test_single_stream_skipped_due_to_agentless": [f"{HERE}::test_single_stream_skipped_due_to_agentless"],
        "test_wf_node_run_stream_success": [f"{HERE}::test_wf_node_run_stream_success"],
        "test_wf_node_run_stream_skips_non_agent": [f"{HERE}::test_wf_node_run_stream_skips_non_agent"],
    },
    "invokers/test_webhook_invoker.py": {
        "test_decrypt_simple_fields": [DEPTHS],
        "test_decrypt_complex_fields": [DEPTHS],
        "test_partial_decryption": [DEPTHS],
        "test_decrypt_with_complex_jq": [DEPTHS],
        "test_decrypt_payload_fields_complex": [DEPTHS],
        "test_decrypt_field_too_short": [f"{SECRETS}::test_what_is_no_ciphertext_is_refused_without_quoting_it"],
        "test_decrypt_field_key_too_short": [f"{SECRETS}::test_a_short_client_secret_is_named_as_the_cause"],
        "test_decrypt_field_decrypt_failure": [
            f"{SECRETS}::test_a_rotated_client_secret_is_named_as_the_likely_cause"
        ],
        # Theirs sends the field as it came; here its run fails, and nothing is sent.
        "test_decrypt_payload_fields_decrypt_exception": [
            f"{SECRETS}::test_an_input_that_does_not_open_fails",
            "tests/whole/test_secret_inputs.py::test_an_input_that_does_not_open_fails_its_run_and_is_sent_nowhere",
        ],
        "test_get_nested_and_set_nested": [
            DEPTHS,
            f"{SECRETS}::test_a_path_outside_the_inputs_is_opened_in_every_view",
            f"{SECRETS}::test_an_optional_input_that_was_not_given_is_no_error",
        ],
    },
    "processors/polling/test_polling_to_webhook_processor.py": {
        "test_process_run_success": [FORWARDED],
        "test_process_run_without_invocation_method": [f"{POLLED}::test_a_run_that_says_nothing_is_for_nobody"],
        "test_process_run_adds_run_id_to_context": [f"{POLLED}::test_a_body_of_any_form_gives_a_message"],
        "test_process_run_overwrites_body_run_id": [
            f"{POLLED}::test_the_body_has_headers_method_and_run_forced_in"
        ],
        "test_process_wf_node_run_success": [
            FORWARDED,
            f"{POLLED}::test_a_node_has_its_configuration_beside_it",
        ],
        # Theirs raises, for its caller to say FAILED; here the run of each kind ends with the reason.
        "test_process_wf_node_run_webhook_failure_propagates": [
            f"{HERE}::test_wf_node_run_stream_success",
            f"{POLLING}::test_a_run_without_a_route_ends_with_the_reason",
        ],
        "test_process_wf_node_run_missing_identifier": [
            f"{CLAIMS}::test_a_run_without_an_id_is_counted_and_not_given_out"
        ],
        "test_process_wf_node_run_empty_config": [f"{POLLED}::test_a_run_that_says_nothing_is_for_nobody"],
    },
    "streamers/polling/test_http_polling_consumer.py": {
        "test_http_polling_consumer_successful_poll": [FORWARDED],
        "test_http_polling_consumer_no_pending_runs": [
            f"{PACE}::test_a_full_batch_is_followed_at_once_and_an_empty_one_after_the_interval"
        ],
        "test_http_polling_consumer_processing_error": [
            f"{POLLING}::test_a_run_without_a_route_ends_with_the_reason"
        ],
        "test_http_polling_consumer_exponential_backoff": [
            f"{PACE}::test_waits_after_errors_grow_to_their_bound_and_begin_anew_after_a_success",
            f"{POLLING}::test_an_outage_is_waited_out_with_growing_waits",
        ],
        "test_http_polling_consumer_backoff_reset": [
            f"{PACE}::test_waits_after_errors_grow_to_their_bound_and_begin_anew_after_a_success"
        ],
        # Theirs acknowledges all that it has claimed; here each run, when its work begins.
        "test_http_polling_consumer_ack_all_claimed_runs": [
            f"{POLLING}::test_two_agents_side_by_side_execute_each_run_once",
            f"{POLLING}::test_no_more_is_claimed_than_can_be_begun",
        ],
        "test_http_polling_consumer_ack_failure_skips_processing": [
            f"{POLLING}::test_what_another_worker_has_acknowledged_is_not_executed"
        ],
        "test_http_polling_consumer_wf_node_run_successful_poll": [FORWARDED],
        "test_http_polling_consumer_workflow_no_pending_node_runs": [
            f"{PACE}::test_a_full_batch_is_followed_at_once_and_an_empty_one_after_the_interval"
        ],
        "test_http_polling_consumer_workflow_processing_error": [
            f"{POLLING}::test_a_run_without_a_route_ends_with_the_reason"
        ],
        "test_http_polling_consumer_workflow_ack_failure_skips_processing": [
            f"{CLAIMS}::test_an_acknowledgement_that_took_nothing_was_somebody_elses",
            "tests/polling/test_source.py::test_what_is_not_acknowledged_is_not_begun_nor_kept",
        ],
        # Theirs can be built without nodes of workflows; here a Port without them is passed over.
        "test_http_polling_consumer_workflow_skipped_without_callback": [
            f"{POLLING}::test_a_port_without_workflows_still_gives_action_runs"
        ],
        "test_http_polling_consumer_both_action_and_workflow_runs": [
            FORWARDED,
            "tests/polling/test_source.py::test_both_kinds_come_with_what_the_dispatcher_needs",
        ],
    },
    "streamers/polling/test_polling_streamer.py": {
        "test_polling_streamer_initialization": [FORWARDED],
        "test_polling_streamer_stream": [FORWARDED],
        "test_polling_streamer_process_run": [FORWARDED],
        "test_polling_streamer_process_run_skips_non_agent": [
            f"{POLLING}::test_runs_that_are_not_for_agents_are_left_alone"
        ],
        "test_polling_streamer_process_wf_node_run": [FORWARDED],
        "test_polling_streamer_process_wf_node_run_skips_non_agent": [
            f"{POLLED}::test_what_is_not_for_agents_is_passed_over"
        ],
        "test_polling_streamer_process_wf_node_run_missing_identifier": [
            f"{CLAIMS}::test_a_run_without_an_id_is_counted_and_not_given_out"
        ],
    },
}
"""Under its directory ``tests/unit``."""


@pytest.mark.parametrize(
    "node_id", sorted({node for tests in COUNTERPARTS.values() for nodes in tests.values() for node in nodes})
)
def test_the_counterpart_is_there(node_id: str) -> None:
    path, _, name = node_id.partition("::")
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
