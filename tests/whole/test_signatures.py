"""Only what Port has signed is acted on; anything else touches nothing in Port and nothing behind the routes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import pytest

from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.whole.one_agent import OneAgent, Results, port_message
from tests.whole.world import CLIENT_SECRET, World

ROUTES = """
- name: signed
  match: {action: signed}
  process: {command: [echo, "acted on {{ .inputs | tojson }}"]}
"""


def _signature(text: str, timestamp: int, secret: str = CLIENT_SECRET) -> str:
    """Port's scheme in so many words, written without the product."""
    digest = hmac.new(secret.encode(), f"{timestamp}.{text}".encode(), hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _webhook_text(run_id: str, properties: str = "{}", own_headers: str = "") -> str:
    """What Port signs: a webhook message with its ``headers`` last, ready for two more members."""
    return (
        '{"action":"signed","context":{"runId":"' + run_id + '","blueprint":"service","entity":null},'
        '"payload":{"action":{"identifier":"signed","invocationMethod":{"type":"WEBHOOK","agent":true}},'
        '"properties":' + properties + '},"headers":{' + own_headers + "}}"
    )


def _sent(text: str, signature: str, timestamp: int | str) -> str:
    """The text with Port's two members put into its headers."""
    members = f'"X-Port-Signature":"{signature}","X-Port-Timestamp":{json.dumps(timestamp)}'
    return text.removesuffix("}}") + ("" if text.endswith("{}}") else ",") + members + "}}"


# ── what is genuine is acted on ──────────────────────────────────────────────────────────────────────

GENUINE = {
    "nothing special": "{}",
    "small floats": '{"a":0.000001,"b":1e-7,"c":1.5e-9,"d":1e+21,"e":100}',
    "lone surrogates": r'{"half":"\ud83d","other half":"\ude00 x"}',
    "other alphabets": '{"name":"Grüße, 世界, 😀","key ü":1}',
    "escapes": r'{"text":"a\"b\\c\n\u0007","slash":"a/b"}',
    "keys in the order received": '{"z":1,"a":2,"10":3}',
    "an own X-Port header of no meaning": '{"X-Port-Signature":"v1,AAAA"}',
}


@pytest.fixture(scope="module")
def genuine(world: World, agent: OneAgent) -> Results:
    run_ids = {name: world.begin_run("signed") for name in GENUINE}
    for name, run_id in run_ids.items():
        text = _webhook_text(run_id, GENUINE[name])
        agent.deliver(_sent(text, _signature(text, 1713277889), 1713277889))
    return Results(world, run_ids)


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_signature_is_believed_with(name: str, genuine: Results) -> None:
    run = genuine(name)
    assert (run.terminal_statuses, "acted on" in run.log_text) == (["SUCCESS"], True), run


def test_the_actions_own_headers_are_part_of_what_is_signed(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("signed")
    text = _webhook_text(run_id, own_headers='"Content-Type":"application/json","X-Team":"ä"')
    agent.deliver(_sent(text, _signature(text, 1713277889), 1713277889))
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]


def test_the_timestamp_may_be_text(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("signed")
    text = _webhook_text(run_id)
    agent.deliver(_sent(text, _signature(text, 1713277889), "1713277889"))
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]


def test_the_published_example_is_genuine(world: World, strict: OneAgent) -> None:
    """Its action has no route here: that it was looked for tells that the message was believed, if too old."""
    run_id = world.begin_run("Create", "r_1")
    text = '{"action":"Create","context":{"runId":"r_1"},"payload":{"properties":{"name":"Grüße"}},"headers":{}}'
    strict.deliver(_sent(text, "v1,SztGR+NhCrdppy15Zx+kwzjQMB7l4aKT8s4liMDG85k=", 1713277889))
    assert "ago" in strict.wait_line("message rejected", run_id=run_id, reason="too_old")["detail"]


# ── what is not touches nothing ──────────────────────────────────────────────────────────────────────


def _unsigned(run_id: str) -> str:
    return _webhook_text(run_id)


def _other_secret(run_id: str) -> str:
    text = _webhook_text(run_id)
    return _sent(text, _signature(text, 1713277889, "another organisation's secret"), 1713277889)


def _changed_input(run_id: str) -> str:
    text = _webhook_text(run_id, '{"count":1}')
    return _sent(text, _signature(text, 1713277889), 1713277889).replace('"count":1', '"count":9')


def _changed_timestamp(run_id: str) -> str:
    text = _webhook_text(run_id)
    return _sent(text, _signature(text, 1713277889), 1713277890)


def _no_timestamp(run_id: str) -> str:
    text = _webhook_text(run_id)
    signature = _signature(text, 1713277889)
    return text.removesuffix("}}") + f'"X-Port-Signature":"{signature}"}}}}'


def _malformed(run_id: str) -> str:
    return _sent(_webhook_text(run_id), "not a signature ✗", 1713277889)


def _no_version(run_id: str) -> str:
    text = _webhook_text(run_id)
    return _sent(text, _signature(text, 1713277889).removeprefix("v1,"), 1713277889)


def _member_added_twice(run_id: str) -> str:
    """The second of two equal keys counts for most readers; it was not signed."""
    text = _webhook_text(run_id)
    sent = _sent(text, _signature(text, 1713277889), 1713277889)
    return sent.replace('"properties":{}', '"properties":{},"properties":{"evil":true}')


def _gitlab_with_foreign_headers(run_id: str) -> str:
    document = messages.gitlab(Click(run_id, "signed"), group="group", project="project")
    return messages.signed_message(document, "another organisation's secret", kind="GITLAB")


def _unsigned_node(run_id: str) -> str:
    return messages.wire_text(messages.node_run(run_id, "http://unused.example/process"))


def _kafka_with_a_wrong_signature(run_id: str) -> str:
    """It may be unsigned; but what it carries must be right."""
    return messages.signed_message(messages.kafka_v1(Click(run_id, "signed")), "another organisation's secret")


BAD: list[Callable[[str], str]] = [
    _unsigned,
    _other_secret,
    _changed_input,
    _changed_timestamp,
    _no_timestamp,
    _malformed,
    _no_version,
    _member_added_twice,
    _gitlab_with_foreign_headers,
    _unsigned_node,
    _kafka_with_a_wrong_signature,
]


@pytest.fixture(scope="module")
def forged(world: World, agent: OneAgent) -> dict[str, str]:
    """Run ids by the forger's name; by then all of the messages were refused, and counted."""
    names = [forge.__name__ for forge in BAD]
    run_ids = {name: world.begin_run("signed", "wfnr_unsigned" if "node" in name else None) for name in names}
    before = agent.metric("agent_runs_rejected_total", reason="signature")
    for forge in BAD:
        agent.deliver(forge(run_ids[forge.__name__]))
    agent.wait_metric("agent_runs_rejected_total", before + len(BAD), reason="signature")
    return run_ids


@pytest.mark.parametrize("forge", BAD)
def test_touches_nothing(
    forge: Callable[[str], str], forged: dict[str, str], world: World, agent: OneAgent
) -> None:
    run_id = forged[forge.__name__]
    line = agent.wait_line("message rejected", run_id=run_id, reason="signature")
    assert line["level"] == "warning"
    assert line["detail"].startswith(agent.topic)
    assert world.requests_of(run_id) == []
    assert not agent.lines("run started", run_id=run_id)
    assert world.ledger.runs[run_id].status == "IN_PROGRESS"


# ── AGENT_SIGNATURES and AGENT_SIGNATURE_MAX_AGE_S ───────────────────────────────────────────────────


def test_auto_takes_kafka_messages_unsigned(world: World, agent: OneAgent) -> None:
    assert agent.result_of("signed", {"n": 1}).log_text == 'acted on {"n":1}'
    run_id = world.begin_run("signed")
    agent.deliver_signed(messages.kafka_v1(Click(run_id, "signed")))
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]


