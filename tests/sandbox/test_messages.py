"""Messages must be signed and encrypted as Port does it, by published vectors."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.sandbox import messages
from agent.sandbox.messages import Click

SECRET = "cS9Qz1TestOnlyClientSecret0123456789abcdefXYZ"
CLICK = Click("r_1", "create_vm", {"name": "Grüße", "token": "geheim"}, "vm")


def test_the_signature_is_ports() -> None:
    text = '{"action":"Create","context":{"runId":"r_1"},"payload":{"properties":{"name":"Grüße"}},"headers":{}}'
    signature = "v1,SztGR+NhCrdppy15Zx+kwzjQMB7l4aKT8s4liMDG85k="
    signed = json.loads(messages.signed_message(json.loads(text), SECRET, timestamp=1713277889))
    assert signed["headers"] == {"X-Port-Signature": signature, "X-Port-Timestamp": 1713277889}


def test_gitlab_messages_are_signed_without_their_headers_and_others_with_the_actions_own() -> None:
    gitlab = messages.gitlab(CLICK, group="g", project="p")
    told = json.loads(messages.signed_message({**gitlab, "headers": {"a": "b"}}, SECRET, "GITLAB", 1))
    assert told["headers"] == {
        "X-Port-Signature": _signature(gitlab),
        "X-Port-Timestamp": 1,
    }
    webhook = messages.webhook(CLICK, "https://x.example", headers={"a": "b"})
    told = json.loads(messages.signed_message(webhook, SECRET, timestamp=1))
    assert told["headers"].pop("X-Port-Signature") == _signature(webhook)
    assert told["headers"] == {"a": "b", "X-Port-Timestamp": 1}


def _signature(document: Any) -> str:
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    mac = hmac.new(SECRET.encode(), f"1.{text}".encode(), hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def test_the_encryption_is_ports() -> None:
    iv = bytes(range(16))
    expected = "AAECAwQFBgcICQoLDA0OD4MFFhLbSfXt5Z3uUgdrRaJHkDxUYs44AMIx96gD"
    assert messages.encrypted("pä$$w0rd-✓", SECRET, iv) == expected
    expected = "Dw4NDAsKCQgHBgUEAwIBADsc3Bux6Ao0dIShh+TkStT2v5AYJU72VGmxabhtYYMyXF3SbVM="
    assert messages.encrypted({"user": "u", "pw": "p"}, SECRET, iv[::-1]) == expected


def test_a_secret_input_that_is_not_given_is_no_input() -> None:
    click = CLICK.with_secret_inputs(SECRET, "absent")
    assert (click.inputs, click.encrypted) == (CLICK.inputs, CLICK.encrypted)


def test_secret_inputs_are_closed_and_listed() -> None:
    document = messages.kafka_v1(CLICK.with_secret_inputs(SECRET, "token"))
    assert document["payload"]["censoredProperties"] == ["token"]
    assert document["payload"]["properties"]["name"] == "Grüße"
    raw = base64.b64decode(document["payload"]["properties"]["token"])
    assert AESGCM(SECRET[:32].encode()).decrypt(raw[:16], raw[16:], None) == b"geheim"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (messages.tutorial(CLICK), "payload.context.runId"),
        (messages.kafka_v1(CLICK), "context.runId"),
        (messages.kafka_v2(CLICK), "port_context.runId"),
        (messages.kafka_v2(CLICK, "run_id"), "port_context.run_id"),
        (messages.webhook(CLICK, "https://x.example"), "context.runId"),
        (messages.gitlab(CLICK, group="g", project="p"), "context.runId"),
        (messages.node_run("r_1", "https://x.example"), "context.runId"),
    ],
)
def test_every_shape_names_its_run_where_port_does(document: Any, path: str) -> None:
    for key in path.split("."):
        document = document[key]
    assert document == "r_1"


@pytest.mark.parametrize(
    ("before", "after", "action"), [(None, {}, "CREATE"), ({}, {}, "UPDATE"), ({}, None, "DELETE")]
)
def test_changes_of_entities_say_what_they_are(before: Any, after: Any, action: str) -> None:
    change = messages.entity_change("vm", "one", before=before, after=after)
    assert (change["action"], change["context"]) == (action, {"entity": "one", "blueprint": "vm"})
