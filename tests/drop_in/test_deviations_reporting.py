"""Where Port's own agent is wrong about what it takes in and what it reports, we are not; each of it by name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import pytest

from agent.domain.javascript import stringify
from agent.domain.json import JsonObject
from agent.sandbox import messages
from agent.sandbox.messages import Click
from agent.sandbox.port_api import Effect, Fault
from tests.whole.one_agent import OneAgent, port_message
from tests.whole.world import CLIENT_SECRET, World

# ── a badly signed message never touches a run or a workflow node ────────────────────────────────────


def _tampered(document: JsonObject) -> str:
    return messages.signed_message(document, CLIENT_SECRET).replace("/forged", "/other")


def _of_somebody_else(document: JsonObject) -> str:
    return messages.signed_message(document, "another organisation's secret")


FORGERIES: list[Callable[[JsonObject], str]] = [messages.wire_text, _tampered, _of_somebody_else]


@pytest.mark.parametrize("forge", FORGERIES)
@pytest.mark.parametrize("kind", ["run", "node"])
def test_a_badly_signed_message_never_touches_a_run_or_a_workflow_node(
    kind: str, forge: Callable[[JsonObject], str], world: World, agent: OneAgent
) -> None:
    """The official agent ends a workflow node as FAILED then, so that anybody who can write to the topic may."""
    url = world.target.url + "/forged"
    if kind == "node":
        run_id = world.begin_run("node", f"wfnr_forged_{forge.__name__}")
        document = messages.node_run(run_id, url)
    else:
        run_id = world.begin_run("any")
        document = messages.webhook(Click(run_id, "any"), url)
    agent.deliver(forge(document))
    agent.wait_line("message rejected", run_id=run_id, reason="signature", level="warning")
    assert world.requests_of(run_id) == []
    assert world.ledger.runs[run_id].status == "IN_PROGRESS"
    assert [*world.target.requests("/forged"), *world.target.requests("/other")] == []


# ── `changelogDestination` in a runs message exempts from nothing ────────────────────────────────────


def test_changelog_destination_in_a_runs_message_exempts_from_nothing(world: World, agent: OneAgent) -> None:
    """The official agent looks at no signature where a message has that key, whatever topic it came on."""
    run_id = world.begin_run("any")
    url = world.target.url + "/exempted"
    claim = {"changelogDestination": {"type": "WEBHOOK", "agent": True, "url": url}}
    forged = {**messages.webhook(Click(run_id, "any"), url), **claim}
    agent.deliver(forged)
    agent.wait_line("message rejected", run_id=run_id, reason="signature")
    assert (world.requests_of(run_id), world.target.requests("/exempted")) == ([], [])
    agent.deliver_signed(forged)
    world.target.request("/exempted")
    agent.wait_settled(run_id)


# ── "false" strings are false ────────────────────────────────────────────────────────────────────────


def test_agent_false_as_text_is_false(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("any")
    before = agent.metric("agent_messages_ignored_total", reason="not_for_agents")
    url = world.target.url + "/agent-false"
    agent.deliver_signed(messages.webhook(Click(run_id, "any"), url, agent="false"))
    agent.wait_metric("agent_messages_ignored_total", before + 1, reason="not_for_agents")
    assert (world.requests_of(run_id), world.target.requests("/agent-false")) == ([], [])


def test_synchronized_false_as_text_is_false(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("any")
    url = world.target.url + "/synchronized-false"
    agent.deliver_signed(messages.webhook(Click(run_id, "any"), url, synchronized="false"))
    world.target.request("/synchronized-false")
    agent.wait_settled(run_id)
    run = world.ledger.runs[run_id]
    assert (run.status, run.response) == ("IN_PROGRESS", None)


# ── change-log events about a run do not write to that run ───────────────────────────────────────────


def _ended(agent: OneAgent, outcome: str, detail: str) -> bool:
    lines = agent.lines("run finished", route="changed", outcome=outcome)
    return any(line.get("detail", "").startswith(detail) for line in lines)


@pytest.mark.parametrize(("path", "outcome"), [("/change-of-a-run", "success"), ("/status/410", "failure")])
def test_a_change_log_event_about_a_run_does_not_write_to_that_run(
    path: str, outcome: str, world: World, agent: OneAgent
) -> None:
    """The official agent takes it for the run itself: it logs to it, gives it a link, and ends it as FAILURE."""
    run_id = world.begin_run("Create", "r_jE5FhDURh4Uen2Qr")
    event = json.loads(port_message("run_changed"))
    assert event["context"]["runId"] == run_id
    event["changelogDestination"] = {
        "type": "WEBHOOK",
        "agent": True,
        "url": world.target.url + path,
        "synchronized": True,
    }
    agent.deliver(event, topic=agent.change_log)
    world.target.request(path)
    detail = "" if outcome == "success" else f"POST {world.target.url}{path} answered 410 Gone: "
    agent.wait_until(lambda: _ended(agent, outcome, detail), "the end of what the change began")
    assert world.requests_of(run_id) == []
    assert world.ledger.runs[run_id].status == "IN_PROGRESS"


# ── a failed report is retried ───────────────────────────────────────────────────────────────────────

TROUBLES = {
    "503": Fault(status=503, times=3),
    "500": Fault(status=500, times=3),
    "429": Fault(status=429, headers={"Retry-After": "0"}, times=3),
    "a reset connection": Fault(effect=Effect.RESET, times=3),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_failed_report_is_retried(trouble: str, world: World, agent: OneAgent) -> None:
    """The official agent reports once: a run stays in progress for ever if Port is away for that moment."""
    run_id = world.begin_run("any")
    fault = TROUBLES[trouble]
    fault.path, fault.method = f"/v1/actions/runs/{run_id}", "PATCH"
    world.misbehave(fault)
    url = world.target.url + f"/retried/{run_id}"
    agent.deliver_signed(messages.webhook(Click(run_id, "any"), url, synchronized=True))
    run = world.ended(run_id)
    assert (run.terminal_statuses, run.refused_statuses) == (["SUCCESS"], [])
    assert len(world.target.requests(f"/retried/{run_id}")) == 1


# ── the outgoing signature is over the bytes sent ────────────────────────────────────────────────────


def test_the_outgoing_signature_is_over_the_bytes_sent(world: World, agent: OneAgent) -> None:
    """The official agent signs another text than it sends; receivers by either of Port's examples believe ours."""
    run_id = world.begin_run("any")
    click = Click(run_id, "any", {"name": "Grüße ✓", "small": 1e-7, "nested": {"list": [1, None, True]}})
    agent.deliver_signed(messages.webhook(click, world.target.url + "/signed"))
    received = world.target.request("/signed")
    timestamp, signature = (received.headers[f"x-port-{name}"] for name in ("timestamp", "signature"))

    def signed(text: bytes) -> str:
        digest = hmac.new(CLIENT_SECRET.encode(), f"{timestamp}.".encode() + text, hashlib.sha256).digest()
        return "v1," + base64.b64encode(digest).decode()

    assert signature == signed(received.body)
    assert signature == signed(stringify(json.loads(received.body)).encode())
    assert "Grüße ✓".encode() in received.body
    agent.wait_settled(run_id)


# ── numbers and objects in links, ids and summaries are made strings ─────────────────────────────────


def test_numbers_and_objects_in_links_ids_and_summaries_are_made_strings(world: World, agent: OneAgent) -> None:
    """Port refuses them with 422, and with them the status of which the official agent then hears no more."""
    run_id = world.begin_run("no_texts")
    url = world.target.url + "/numbers"
    agent.deliver_signed(messages.webhook(Click(run_id, "no_texts"), url, synchronized=True))
    run = world.ended(run_id)
    assert run.terminal_statuses == ["SUCCESS"]
    assert (run.links, run.summary, run.external_run_id) == (["4711", '{"ok":true}'], '{"number":4711}', "4711")
    assert 422 not in {request.status for request in world.requests_of(run_id)}