@pytest.mark.parametrize("shape", ["kafka", "tutorial"])
def test_required_wants_every_message_signed(shape: str, world: World, strict: OneAgent) -> None:
    run_id = world.begin_run("echo")
    click = Click(run_id, "echo")
    strict.deliver(messages.kafka_v1(click) if shape == "kafka" else messages.tutorial(click))
    strict.wait_line("message rejected", run_id=run_id, reason="signature")
    assert world.requests_of(run_id) == []


def test_required_takes_a_kafka_message_that_is_signed(world: World, strict: OneAgent) -> None:
    run_id = world.begin_run("echo")
    strict.deliver_signed(messages.kafka_v1(Click(run_id, "echo")))
    run = world.ended(run_id)
    assert (run.terminal_statuses, run.log_text) == (["SUCCESS"], "here I am")


@pytest.mark.parametrize("age_s", [1_000, -1_000])
def test_a_message_out_of_its_time_touches_nothing(age_s: int, world: World, strict: OneAgent) -> None:
    run_id = world.begin_run("echo")
    document = messages.webhook(Click(run_id, "echo"), "http://unused.example/")
    strict.deliver_signed(document, timestamp=int(time.time()) - age_s)
    strict.wait_line("message rejected", run_id=run_id, reason="too_old")
    assert world.requests_of(run_id) == []
    assert strict.metric("agent_runs_rejected_total", reason="too_old") >= 1


def test_a_message_within_the_age_is_acted_on(world: World, strict: OneAgent) -> None:
    run_id = world.begin_run("echo")
    document = messages.webhook(Click(run_id, "echo"), "http://unused.example/")
    strict.deliver_signed(document, timestamp=int(time.time()) - 500)
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]


@pytest.mark.parametrize("forge", [_unsigned, _other_secret, _malformed])
def test_off_looks_at_no_signature(forge: Callable[[str], str], world: World, lenient: OneAgent) -> None:
    run_id = world.begin_run("signed")
    lenient.deliver(forge(run_id))
    run = world.ended(run_id)
    assert (run.terminal_statuses, run.log_text) == (["SUCCESS"], "unsigned")


def test_off_still_leaves_alone_what_is_not_for_agents(world: World, lenient: OneAgent) -> None:
    run_id = world.begin_run("signed")
    before = lenient.metric("agent_messages_ignored_total", reason="not_for_agents")
    lenient.deliver(_unsigned(run_id).replace('"agent":true', '"agent":false'))
    lenient.wait_metric("agent_messages_ignored_total", before + 1, reason="not_for_agents")
    assert world.requests_of(run_id) == []


def test_a_genuine_message_is_as_good_with_blanks_in_it(world: World, agent: OneAgent) -> None:
    """As printed in the documentation; Port itself sends none."""
    document = json.loads(port_message("webhook_v1"))
    assert document["headers"]["X-Port-Signature"].startswith("v1,")
    run_id = world.begin_run("signed")
    text = _webhook_text(run_id, '{"small":1e-7,"name":"ü"}')
    sent = _sent(text, _signature(text, 1713277889), 1713277889)
    agent.deliver(sent.replace(',"payload":', ' , "payload" : '))
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
