"""What becomes of runs that a request executes, seen from Port and from the other side."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from typing import Any

import pytest

from agent.domain.javascript import stringify
from agent.domain.json import Json, JsonObject
from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.whole.one_agent import OneAgent, Results
from tests.whole.target import Received
from tests.whole.world import CLIENT_SECRET, World

ROUTES = """
- name: get-in-line
  match: {action: synchronous}
  env: [TARGET]
  http:
    method: PUT
    url: "{{ env.TARGET }}/synchronous"
    headers: {X-Name: "{{ .inputs.name }}", X-Nothing: "{{ .inputs.nothing }}"}
    query: {who: "{{ .inputs.name }}", many: [1, 2], none: null}
    body: {service: "{{ .inputs.name }}", small: "{{ .inputs.small }}", text: "é {{ .inputs.small }}"}
  report:
    link: ["{{ .response.json.url }}", "{{ .response.json.number }}"]
    summary: "{{ .response.json.number }}"
    external_run_id: "{{ .response.json.number }}"
    status_label: "{{ .response.statusCode }} for {{ .request.method }}"
- name: answered
  match: {action: answered}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/status/{{ .inputs.code }}", retry: 0}
- name: decided-by-response
  match: {action: decided_by_response}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/status/404"}
  report:
    status: '{{ if .response.statusCode == 404 then "SUCCESS" else null end }}'
    link: "{{ .response.json.nothing }}"
- name: asynchronous
  match: {action: asynchronous}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/asynchronous/{{ .run.id }}", mode: async}
- name: refused-connection
  match: {action: refused_connection}
  http: {url: "http://127.0.0.1:{{ .inputs.port }}/x", retry: 0}
- name: flaky
  match: {action: flaky}
  env: [TARGET]
  http: {method: "{{ .inputs.method }}", url: "{{ env.TARGET }}/flaky/{{ .run.id }}"}
- name: flaky-unsafe
  match: {action: flaky_unsafe}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/flaky/{{ .run.id }}", retry: {unsafe: true}}
- name: metadata-service
  match: {action: metadata_service}
  http: {url: "http://169.254.169.254/latest/meta-data"}
- name: silent-server
  match: {action: silent_server}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/gate/silent-server", timeout: 300ms}
- name: big-answer
  match: {action: big_answer}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/big", max_response_bytes: 1000}
  report: {summary: "{{ .response.text | length }}"}
- name: restart
  match: {action: restart}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/services/{{ .inputs.name }}/restart"}
- name: restart-there
  match: {action: restart_there}
  http: {url: "http://{{ .inputs.place }}.invalid/restart", retry: 0}
- name: own-url
  match: {action: own_url}
  http: {}
"""


ORDERS: dict[str, tuple[str, JsonObject]] = {
    "synchronous": ("synchronous", {"name": "bïlling", "small": 0.0000005, "nothing": None}),
    "204": ("answered", {"code": 204}),
    "409": ("answered", {"code": 409}),
    "500": ("answered", {"code": 500}),
    "302": ("answered", {"code": 302}),
    "decided by response": ("decided_by_response", {}),
    "safe": ("flaky", {"method": "PUT"}),
    "not safe": ("flaky", {"method": "POST"}),
    "said to be safe": ("flaky_unsafe", {}),
    "metadata service": ("metadata_service", {}),
    "silent server": ("silent_server", {}),
    "big answer": ("big_answer", {}),
    "out of its path": ("restart", {"name": "../../admin/wipe?x="}),
    "out of its place": ("restart", {"name": "of/many?parts&all#of it%2f.."}),
}


@pytest.fixture(scope="module")
def results(agent: OneAgent) -> Results:
    return agent.invoke_all(ORDERS)


def _verified(request: Received) -> bool:
    """As receivers do who follow the documentation's Python: over the very bytes of the body."""
    timestamp = request.headers["x-port-timestamp"]
    signed = timestamp.encode() + b"." + request.body
    digest = hmac.new(CLIENT_SECRET.encode(), signed, hashlib.sha256).digest()
    return request.headers["x-port-signature"] == "v1," + base64.b64encode(digest).decode()


def test_a_request_is_rendered_from_its_route_and_its_answer_reported(world: World, results: Results) -> None:
    run = results("synchronous")
    assert run.terminal_statuses == ["SUCCESS"]
    assert run.links == ["https://target.example/made", "4711"]
    assert (run.summary, run.external_run_id, run.status_label) == ("4711", "4711", "200 for PUT")
    request = world.target.request("/synchronous")
    assert (request.method, request.headers["idempotency-key"]) == ("PUT", run.id)
    assert request.query["who"] == "bïlling"
    assert "none" not in request.query
    assert "x-nothing" not in request.headers
    assert json.loads(request.body)["service"] == "bïlling"


def test_the_signature_holds_over_the_bytes_and_over_what_javascript_makes_of_them(
    world: World, results: Results
) -> None:
    results("synchronous")
    request = world.target.request("/synchronous")
    assert _verified(request)
    assert stringify(json.loads(request.body)).encode() == request.body
    assert b'"small":5e-7' in request.body


