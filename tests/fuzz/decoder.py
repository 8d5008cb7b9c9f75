"""Any bytes as a message: they are read, refused or passed over, and nothing that Port did not sign is acted on.

No input is signed by the search, only the recorded ones are: so what is believed must say what one of those says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from agent.domain.errors import DecryptionError, TemplateError
from agent.domain.invocation import Channel, Invocation, InvocationKind
from agent.domain.javascript import stringify
from agent.domain.json import Json, as_object, compact
from agent.intake.decode import reread
from agent.intake.parse import MAX_DEPTH
from agent.intake.reader import MessageIntake
from agent.intake.signature import SignatureMode
from agent.ports import Decoded, NotOurs, Unacceptable, Unexecutable, Verdict
from tests.fuzz.messages import CLOSED, PATHS, SEEDS, mutate
from tests.fuzz.target import Target, within
from tests.intake import port


def _custom_run_id(document: Json) -> Json:
    """The operator's own place, as an expression that fails where it is not there."""
    place = as_object(document).get("custom")
    if not isinstance(place, list) or not place:
        raise TemplateError("not there")
    found: Json = place[0]
    return found


def _intake(secret: str, mode: SignatureMode) -> MessageIntake:
    return MessageIntake(secret, port.StillClock(), mode=mode, max_age_s=3600, extra_run_id=_custom_run_id)


_INTAKES = {mode: _intake(port.SECRET, mode) for mode in SignatureMode}
_STRANGER = _intake("another organisation's secret, of as many characters", SignatureMode.AUTO)
_OPEN = _INTAKES[SignatureMode.OFF]

_OWN_HEADERS = frozenset({"X-Port-Signature", "X-Port-Timestamp"})
_REASONS = frozenset({"undecodable", "signature", "too_old"})
_FIXED_S = 0.02
_PER_BYTE_S = 20e-6


def check(body: bytes) -> None:
    """Holds what intake promises for ``body`` on either channel and in each mode."""
    within(_FIXED_S + _PER_BYTE_S * len(body), lambda: _INTAKES[SignatureMode.AUTO].decode(body, Channel.RUNS))
    opened = _OPEN.decode(body, Channel.RUNS)
    changed = _OPEN.decode(body, Channel.CHANGE_LOG)
    assert opened == _OPEN.decode(body, Channel.RUNS)
    if isinstance(changed, Unacceptable):
        assert (changed.reason, changed.run_id) == ("undecodable", None)
        _check_unread(body, opened, changed)
        return
    assert isinstance(changed, Decoded), changed
    _check_text(body, changed.invocation)
    _check_change(changed.invocation)
    _check_open(opened)
    _check_believed(body, opened)
    _check_what_port_signs(changed.invocation.document)


def _check_unread(body: bytes, opened: Verdict, changed: Unacceptable) -> None:
    """What cannot be read in full may name a run, and is not believed without a signature where one is needed."""
    if isinstance(opened, Unexecutable):
        assert opened.detail == changed.detail
        assert opened.invocation.run_id is not None
        _check_view(opened.invocation)
    else:
        assert isinstance(opened, NotOurs) or opened == changed
    stranger = _STRANGER.decode(body, Channel.RUNS)
    assert not isinstance(stranger, Decoded)
    assert not (isinstance(stranger, Unexecutable) and stranger.invocation.for_agents)


def _check_text(body: bytes, invocation: Invocation) -> None:
    """What is accepted is what another parser reads, and can be printed again."""
    document = invocation.document
    assert json.loads(body) == document
    assert _depth(document) <= MAX_DEPTH
    again = _OPEN.decode(compact(document).encode(), Channel.CHANGE_LOG)
    assert isinstance(again, Decoded)
    assert again.invocation == invocation


def _check_change(invocation: Invocation) -> None:
    assert invocation.kind is InvocationKind.CHANGE_EVENT
    assert invocation.run_id is None
    _check_view(invocation)


def _check_open(result: Verdict) -> None:
    """Where signatures are off, everything that is JSON is ours or somebody else's."""
    if isinstance(result, NotOurs):
        return
    assert isinstance(result, Decoded), result
    invocation = result.invocation
    assert invocation.kind is not InvocationKind.CHANGE_EVENT
    if (run_id := invocation.run_id) is not None:
        assert run_id.isascii()
        assert 0 < len(run_id) <= 128
        assert "/" not in run_id
        assert "%" not in run_id
        assert not run_id.startswith("wfr_")
        assert f'"{run_id}"' in compact(invocation.document)
    _check_view(invocation)
    _check_unlocked(invocation)


