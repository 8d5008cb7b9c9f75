"""Messages as Port puts them on its topics, in every shape that agents meet; signed and encrypted as Port does.

Builders return documents; `wire_text` or, for those that Port signs, `signed_message` makes the text that goes
into a record's value.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.domain.javascript import stringify
from agent.domain.json import Json, JsonObject
from agent.domain.signature import signature_of

Document = dict[str, Any]

_IV_BYTES = 16
_KEY_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Click:
    """What a user asked for in Port: the parts that every shape of message carries somewhere.

    ``entity`` is the whole entity for day-2 and delete actions. ``encrypted`` names the inputs whose values are
    ciphertext; see `with_secret_inputs`.
    """

    run_id: str
    action: str
    inputs: JsonObject = field(default_factory=dict)
    blueprint: str | None = None
    entity: JsonObject | None = None
    org_id: str = "org_sandbox"
    user_email: str = "user@sandbox.example"
    encrypted: tuple[str, ...] = ()

    @property
    def operation(self) -> str:
        """CREATE, or DAY-2 where there is an entity."""
        return "CREATE" if self.entity is None else "DAY-2"

    def with_secret_inputs(self, client_secret: str, *names: str) -> Click:
        """The same with the named inputs encrypted (aes256-gcm), as Port does; what is not given stays away."""
        closed = {name: encrypted(self.inputs[name], client_secret) for name in names if name in self.inputs}
        return replace(self, inputs={**self.inputs, **closed}, encrypted=(*self.encrypted, *closed))


# ── shapes ───────────────────────────────────────────────────────────────────────────────────────────


def kafka_v1(click: Click, method: JsonObject | None = None) -> Document:
    """The first API version's shape at top level; ``method`` is ``{"type": "KAFKA"}`` unless given."""
    return {
        "action": click.action,
        "resourceType": "run",
        "status": "TRIGGERED",
        "trigger": _trigger(click),
        "context": {
            "entity": None if click.entity is None else click.entity.get("identifier"),
            "blueprint": click.blueprint,
            "runId": click.run_id,
        },
        "payload": {
            "entity": click.entity,
            "action": {
                "identifier": click.action,
                "title": click.action.replace("_", " ").capitalize(),
                "invocationMethod": dict(method or {"type": "KAFKA"}),
                "trigger": click.operation,
                "blueprint": click.blueprint,
            },
            "properties": dict(click.inputs),
            "censoredProperties": list(click.encrypted),
        },
    }


def tutorial(click: Click, method: JsonObject | None = None) -> Document:
    """The shape of Port's older tutorials: `kafka_v1` inside an outer ``payload``."""
    return {"payload": kafka_v1(click, method)}


def kafka_v2(click: Click, run_id_key: str = "runId", context_key: str = "port_context") -> Document:
    """A payload of the user's own making: the inputs at top level, the run id under ``port_context``."""
    return {
        **click.inputs,
        context_key: {
            run_id_key: click.run_id,
            "entity": None if click.entity is None else click.entity.get("identifier"),
            "blueprint": click.blueprint,
        },
    }


def webhook(
    click: Click,
    url: str,
    *,
    method: str = "POST",
    synchronized: bool | str = False,
    agent: bool | str = True,
    headers: Mapping[str, str] | None = None,
) -> Document:
    """A WEBHOOK invocation for agents, not yet signed; ``headers`` are the action's own."""
    invocation: Document = {
        "type": "WEBHOOK",
        "agent": agent,
        "synchronized": synchronized,
        "method": method,
        "url": url,
    }
    return {**kafka_v1(click, invocation), "headers": dict(headers or {})}


def gitlab(click: Click, *, group: str, project: str, ref: str = "main") -> Document:
    """A GITLAB invocation for agents, not yet signed."""
    method: Document = {
        "type": "GITLAB",
        "agent": True,
        "defaultRef": ref,
        "projectName": project,
        "groupName": group,
    }
    return kafka_v1(click, method)


def node_run(
    run_id: str,
    url: str,
    *,
    method: str = "POST",
    synchronized: bool | None = True,
    headers: Mapping[str, str] | None = None,
) -> Document:
    """A workflow's webhook node (``wfnr_…``), not yet signed. ``synchronized`` of ``None`` leaves it out."""
    invocation: Document = {"type": "WEBHOOK", "url": url, "method": method, "agent": True, "headers": {}}
    if synchronized is not None:
        invocation["synchronized"] = synchronized
    return {
        "headers": dict(headers or {}),
        "payload": {"action": {"invocationMethod": invocation}},
        "context": {"runId": run_id},
    }


def entity_change(
    blueprint: str,
    identifier: str,
    *,
    before: JsonObject | None = None,
    after: JsonObject | None = None,
    destination: JsonObject | None = None,
    org_id: str = "org_sandbox",
) -> Document:
    """A change-log message about an entity; goes to the change-log topic and is never signed."""
    action = "CREATE" if before is None else "DELETE" if after is None else "UPDATE"
    return {
        "action": action,
        "resourceType": "entity",
        "status": "SUCCESS",
        "trigger": {"by": {"orgId": org_id, "userId": "user"}, "at": _now(), "origin": "API"},
        "context": {"entity": identifier, "blueprint": blueprint},
        "diff": {"before": before, "after": after},
        "changelogDestination": dict(destination or {"type": "KAFKA"}),
    }


def _trigger(click: Click) -> Document:
    user = {"email": click.user_email, "firstName": "Sandbox", "lastName": "User", "id": "auth0|sandbox"}
    by = {"orgId": click.org_id, "userId": "auth0|sandbox", "user": user}
    return {"by": by, "origin": "UI", "at": _now(), "operation": click.operation}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ── wire ─────────────────────────────────────────────────────────────────────────────────────────────


def wire_text(document: Json) -> str:
    """The text of a message that is not signed."""
    return stringify(document)


def signed_message(
    document: JsonObject, client_secret: str, kind: str = "WEBHOOK", timestamp: int | None = None
) -> str:
    """The text of ``document`` with valid ``X-Port-Signature`` and ``X-Port-Timestamp`` among its headers.

    ``kind`` GITLAB signs the text without ``headers``; any other kind signs it with them (``{}`` if it has
    none). ``timestamp`` is epoch seconds, now if not given.
    """
    at = str(int(time.time()) if timestamp is None else timestamp)
    if kind == "GITLAB":
        own: JsonObject = {}
        signed = {key: value for key, value in document.items() if key != "headers"}
    else:
        headers = document.get("headers")
        own = headers if isinstance(headers, Mapping) else {}
        signed = {**document, "headers": own}
    signature = signature_of(wire_text(signed).encode(), at, client_secret)
    return wire_text({**signed, "headers": {**own, "X-Port-Signature": signature, "X-Port-Timestamp": int(at)}})


def encrypted(value: Json, client_secret: str, iv: bytes | None = None) -> str:
    """An input as Port encrypts it: base64 of IV (16 bytes), ciphertext and tag; AES-256-GCM.

    The key is the secret's first 32 characters. Strings are taken as they are, objects as JSON text.
    """
    nonce = os.urandom(_IV_BYTES) if iv is None else iv
    plain = value if isinstance(value, str) else wire_text(value)
    cipher = AESGCM(client_secret[:_KEY_CHARACTERS].encode())
    return base64.b64encode(nonce + cipher.encrypt(nonce, plain.encode(), None)).decode()
