"""The signature that Port puts on its messages, and that we put on the requests we forward."""

from __future__ import annotations

import base64
import hmac


def signature_of(body: bytes, timestamp: str, secret: str) -> str:
    """The value of ``X-Port-Signature`` for exactly these bytes at ``timestamp`` (epoch seconds, as text)."""
    signed = timestamp.encode("utf-8", "surrogatepass") + b"." + body
    digest = hmac.digest(secret.encode("utf-8", "surrogateescape"), signed, "sha256")
    return "v1," + base64.b64encode(digest).decode()
