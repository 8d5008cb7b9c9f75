"""A claimed run becomes the message that the topic would carry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.domain.invocation import Channel, InvocationKind, RunId
from agent.domain.json import JsonObject
from agent.intake.reader import MessageIntake
from agent.intake.signature import SignatureMode
from agent.polling.api import ClaimedRun
from agent.polling.message import message_of
from agent.ports import Decoded, NotOurs, Unacceptable, Unexecutable

BODY: JsonObject = {
    "context": {"entity": "entity_123", "blueprint": "microservice", "runId": "r_of_somebody_else"},
    "payload": {"action": {"identifier": "deploy"}, "properties": {"environment": "Grüße"}},
    "trigger": {"by": {"userId": "user_123"}},
    "headers": {"X-Of-The-Body": "1"},
}


def action(**method: Any) -> ClaimedRun:
    payload = {"type": "WEBHOOK", "url": "https://hook", "agent": True, "body": BODY, **method}
    return ClaimedRun(InvocationKind.ACTION_RUN, RunId("r_1"), {"_id": "r_1", "id": "r_1", "payload": payload})


def node(**config: Any) -> ClaimedRun:
    config = {"type": "WEBHOOK", "url": "https://hook", "agent": True, **config}
    return ClaimedRun(InvocationKind.NODE_RUN, RunId("wfnr_1"), {"identifier": "wfnr_1", "config": config})


def told(run: ClaimedRun) -> Any:
    return json.loads(message_of(run))


def test_the_body_has_headers_method_and_run_forced_in() -> None:
    message = told(action(headers={"X-Team": "infra"}, synchronized=True, method="PUT", omitPayload=True))
    assert message == {
        "context": {"entity": "entity_123", "blueprint": "microservice", "runId": "r_1"},
        "payload": {
            "action": {
                "identifier": "deploy",
                "invocationMethod": {
                    "type": "WEBHOOK",
                    "url": "https://hook",
                    "agent": True,
                    "synchronized": True,
                    "method": "PUT",
                    "headers": {"X-Team": "infra"},
                },
            },
            "properties": {"environment": "Grüße"},
        },
        "trigger": {"by": {"userId": "user_123"}},
        "headers": {"X-Team": "infra"},
    }


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (None, {}),
        ({}, {}),
        ([1, {"a": 2}], {"body": [1, {"a": 2}]}),
        ("text", {"body": "text"}),
        ({"payload": "text", "context": None}, {}),
        ({"payload": {"action": "text"}}, {}),
    ],
)
def test_a_body_of_any_form_gives_a_message(body: Any, rest: dict[str, Any]) -> None:
    message = told(action(body=body))
    assert message.pop("context") == {"runId": "r_1"}
    assert list(message.pop("payload").pop("action")) == ["invocationMethod"]
    assert message.pop("headers") == {}
    assert message == rest


def test_a_node_has_its_configuration_beside_it() -> None:
    message = told(node(headers={"Content-Type": "application/json"}))
    assert message["context"]["runId"] == "wfnr_1"
    assert message["context"]["nodeConfig"]["url"] == "https://hook"
    assert message["headers"] == {"Content-Type": "application/json"}
    method = message["payload"]["action"]["invocationMethod"]
    assert (method["method"], method["synchronized"], method["agent"]) == ("POST", False, True)


def test_a_run_that_says_nothing_is_for_nobody() -> None:
    silent = ClaimedRun(InvocationKind.NODE_RUN, RunId("wfnr_1"), {"identifier": "wfnr_1"})
    assert told(silent)["payload"]["action"]["invocationMethod"]["agent"] is False


# ── what intake makes of it ──────────────────────────────────────────────────────────────────────────


def intake(mode: SignatureMode = SignatureMode.REQUIRED, **how: Any) -> MessageIntake:
    return MessageIntake("secret", SystemClock(), mode=mode, max_age_s=60.0, **how)


@pytest.mark.parametrize("run", [action(), node()], ids=["action", "node"])
@pytest.mark.parametrize("mode", list(SignatureMode))
def test_it_needs_no_signature_where_it_was_polled(run: ClaimedRun, mode: SignatureMode) -> None:
    verdict = intake(mode).decode(message_of(run), Channel.POLLED)
    assert isinstance(verdict, Decoded)
    invocation = verdict.invocation
    assert (invocation.run_id, invocation.kind, invocation.for_agents) == (run.run_id, run.kind, True)
    assert intake().recall(message_of(run), Channel.POLLED) == invocation


def test_the_same_bytes_from_the_topic_are_refused() -> None:
    """The way by which it came counts, and nothing that it says of itself."""
    body = message_of(action(body={**BODY, "channel": "polled"}))
    assert isinstance(intake().decode(body, Channel.RUNS), Unacceptable)


@pytest.mark.parametrize("agent", [False, "false", None, "no", {}, 1])
def test_what_is_not_for_agents_is_passed_over(agent: Any) -> None:
    for run in (action(agent=agent), node(agent=agent)):
        assert intake().decode(message_of(run), Channel.POLLED) == NotOurs("not_for_agents")


def test_one_that_is_too_large_names_its_run_all_the_same() -> None:
    verdict = intake(max_bytes=600).decode(message_of(action(url="x" * 2000)), Channel.POLLED)
    assert isinstance(verdict, Unexecutable)
    assert verdict.invocation.run_id == "r_1"
