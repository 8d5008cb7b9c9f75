"""Whether Port signed a message: over the text as it was received, or as ``JSON.stringify`` would print it.

Port signs ``timestamp + "." + JSON.stringify(message)`` before it puts ``X-Port-Signature`` and
``X-Port-Timestamp`` into the message's ``headers``. To get back to the signed text the document is printed anew
without them, unless it is too long for that: that is quick, and right however the text was laid out on its way. As
other languages print some numbers differently, those members are then cut out of the received text. GITLAB messages
are signed without ``headers``, all others with what else stands in it, ``{}`` if nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.domain.javascript import number_text, stringify
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.signature import signature_of
from agent.intake.members import Member, members, rewritten, skip_space
from agent.ports import Clock

SIGNATURE_HEADER = "X-Port-Signature"
TIMESTAMP_HEADER = "X-Port-Timestamp"
CLOCK_SKEW_S = 300.0
"""How far a timestamp may lie in the future where a maximum age is set."""
REPRINTED_CHARS = 256 * 1024
"""Longer messages are not printed anew: it takes a second for every few MB, and forged ones would take it too."""

_OWN_HEADERS = frozenset({SIGNATURE_HEADER, TIMESTAMP_HEADER})
_UNHEADED_TYPE = "GITLAB"
_HEADED_TYPE = "WEBHOOK"


class SignatureMode(StrEnum):
    """Which messages of the runs channel must carry a signature. Change events never carry one."""

    AUTO = "auto"
    """Those for agents; others may be unsigned, but where they carry a signature it must be right."""
    REQUIRED = "required"
    """All of them."""
    OFF = "off"
    """None, and none is looked at."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not believed: ``reason`` (signature, too_old) is a metric label, ``detail`` a sentence.

    ``may_fit_later``: another secret may have made the signature.
    """

    reason: str
    detail: str
    may_fit_later: bool = False


@dataclass(frozen=True, slots=True)
class Signed:
    """One message to verify: the received ``text`` and the ``document`` that was read from it.

    Where ``wrapped``, the message proper stands in it under ``payload``. ``type`` is the invocation method's.
    """

    text: str
    document: Json
    type: str
    for_agents: bool
    wrapped: bool = False


def without_signature(message: Json, method_type: str) -> Json:
    """``message`` as Port signed it: what no signature covers is not for anybody to act on."""
    if not isinstance(message, dict) or not _carries_signature(message):
        return message
    return _without_headers(message) if method_type == _UNHEADED_TYPE else _without_own_headers(message)


class SignatureVerifier:
    """Checks messages against the client secret. Stateless but for its arguments; safe in any thread.

    ``secrets`` is asked each time, so that a rotated one is used at once; any of those that it gives may have
    signed. ``max_age_s`` of ``None`` believes timestamps of any age; else a message must not be older, nor from
    more than `CLOCK_SKEW_S` ahead.
    """

    def __init__(
        self, secrets: Callable[[], Sequence[str]], mode: SignatureMode, max_age_s: float | None, clock: Clock
    ) -> None:
        self._secrets = secrets
        self._mode = mode
        self._max_age_s = max_age_s
        self._clock = clock

    def check(self, message: Signed) -> Refusal | None:
        """``None`` if the message may be acted on."""
        if self._mode is SignatureMode.OFF:
            return None
        headers = _signature_headers(message)
        if headers is None:
            demanded = message.for_agents or self._mode is SignatureMode.REQUIRED
            return Refusal("signature", "the message carries no signature") if demanded else None
        timestamp = _timestamp_text(headers.get(TIMESTAMP_HEADER))
        signature = headers[SIGNATURE_HEADER]
        if timestamp is None or not isinstance(signature, str):
            return Refusal("signature", "the message's signature headers are malformed")
        if not self._is_genuine(message, signature, timestamp):
            detail = "the message was not signed with this PORT_CLIENT_SECRET"
            return Refusal("signature", detail, may_fit_later=True)
        return None if self._max_age_s is None else self._check_age(timestamp, self._max_age_s)

    def _is_genuine(self, message: Signed, signature: str, timestamp: str) -> bool:
        secrets = [secret for secret in self._secrets() if secret]
        given = signature.encode("utf-8", "surrogatepass")
        return any(
            hmac.compare_digest(signature_of(text.encode(), timestamp, secret).encode(), given)
            for text in _signed_texts(message)
            for secret in secrets
        )

    def _check_age(self, timestamp: str, max_age_s: float) -> Refusal | None:
        try:
            age_s = self._clock.epoch() - float(timestamp)
        except ValueError:
            return Refusal("too_old", "the signature's timestamp is not a number of seconds")
        if age_s > max_age_s:
            return Refusal("too_old", f"the message was signed {age_s:.0f} s ago, more than {max_age_s:.0f} s")
        if age_s < -CLOCK_SKEW_S:
            return Refusal("too_old", f"the message was signed {-age_s:.0f} s in the future: check the clocks")
        return None


# ── where the signature stands, and the texts that it may be over ────────────────────────────────────


def _carries_signature(message: JsonObject) -> bool:
    return SIGNATURE_HEADER in as_object(message.get("headers"))


def _inner(message: Signed) -> JsonObject:
    document = as_object(message.document)
    return as_object(document.get("payload")) if message.wrapped else document


def _signature_headers(message: Signed) -> JsonObject | None:
    for carrier in (_inner(message), as_object(message.document)):
        if _carries_signature(carrier):
            return as_object(carrier["headers"])
    return None


def _timestamp_text(value: Json) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return number_text(value)
    return value if isinstance(value, str) else None


def _signed_texts(message: Signed) -> Iterator[str]:
    """Every text that Port may have signed, the likeliest first."""
    start = skip_space(message.text, 0)
    if message.wrapped:
        yield from _wrapped_texts(message, start)
    else:
        yield from _carrier_texts(message.text, start, as_object(message.document), message.type)


def _wrapped_texts(message: Signed, start: int) -> Iterator[str]:
    """Of a wrapped message either the inner or the outer object may carry the signature, which is over it."""
    inner = _inner(message)
    payload = next(m for m in reversed(members(message.text, start)) if m.name == "payload")
    if _carries_signature(inner):
        yield from _carrier_texts(message.text, payload.value_start, inner, message.type)
    else:
        yield message.text[payload.value_start : payload.end]
        yield from _reprinted(message.text, inner)
        yield from _carrier_texts(message.text, start, as_object(message.document), "")


def _carrier_texts(source: str, position: int, carrier: JsonObject, method_type: str) -> Iterator[str]:
    """What may have been signed of ``carrier``, the object at ``position`` that now carries the signature."""
    only_own = as_object(carrier["headers"]).keys() <= _OWN_HEADERS
    headed = method_type != _UNHEADED_TYPE
    unheaded = not headed or (method_type != _HEADED_TYPE and only_own)
    if headed:
        yield from _reprinted(source, _without_own_headers(carrier))
    if unheaded:
        yield from _reprinted(source, _without_headers(carrier))
    parts = members(source, position)
    if headed:
        yield rewritten(parts, _cut_own_headers)
    if unheaded:
        yield rewritten(parts, lambda member: None if member.name == "headers" else member.text)


def _reprinted(source: str, message: JsonObject) -> Iterator[str]:
    if len(source) <= REPRINTED_CHARS:
        yield stringify(message)


def _cut_own_headers(member: Member) -> str:
    if member.name != "headers" or not member.is_object:
        return member.text
    headers = members(member.source, member.value_start)
    return member.label + rewritten(headers, lambda header: None if header.name in _OWN_HEADERS else header.text)


def _without_own_headers(carrier: JsonObject) -> JsonObject:
    headers = as_object(carrier["headers"])
    return {**carrier, "headers": {n: v for n, v in headers.items() if n not in _OWN_HEADERS}}


def _without_headers(carrier: JsonObject) -> JsonObject:
    return {name: value for name, value in carrier.items() if name != "headers"}
