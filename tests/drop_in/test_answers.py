"""What targets answer gets to Port as Port's own agent gets it there: responses of runs, outputs of nodes."""

from __future__ import annotations

import json

import pytest

from agent.domain.json import Json, JsonObject
from agent.sandbox import messages
from agent.sandbox.messages import Click
from agent.sandbox.port_api import Fault
from agent.sandbox.records import RunRecord
from tests.whole.one_agent import OneAgent
from tests.whole.world import World


def says(
    agent: OneAgent, answer: str, code: int = 200, *, synchronized: bool | str = True, fault: Fault | None = None
) -> str:
    """A run of an action whose target answers with this text; its id."""
    run_id = agent.world.begin_run("says")
    if fault is not None:
        fault.path = f"*/{run_id}/response"
        agent.world.misbehave(fault)
    click = Click(run_id, "says", {"answer": answer, "code": code})
    agent.deliver_signed(messages.webhook(click, "http://unused.example/", synchronized=synchronized))
    return run_id


def node(agent: OneAgent, name: str, path: str, *, synchronized: bool | None = True) -> str:
    """A workflow node's run that calls this path of the target; its id."""
    run_id = agent.world.begin_run("node", f"wfnr_{name}")
    agent.deliver_signed(messages.node_run(run_id, agent.world.target.url + path, synchronized=synchronized))
    return run_id


def paths(world: World, run: RunRecord) -> list[str]:
    """Where Port was told something about the run, after the run's own address."""
    return [r.path.partition(run.id)[2] for r in world.requests_of(run.id) if r.method != "GET"]


# ── synchronous action runs ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"a": [1, "ü"]}', {"a": [1, "ü"]}),
        ("[1, 2]", [1, 2]),
        ('"text in JSON"', "text in JSON"),
        ("done, thank you", "done, thank you"),
        ("17", "17"),
    ],
)
def test_a_synchronous_run_is_given_the_response_before_its_status(
    answer: str, told: Json, world: World, agent: OneAgent
) -> None:
    run = world.ended(says(agent, answer))
    assert (run.terminal_statuses, run.response) == (["SUCCESS"], told)
    asked = paths(world, run)
    assert asked.index("/response") < asked.index("") == len(asked) - 1


@pytest.mark.parametrize("answer", ["", "{}", "null"])
def test_an_empty_response_is_not_told(answer: str, world: World, agent: OneAgent) -> None:
    run = world.ended(says(agent, answer))
    assert run.terminal_statuses == ["SUCCESS"]
    assert "/response" not in paths(world, run)


def test_the_response_of_a_failure_is_told_as_well(world: World, agent: OneAgent) -> None:
    run = world.ended(says(agent, '{"error": "no such thing"}', 404))
    assert (run.terminal_statuses, run.response) == (["FAILURE"], {"error": "no such thing"})
    assert run.summary is not None
    assert "404" in run.summary
    assert "no such thing" in run.summary


def test_an_asynchronous_run_is_given_no_response(world: World, agent: OneAgent) -> None:
    run_id = says(agent, '{"a": 1}', synchronized=False)
    agent.wait_settled(run_id)
    run = world.ledger.runs[run_id]
    assert (run.status, run.response) == ("IN_PROGRESS", None)
    assert "/response" not in paths(world, run)