@pytest.mark.parametrize(
    ("code", "status"), [(204, "SUCCESS"), (409, "FAILURE"), (500, "FAILURE"), (302, "FAILURE")]
)
def test_2xx_is_success_and_anything_else_is_failure(code: int, status: str, results: Results) -> None:
    run = results(str(code))
    assert run.terminal_statuses == [status]
    if status == "FAILURE":
        assert run.summary is not None
        assert str(code) in run.summary
        assert code == 302 or f"scripted {code}" in run.summary


def test_a_route_may_decide_by_the_answer_and_null_changes_nothing(results: Results) -> None:
    run = results("decided by response")
    assert (run.terminal_statuses, run.links) == (["SUCCESS"], [])
    assert "report.link" in run.log_text


def test_asynchronous_leaves_the_run_to_the_other_side(world: World, agent: OneAgent) -> None:
    run_id = agent.invoke("asynchronous")
    world.target.request(f"/asynchronous/{run_id}")
    agent.wait_line("run finished", run_id=run_id, outcome="accepted")
    agent.wait_settled(run_id)
    run = world.ledger.runs[run_id]
    assert (run.status, run.terminal_statuses, run.refused_statuses) == ("IN_PROGRESS", [], [])


def test_a_refused_connection_says_where_and_what_to_check(agent: OneAgent) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        port = taken.getsockname()[1]
        run = agent.result_of("refused_connection", {"port": port})
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert f"127.0.0.1:{port}" in run.summary
    assert "refused" in run.summary
    assert "check that the service runs" in run.summary


def test_503_is_retried_where_repeating_is_safe(world: World, results: Results) -> None:
    run = results("safe")
    assert run.terminal_statuses == ["SUCCESS"]
    first, second = world.target.requests(f"/flaky/{run.id}")
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_503_is_not_retried_where_repeating_is_not_safe(world: World, results: Results) -> None:
    run = results("not safe")
    assert run.terminal_statuses == ["FAILURE"]
    assert len(world.target.requests(f"/flaky/{run.id}")) == 1


def test_503_is_retried_where_the_route_says_that_it_is_safe(world: World, results: Results) -> None:
    run = results("said to be safe")
    assert run.terminal_statuses == ["SUCCESS"]
    assert len(world.target.requests(f"/flaky/{run.id}")) == 2


def test_the_metadata_service_is_refused_and_the_reason_says_how_to_allow_it(results: Results) -> None:
    run = results("metadata service")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "169.254.169.254" in run.summary
    assert "AGENT_HTTP_ALLOW_LINK_LOCAL" in run.summary


def test_an_input_with_steps_in_it_calls_nothing(world: World, results: Results) -> None:
    run = results("out of its path")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "leads to another path" in run.summary
    assert [request.path for request in world.target.received if "wipe" in request.path] == []


def test_an_input_stays_in_its_place_in_the_url(world: World, results: Results) -> None:
    assert results("out of its place").terminal_statuses == ["SUCCESS"]
    request = world.target.request("/services/of/many?parts&all#of it%2f../restart")  # decoded, and still the path
    assert request.query == {}


def test_an_input_does_not_choose_the_host(world: World, agent: OneAgent) -> None:
    place = world.target.url.removeprefix("http://")
    run = agent.result_of("restart_there", {"place": f"{place}/chosen?"})
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "percent-encoded" in run.summary
    assert world.target.requests("/chosen") == []


def test_a_server_that_does_not_answer_in_time_is_a_failure_that_says_so(results: Results) -> None:
    run = results("silent server")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "0.3 s" in run.summary


def test_of_a_big_answer_only_the_beginning_is_read(results: Results) -> None:
    run = results("big answer")
    assert (run.terminal_statuses, run.summary) == (["SUCCESS"], "1000")


def test_connections_are_used_again(world: World, agent: OneAgent) -> None:
    agent.result_of("answered", {"code": 200})
    known = {request.peer_port for request in world.target.received}
    for _ in range(3):
        agent.result_of("answered", {"code": 200})
    assert {request.peer_port for request in world.target.requests("/status/200")} <= known


# ── a message's own url: a route that says nothing, and the built-in one ─────────────────────────────


def _webhook(world: World, to: OneAgent, path: str, **how: Any) -> str:
    run_id = world.begin_run("own_url")
    to.deliver_signed(messages.webhook(Click(run_id, "own_url", {"n": 1e-7}), world.target.url + path, **how))
    return run_id


@pytest.mark.parametrize("kind", ["agent", "forwarding"])
def test_the_message_goes_to_its_own_url_as_it_is(kind: str, world: World, request: pytest.FixtureRequest) -> None:
    to: OneAgent = request.getfixturevalue(kind)
    headers = {"X-Team": "blue", "Authorization": "Bearer of-the-target"}
    run_id = _webhook(world, to, f"/own/{kind}", method="PUT", synchronized="true", headers=headers)
    run = world.ended(run_id)
    assert run.terminal_statuses == ["SUCCESS"]
    received = world.target.request(f"/own/{kind}")
    assert received.method == "PUT"
    assert (received.headers["x-team"], received.headers["authorization"]) == ("blue", "Bearer of-the-target")
    document = json.loads(received.body)
    assert document["context"]["runId"] == run_id
    assert document["payload"]["properties"] == {"n": 1e-7}
    assert _verified(received)
    assert "of-the-target" not in json.dumps(run.to_json()) + to.output()


