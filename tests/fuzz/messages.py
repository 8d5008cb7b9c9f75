"""The messages that the search of the decoder begins with: recorded ones, poison, encrypted inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.fuzz.mutation import json_mutator
from tests.intake import port

_FOLDERS = (port.MESSAGES, Path(__file__).parents[1] / "whole" / "port_messages")
_RECORDED = [file.read_bytes().rstrip(b"\n") for folder in _FOLDERS for file in sorted(folder.glob("*.json"))]
_POISON = [b"\xff\xfe", b"[" * 200, b"[" * 130 + b"]" * 130, b'{"a":1e999}', b'"text"']

_PLAIN = ("hunter2 hunter2", "", '{"key": ["-----BEGIN", 1e21, 7, true, null, ""]}', "[1]", "12345678.5")
CLOSED: Final[Mapping[str, str]] = {port.encrypted(plain): plain for plain in _PLAIN}
"""Encrypted values, and what is in them."""
PATHS: Final = ("payload.properties.secret", ".inputs.s.0", "inputs.s.2")
"""Where a route may say that there are more of them."""
_NAMED = {f"s{index}": closed for index, closed in enumerate(CLOSED)}
_SECRETS: dict[str, Any] = {
    "context": {"runId": "r_1"},
    "payload": {
        "action": {
            "identifier": "deploy",
            "invocationMethod": {"type": "KAFKA"},
            "userInputs": {"properties": {"s1": {"type": "object"}, "s2": {"type": "object"}, "s3": {}}},
        },
        "properties": _NAMED,
        "censoredProperties": [*_NAMED],
    },
}

SEEDS: Final[Sequence[bytes]] = [
    *_RECORDED,
    *_POISON,
    port.packed(_SECRETS),
    port.packed({"custom": ["r_2"], "inputs": {"s": [*CLOSED]}}),
    *(port.signed(port.agent_message(), at) for at in (port.SIGNED_AT, port.SIGNED_AT - 9999, "never", "1e999")),
]

_NAMES = (
    *("context", "runId", "nodeRunId", "port_context", "run_id", "runID", "headers", "RUN_ID", "port_run_id"),
    *("run", "id", "payload", "action", "invocationMethod", "type", "agent", "synchronized", "url", "method"),
    *("properties", "inputs", "censoredProperties", "encryptedProperties", "userInputs", "entity", "identifier"),
    *("blueprint", "trigger", "by", "user", "userId", "email", "origin", "at", "operation", "diff", "after"),
    *("before", "resourceType", "changelogDestination", "event", "blueprintIdentifier", "entityIdentifier"),
    *("X-Port-Signature", "X-Port-Timestamp", "custom", "s", "s0", "s2", "object", "GITLAB", "WEBHOOK", "KAFKA"),
    *("true", "r_HardNzG6kzc9vWOQ", "wfnr_1"),
)
mutate: Final = json_mutator(_NAMES)
"""Neighbours of a message, with the members that Port's messages have."""