def test_a_large_response_is_cut_to_what_port_takes_and_says_so(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("any")
    big = world.target.url + "/big"
    agent.deliver_signed(messages.webhook(Click(run_id, "any"), big, synchronized=True))
    run = world.ended(run_id)
    assert run.terminal_statuses == ["SUCCESS"]
    assert isinstance(run.response, str)
    assert 500_000 < len(run.response) < 1024 * 1024
    assert run.response.endswith("bytes left out …")


def test_a_response_that_port_refuses_costs_itself_and_is_told_in_the_log(world: World, agent: OneAgent) -> None:
    run = world.ended(says(agent, '{"a": 1}', fault=Fault(status=422)))
    assert (run.terminal_statuses, run.response) == (["SUCCESS"], None)
    assert "Port did not take the response" in run.log_text


# ── workflow nodes ───────────────────────────────────────────────────────────────────────────────────


def test_a_synchronous_node_ends_with_the_response_as_its_output(world: World, agent: OneAgent) -> None:
    run = world.ended(node(agent, "answered", "/answer"))
    assert (run.status, run.result) == ("COMPLETED", "SUCCESS")
    data = {"ok": True, "url": "https://target.example/made", "number": 4711, "nothing": None}
    assert run.output == {"response": {"status": 200, "data": data}}
    assert {(r.method, r.status) for r in world.requests_of(run.id)} == {("PATCH", 200), ("POST", 200)}


def test_a_node_that_fails_says_why_in_its_log_and_shows_the_response(world: World, agent: OneAgent) -> None:
    run = world.ended(node(agent, "refused", "/status/404"))
    assert (run.status, run.result) == ("COMPLETED", "FAILED")
    assert run.output == {"response": {"status": 404, "data": {"error": "scripted 404"}}}
    (line,) = (line for line in run.logs if line.level == "ERROR")
    assert "404" in line.message
    assert {line.level for line in run.logs} <= {"INFO", "WARN", "ERROR", "DEBUG"}


@pytest.mark.parametrize("synchronized", [False, None])
def test_an_asynchronous_node_is_left_to_the_target(
    synchronized: bool | None,  # noqa: FBT001 - a value that Port sends
    world: World,
    agent: OneAgent,
) -> None:
    run_id = node(agent, f"left_{synchronized}", f"/left/{synchronized}", synchronized=synchronized)
    world.target.request(f"/left/{synchronized}")
    agent.wait_settled(run_id)
    run = world.ledger.runs[run_id]
    assert (run.status, run.output) == ("IN_PROGRESS", None)
    assert "" not in paths(world, run)


def test_an_asynchronous_node_whose_target_says_no_fails_and_says_why(world: World, agent: OneAgent) -> None:
    run = world.ended(node(agent, "async_refused", "/status/500", synchronized=False))
    assert (run.result, run.output) == ("FAILED", None)
    assert "500" in run.log_text


# ── the change log ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("flag", [True, "true"])
def test_a_change_is_forwarded_as_it_is(flag: bool | str, world: World, agent: OneAgent) -> None:  # noqa: FBT001
    path = f"/changed/{flag}"
    url = world.target.url + path
    destination: JsonObject = {"type": "WEBHOOK", "agent": flag, "url": url, "method": "PUT"}
    event = messages.entity_change("vm", "one", before=None, after={"identifier": "one"}, destination=destination)
    agent.deliver(event, topic=agent.change_log)
    received = world.target.request(path)
    assert (received.method, json.loads(received.body)) == ("PUT", event)
    assert received.headers["x-port-signature"].startswith("v1,")
    agent.wait_line("run finished", route="changed", outcome="accepted")


def test_a_change_whose_target_says_no_is_told_in_the_agents_log(world: World, agent: OneAgent) -> None:
    url = world.target.url + "/status/418"
    destination: JsonObject = {"type": "WEBHOOK", "agent": True, "url": url}
    agent.deliver(messages.entity_change("vm", "two", after={}, destination=destination), topic=agent.change_log)

    def is_told() -> bool:
        return any(
            "418" in line["detail"] for line in agent.lines("run finished", route="changed", outcome="failure")
        )

    agent.wait_until(is_told, "the answer to be told in the log")


def test_a_change_that_is_not_for_agents_is_passed_over(world: World, agent: OneAgent) -> None:
    before = agent.metric("agent_messages_ignored_total", reason="change_event")
    url = world.target.url + "/not-for-agents"
    flags: list[JsonObject] = [{}, {"agent": False}, {"agent": "false"}]
    for flag in flags:
        destination: JsonObject = {"type": "WEBHOOK", "url": url, **flag}
        agent.deliver(
            messages.entity_change("vm", "three", after={}, destination=destination), topic=agent.change_log
        )
    agent.wait_metric("agent_messages_ignored_total", before + 3, reason="change_event")
    assert world.target.requests("/not-for-agents") == []


# ── what the operator set ────────────────────────────────────────────────────────────────────────────


def test_with_detailed_logging_off_people_read_the_status_and_no_answer(world: World, terse: OneAgent) -> None:
    run = world.ended(says(terse, '{"error": "internal-d3tail"}', 500, synchronized=False))
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "500" in run.summary
    assert "internal-d3tail" not in json.dumps(run.to_json()) + terse.output()


def test_so_it_is_without_any_routes(world: World, unmapped: OneAgent) -> None:
    run_id = world.begin_run("any")
    url = world.target.url + "/status/500"
    unmapped.deliver_signed(messages.webhook(Click(run_id, "any"), url))
    run = world.ended(run_id)
    assert run.summary == "Failed to invoke the webhook with status code: 500."
    assert "scripted 500" not in json.dumps(run.to_json()) + unmapped.output()


def test_what_has_no_effect_here_is_named_in_one_line_at_start(agent: OneAgent, terse: OneAgent) -> None:
    event = "settings of the official agent that have no effect here"
    (line,) = agent.lines(event)
    bundles = {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    assert set(line["settings"]) == {"DETAILED_LOGGING", "USING_LOCAL_PORT_INSTANCE", *bundles}
    (line,) = terse.lines(event)
    assert set(line["settings"]) == {"USING_LOCAL_PORT_INSTANCE", *bundles}