@pytest.mark.parametrize("synchronized", [False, "false"])
def test_the_built_in_route_leaves_an_asynchronous_run_to_the_target(
    synchronized: bool | str,  # noqa: FBT001 - a value that Port sends
    world: World,
    forwarding: OneAgent,
) -> None:
    run_id = _webhook(world, forwarding, f"/own/async-{synchronized}", synchronized=synchronized)
    world.target.request(f"/own/async-{synchronized}")
    forwarding.wait_line("run finished", run_id=run_id, route="forward-webhooks", outcome="accepted")
    forwarding.wait_settled(run_id)
    assert world.ledger.runs[run_id].status == "IN_PROGRESS"


def test_the_built_in_route_fails_an_asynchronous_run_whose_target_says_no(
    world: World, forwarding: OneAgent
) -> None:
    run = world.ended(_webhook(world, forwarding, "/status/500"))
    assert run.terminal_statuses == ["FAILURE"]
    refusal = 'Failed to invoke the webhook with status code: 500. Response: {"error": "scripted 500"}'
    assert run.summary == refusal


def test_the_built_in_route_takes_workflow_nodes(world: World, forwarding: OneAgent) -> None:
    run_id = world.begin_run("node", "wfnr_forwarded")
    forwarding.deliver_signed(messages.node_run(run_id, world.target.url + "/own/node"))
    assert world.ended(run_id).result == "SUCCESS"
    world.target.request("/own/node")


def test_the_built_in_route_takes_nothing_else(world: World, forwarding: OneAgent) -> None:
    before = forwarding.metric("agent_messages_ignored_total", reason="not_for_agents")
    kafka = world.begin_run()
    forwarding.deliver(messages.kafka_v1(Click(kafka, "anything")))
    own = _webhook(world, forwarding, "/own/not-for-agents", agent="false")
    forwarding.wait_metric("agent_messages_ignored_total", before + 2, reason="not_for_agents")
    assert (world.requests_of(kafka), world.requests_of(own)) == ([], [])
    assert world.target.requests("/own/not-for-agents") == []


def _gitlab(world: World, to: OneAgent, project: str, inputs: JsonObject, **method: Json) -> str:
    run_id = world.begin_run("pipeline")
    message = messages.gitlab(Click(run_id, "pipeline", inputs), group="group/sub", project=project, ref="dev")
    message["payload"]["action"]["invocationMethod"].update(method)
    to.deliver_signed(message, kind="GITLAB")
    return run_id


def test_the_built_in_routes_trigger_gitlabs_pipelines(world: World, forwarding: OneAgent) -> None:
    run_id = _gitlab(world, forwarding, "project", {"n": 3, "on": True, "text": "x"})
    forwarding.wait_line("run finished", run_id=run_id, route="trigger-gitlab-pipelines", outcome="accepted")
    forwarding.wait_settled(run_id)
    received = world.target.request("/gitlab/api/v4/projects/group/sub/project/trigger/pipeline")
    assert "/projects/group%2Fsub%2Fproject/" in received.raw_path
    body = json.loads(received.body)
    assert (received.method, body.pop("port_payload")["context"]["runId"]) == ("POST", run_id)
    assert body == {
        "ref": "dev",
        "token": "glptt-of-the-project",
        "variables": {"n": "3", "on": "true", "text": "x"},
    }
    run = world.ledger.runs[run_id]
    assert (run.status, run.links, run.external_run_id) == (
        "IN_PROGRESS",
        ["https://gitlab.example/pipelines/17"],
        "17",
    )
    assert "glptt-of-the-project" not in json.dumps(run.to_json()) + forwarding.output()


def test_a_pipeline_without_a_token_says_so_in_its_log(world: World, forwarding: OneAgent) -> None:
    run_id = _gitlab(world, forwarding, "other", {"ref": "v1"}, omitUserInputs=True, omitPayload=True)
    received = world.target.request("/gitlab/api/v4/projects/group/sub/other/trigger/pipeline")
    assert json.loads(received.body) == {"ref": "v1", "token": None, "variables": {}, "port_payload": {}}
    forwarding.wait_settled(run_id)
    assert (
        "the agent has no variable GROUP_PROJECT with a trigger token for this project"
        in world.ledger.runs[run_id].log_text
    )


def test_the_built_in_route_takes_change_events_to_their_destination(world: World, forwarding: OneAgent) -> None:
    destination: JsonObject = {"type": "WEBHOOK", "agent": True, "url": f"{world.target.url}/own/changed"}
    event = messages.entity_change("vm", "vm-1", after={"identifier": "vm-1"}, destination=destination)
    forwarding.deliver(event, topic=forwarding.change_log)
    received = world.target.request("/own/changed")
    assert json.loads(received.body) == event