def _check_view(invocation: Invocation) -> None:
    for text in (invocation.action, invocation.blueprint, invocation.entity_id):
        assert text is None or text
    assert json.loads(invocation.view.text) == invocation.view.value
    invocation.view.text.encode()
    stringify(invocation.document).encode()
    repr(invocation)


def _check_unlocked(invocation: Invocation) -> None:
    """What is opened is of the same run, and tells each plain value that was found; what is not tells none."""
    again = reread(invocation, invocation.document)
    assert replace(again, method=invocation.method) == invocation
    opened = _unlocked(invocation)
    if opened is None:
        return
    after, plain = opened
    assert (after.run_id, after.kind, after.method) == (invocation.run_id, invocation.kind, invocation.method)
    assert after.inputs.keys() == invocation.inputs.keys()
    assert all(text for texts in plain.values() for text in texts)
    for name in invocation.encrypted:
        closed = invocation.inputs.get(name)
        text = CLOSED.get(closed) if isinstance(closed, str) else None
        if text is not None:
            assert after.inputs[name] in (text, _object(text))
            assert not text or text in plain[name]


def _unlocked(invocation: Invocation) -> tuple[Invocation, Mapping[str, tuple[str, ...]]] | None:
    try:
        return _OPEN.unlock(invocation, PATHS)
    except DecryptionError as error:
        said = str(error)
    assert not any(value in said for value in (*CLOSED, *filter(None, CLOSED.values())))
    return None


def _object(text: str) -> Json:
    try:
        value: Json = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _check_believed(body: bytes, opened: Verdict) -> None:
    """A message for agents is only acted on where it says what a signed one says; the rest tells its run alone."""
    stranger = _STRANGER.decode(body, Channel.RUNS)
    assert not (isinstance(stranger, Decoded) and stranger.invocation.for_agents)
    for mode in (SignatureMode.AUTO, SignatureMode.REQUIRED):
        result = _INTAKES[mode].decode(body, Channel.RUNS)
        if isinstance(result, Unacceptable):
            assert result.reason in _REASONS
            assert isinstance(opened, Decoded)
            assert result.run_id == opened.invocation.run_id
            assert "\n" not in result.detail
        else:
            assert result == opened
        if isinstance(result, Decoded) and (mode is SignatureMode.REQUIRED or result.invocation.for_agents):
            assert _said(result.invocation.document) in _SIGNED


def _check_what_port_signs(document: Json) -> None:
    """What Port signs, whatever it holds, is believed, and read as it was before it was signed."""
    if not isinstance(document, Mapping) or not isinstance(document.get("headers", {}), Mapping):
        return
    if any(_OWN_HEADERS & _headers(part).keys() for part in (document, document.get("payload"))):
        return
    message: Any = json.loads(compact(document))
    method = _method(message)
    if not isinstance(method, dict):
        return
    if str(method.get("type")).upper() == "GITLAB":  # these have no headers when they are signed
        method["type"] = "GITLAB"
        message.pop("headers", None)
    signed = port.signed(message)
    believed = _INTAKES[SignatureMode.REQUIRED].decode(signed, Channel.RUNS)
    opened = _OPEN.decode(signed, Channel.RUNS)
    assert believed == opened, believed


def _headers(message: Json) -> Mapping[str, Json]:
    headers = message.get("headers") if isinstance(message, Mapping) else None
    return headers if isinstance(headers, Mapping) else {}


def _method(message: Any) -> Any:
    """The invocation method, as `tests.intake.port.signed` looks for it; which takes objects for granted."""
    for name in ("payload", "action", "invocationMethod"):
        message = message.get(name, {}) if isinstance(message, Mapping) else None
    return message


def _said(document: Json) -> str:
    """``document`` as Port prints it, without the empty object that is left of headers."""
    if isinstance(document, Mapping) and document.get("headers") == {}:
        document = {name: value for name, value in document.items() if name != "headers"}
    return stringify(document)


def _depth(document: Json) -> int:
    depth, level = 0, [document]
    while level := [value for value in level if isinstance(value, (dict, list))]:
        depth += 1
        level = [item for value in level for item in (value.values() if isinstance(value, dict) else value)]
    return depth


def _signed_by_port() -> Iterator[str]:
    for body in SEEDS:
        result = _INTAKES[SignatureMode.REQUIRED].decode(body, Channel.RUNS)
        if isinstance(result, Decoded):
            yield _said(result.invocation.document)


_SIGNED = frozenset(_signed_by_port())

TARGET = Target(check, SEEDS, mutate, max_bytes=8192)
