"""Port's side of a message: the documented shapes as files, and an independent hand that signs and encrypts."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.domain.invocation import Invocation

SECRET = "cS9Qz1TestOnlyClientSecret0123456789abcdefXYZ"
SIGNED_AT = 1713277889
MESSAGES = Path(__file__).parent / "messages"

Decode = Callable[..., Invocation]


@dataclass
class StillClock:
    now_s: float = SIGNED_AT

    def monotonic(self) -> float:
        return self.now_s

    def epoch(self) -> float:
        return self.now_s


def received(name: str) -> bytes:
    """One message as it comes off the wire."""
    return (MESSAGES / f"{name}.json").read_bytes().rstrip(b"\n")


def document(name: str) -> Any:
    """The same as a fresh Python value, to be changed by a test."""
    return json.loads(received(name))


def packed(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def signature(signed: bytes, timestamp: object = SIGNED_AT, secret: str = SECRET) -> str:
    mac = hmac.new(secret.encode(), f"{timestamp}.".encode() + signed, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def own_headers(signed: bytes, timestamp: object = SIGNED_AT, secret: str = SECRET) -> dict[str, object]:
    return {"X-Port-Signature": signature(signed, timestamp, secret), "X-Port-Timestamp": timestamp}


def signed(message: dict[str, Any], timestamp: object = SIGNED_AT, secret: str = SECRET) -> bytes:
    """As Port sends it: signed with its ``headers`` (none for GITLAB), then put into them."""
    method = message.get("payload", {}).get("action", {}).get("invocationMethod", {})
    if method.get("type") == "GITLAB":
        return packed({**message, "headers": own_headers(packed(message), timestamp, secret)})
    message = {"headers": {}, **message}
    headers = {**message["headers"], **own_headers(packed(message), timestamp, secret)}
    return packed({**message, "headers": headers})


def agent_message(type_: str = "WEBHOOK", **parts: object) -> dict[str, Any]:
    """A small message for agents."""
    return {
        "context": {"runId": "r_HardNzG6kzc9vWOQ"},
        "payload": {"action": {"identifier": "deploy", "invocationMethod": {"type": type_, "agent": True}}},
        **parts,
    }


def encrypted(plain: str, secret: str = SECRET) -> str:
    iv = bytes(range(16))
    return base64.b64encode(iv + AESGCM(secret.encode()[:32]).encrypt(iv, plain.encode(), None)).decode()
