import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.invocation import Channel
from agent.domain.javascript import stringify
from agent.intake.reader import MessageIntake
from agent.intake.signature import REPRINTED_CHARS, SignatureMode, without_signature
from agent.ports import Decoded, Unacceptable
from tests.intake.port import (
    SECRET,
    SIGNED_AT,
    StillClock,
    agent_message,
    document,
    own_headers,
    packed,
    received,
    signature,
    signed,
)

# Signed by Node.js: JSON.stringify, crypto.createHmac, and in the last the numbers and strings that differ most.
FROM_NODE = [
    "webhook_signed",
    "gitlab_signed",
    "encrypted_signed",
    "own_headers_signed",
    "node_signed",
    "numbers_signed",
]

DOCUMENTS = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    ),
    max_size=5,
)


def verdict(body: bytes, **settings: Any) -> str:
    """``ok`` or the reason of the refusal."""
    clock = settings.pop("clock", StillClock())
    result = MessageIntake(settings.pop("secret", SECRET), clock, **settings).decode(body, Channel.RUNS)
    return (
        result.reason if isinstance(result, Unacceptable) else "ok" if isinstance(result, Decoded) else "not ours"
    )


def refusal(body: bytes, **settings: Any) -> Unacceptable:
    clock = settings.pop("clock", StillClock())
    result = MessageIntake(SECRET, clock, **settings).decode(body, Channel.RUNS)
    assert isinstance(result, Unacceptable)
    return result


# ── what Port signs ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", FROM_NODE)
def test_messages_signed_by_node_are_believed(name: str) -> None:
    assert verdict(received(name)) == "ok"


@pytest.mark.parametrize("name", FROM_NODE)
@pytest.mark.parametrize("layout", [{"indent": 2}, {"ensure_ascii": False}, {"separators": (" ,", " : ")}])
def test_also_after_somebody_laid_them_out_anew(name: str, layout: dict[str, Any]) -> None:
    assert verdict(json.dumps(document(name), **layout).encode("utf-8", "backslashreplace")) == "ok"


def test_a_long_message_is_believed_as_it_was_received_and_never_printed_anew() -> None:
    """Printing a forged one of 10 MB anew would hold the agent for seconds."""
    inner = agent_message(numbers=[1.5] * (REPRINTED_CHARS // 4))
    for message in (json.loads(signed(inner)), {"payload": inner, "headers": own_headers(packed(inner))}):
        assert verdict(packed(message)) == "ok"
        assert verdict(json.dumps(message).encode()) == "signature"


def test_escapes_in_the_headers_names_do_not_hide_them() -> None:
    body = received("webhook_signed").replace(b'"headers"', rb'"\u0068eaders"', 1)
    body = body.replace(b'"X-Port-Signature"', rb'"X\u002dPort-Signature"')
    assert verdict(body) == "ok"


def test_headers_are_found_wherever_they_stand() -> None:
    message = document("webhook_signed")
    headers = message.pop("headers")
    foreign = {"a": '"X-Port-Signature":"', "headers": {"X-Port-Signature": "v1,not this"}}
    plain = {"first": foreign, "headers": {"One": 1, "Two": "}"}, **message}
    signed_headers = own_headers(packed(plain))
    for order in (
        {"One": 1, **signed_headers, "Two": "}"},
        {**signed_headers, "One": 1, "Two": "}"},
        {"X-Port-Timestamp": headers["X-Port-Timestamp"], "One": 1, "Two": "}", **signed_headers},
    ):
        assert verdict(packed({**plain, "headers": order})) == "ok"


def test_the_tutorials_wrap_may_be_signed_inside_or_outside() -> None:
    inner = document("create_wrapped")["payload"]
    inner["payload"]["action"]["invocationMethod"]["agent"] = True
    wrapped = {"payload": inner}
    assert verdict(packed(wrapped)) == "signature"
    assert verdict(packed({"payload": {**inner, "headers": own_headers(packed({**inner, "headers": {}}))}})) == "ok"
    assert verdict(packed({**wrapped, "headers": own_headers(packed({**wrapped, "headers": {}}))})) == "ok"
    assert verdict(packed({**wrapped, "headers": own_headers(packed(wrapped))})) == "ok"
    assert verdict(packed({"headers": own_headers(packed(inner)), "x": 1, **wrapped})) == "ok"
    spaced = json.dumps({**wrapped, "headers": own_headers(packed(inner))}, indent=1).encode()
    assert verdict(spaced) == "ok"
    assert verdict(packed({**wrapped, "headers": own_headers(packed({**inner, "x": 1}))})) == "signature"


def test_a_repeated_payload_is_read_and_verified_alike() -> None:
    inner = document("create_wrapped")["payload"]
    inner["payload"]["action"]["invocationMethod"]["agent"] = True
    forged = packed({**inner, "action": "drop_everything"})
    headers = packed(own_headers(packed(inner)))
    body = b'{"payload":' + packed(inner) + b',"payload":' + forged + b',"headers":' + headers + b"}"
    assert verdict(body) == "signature"


@pytest.mark.parametrize("timestamp", [SIGNED_AT, str(SIGNED_AT), "2024-04-16T14:31:29Z"])
def test_the_timestamp_may_be_a_string(timestamp: object) -> None:
    assert verdict(signed(agent_message(), timestamp)) == "ok"


def test_a_kafka_messages_headers_may_have_been_added_for_the_signature_or_before() -> None:
    message: dict[str, Any] = {"context": {"runId": "r_1"}}
    for plain in (message, {**message, "headers": {}}, {**message, "headers": {"A": "b"}}):
        headers = {**plain.get("headers", {}), **own_headers(packed(plain))}
        assert verdict(packed({**message, "headers": headers})) == "ok"
    assert verdict(packed({**message, "headers": {"A": "b", **own_headers(packed(message))}})) == "signature"


# ── what nobody else can sign ────────────────────────────────────────────────────────────────────────


def test_a_forged_message_is_refused_and_its_run_only_named() -> None:
    answer = refusal(received("webhook_forged"))
    assert (answer.reason, answer.run_id) == ("signature", "r_HardNzG6kzc9vWOQ")
    assert "PORT_CLIENT_SECRET" in answer.detail


def test_another_secret_refuses_it() -> None:
    assert verdict(received("webhook_signed"), secret=SECRET + "x") == "signature"
    assert verdict(signed(agent_message(), secret=""), secret="") == "signature"


def test_a_rotated_secret_is_used_at_once() -> None:
    secrets = ["old"]
    intake = MessageIntake(lambda: secrets, StillClock())
    assert isinstance(intake.decode(signed(agent_message(), secret="new"), Channel.RUNS), Unacceptable)
    secrets.insert(0, "new")
    assert isinstance(intake.decode(signed(agent_message(), secret="new"), Channel.RUNS), Decoded)
    assert isinstance(intake.decode(signed(agent_message(), secret="old"), Channel.RUNS), Decoded)
    assert isinstance(intake.decode(signed(agent_message(), secret="older"), Channel.RUNS), Unacceptable)


@pytest.mark.parametrize("name", FROM_NODE)
@given(st.data())
def test_no_byte_can_be_changed(name: str, data: st.DataObject) -> None:
    body = received(name)
    original = without_signature(document(name), "GITLAB" if name == "gitlab_signed" else "WEBHOOK")
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    result = MessageIntake(SECRET, StillClock()).decode(bytes(changed), Channel.RUNS)
    if isinstance(result, Decoded) and result.invocation.for_agents:  # e.g. an escape's hex digit in capitals
        assert stringify(result.invocation.document) == stringify(original)


def test_gitlab_messages_are_read_without_the_headers_that_nobody_signed() -> None:
    message = agent_message("GITLAB")
    del message["context"]
    body = json.loads(signed(message))
    body["headers"]["RUN_ID"] = "r_somebody_elses"
    result = MessageIntake(SECRET, StillClock()).decode(packed(body), Channel.RUNS)
    assert isinstance(result, Decoded)
    assert result.invocation.run_id is None


def test_repeated_headers_are_all_cut_and_none_of_them_is_read() -> None:
    body = received("gitlab_signed")
    smuggled = b'{"headers":{"RUN_ID":"r_x"},' + body[1:]
    result = MessageIntake(SECRET, StillClock()).decode(smuggled, Channel.RUNS)
    assert isinstance(result, Decoded)
    assert "headers" not in dict(result.invocation.view.value["message"])  # type: ignore[arg-type]  # an object here
    body = received("webhook_signed")
    assert verdict(b'{"headers":{"RUN_ID":"r_x"},' + body[1:]) == "signature"
    assert verdict(b'{"headers":7,' + body[1:]) == "signature"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Port-Signature": None, "X-Port-Timestamp": SIGNED_AT},
        {"X-Port-Signature": ["v1,"], "X-Port-Timestamp": SIGNED_AT},
        {"X-Port-Signature": "", "X-Port-Timestamp": SIGNED_AT},
        {"X-Port-Signature": "\ud800é", "X-Port-Timestamp": "\ud800"},
        {"X-Port-Signature": signature(b"{}")},
        {"X-Port-Signature": signature(b"{}"), "X-Port-Timestamp": True},
        {"X-Port-Signature": signature(b"{}"), "X-Port-Timestamp": {}},
        {"X-Port-Timestamp": SIGNED_AT},
        {},
        None,
        "headers",
    ],
)
def test_malformed_signature_headers_are_refused(headers: object) -> None:
    body = json.dumps(agent_message(headers=headers)).encode()
    assert verdict(body) == "signature"


# ── modes ────────────────────────────────────────────────────────────────────────────────────────────


def kafka_message(**parts: object) -> dict[str, Any]:
    return {"context": {"runId": "r_1"}, "payload": {"action": {"invocationMethod": {"type": "KAFKA"}}}, **parts}


@pytest.mark.parametrize(
    ("body", "auto", "required", "off"),
    [
        (signed(agent_message()), "ok", "ok", "ok"),
        (packed(agent_message()), "signature", "signature", "ok"),
        (packed(agent_message("GITLAB")), "signature", "signature", "ok"),
        (packed(agent_message("KAFKA")), "signature", "signature", "ok"),
        (packed(agent_message(context={"runId": "wfnr_1"})), "signature", "signature", "ok"),
        (received("webhook_forged"), "signature", "signature", "ok"),
        (packed(kafka_message()), "ok", "signature", "ok"),
        (packed([kafka_message()]), "ok", "signature", "ok"),
        (packed(kafka_message(context={"runId": "wfnr_1"})), "ok", "signature", "ok"),
        (packed(kafka_message(headers={"RUN_ID": "r_1"})), "ok", "signature", "ok"),
        (packed(kafka_message(headers=own_headers(b"something else"))), "signature", "signature", "ok"),
        (signed(kafka_message()), "ok", "ok", "ok"),
    ],
)
def test_modes(body: bytes, auto: str, required: str, off: str) -> None:
    assert [verdict(body, mode=mode) for mode in SignatureMode] == [auto, required, off]


def test_change_events_are_never_signed() -> None:
    intake = MessageIntake(SECRET, StillClock(), mode=SignatureMode.REQUIRED)
    assert isinstance(intake.decode(received("change_run"), Channel.CHANGE_LOG), Decoded)


# ── age ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(0, "ok"), (600, "ok"), (601, "too_old"), (-300, "ok"), (-301, "too_old"), (10**9, "too_old")],
)
def test_a_maximum_age_bounds_both_directions(age_s: int, expected: str) -> None:
    clock = StillClock(SIGNED_AT + age_s)
    assert verdict(signed(agent_message()), clock=clock, max_age_s=600.0) == expected
    assert verdict(signed(agent_message(), str(SIGNED_AT)), clock=clock, max_age_s=600.0) == expected
    assert verdict(signed(agent_message()), clock=clock) == "ok"


def test_what_is_too_old_says_by_how_much() -> None:
    body = signed(agent_message())
    late = refusal(body, clock=StillClock(SIGNED_AT + 900), max_age_s=600.0)
    assert late.detail == "the message was signed 900 s ago, more than 600 s"
    assert "900 s in the future" in refusal(body, clock=StillClock(SIGNED_AT - 900), max_age_s=600.0).detail


def test_a_forged_message_is_not_called_old() -> None:
    assert verdict(received("webhook_forged"), clock=StillClock(SIGNED_AT + 900), max_age_s=600.0) == "signature"


def test_a_timestamp_that_is_no_time_is_refused_where_the_age_counts() -> None:
    assert verdict(signed(agent_message(), "yesterday"), max_age_s=600.0) == "too_old"


def test_unsigned_messages_have_no_age() -> None:
    assert verdict(packed(kafka_message()), clock=StillClock(0), max_age_s=600.0) == "ok"


# ── any document ─────────────────────────────────────────────────────────────────────────────────────


@given(
    DOCUMENTS,
    st.integers(min_value=0),
    st.sampled_from(["WEBHOOK", "GITLAB", "NEW"]),
    st.none() | st.integers(0, 2),
    st.data(),
)
def test_any_document_that_port_signed_is_believed(
    parts: dict[str, Any], position: int, type_: str, indent: int | None, data: st.DataObject
) -> None:
    message = {**parts, **agent_message(type_)}
    headers = {} if type_ == "GITLAB" else data.draw(st.dictionaries(st.text(), st.text(), max_size=3))
    message.pop("headers", None)
    plain = message if type_ == "GITLAB" else placed(message, position, headers)
    stringified = stringify(plain).encode()
    full = placed(message, position, {**headers, **own_headers(stringified)})
    text = stringify(full) if indent is None else json.dumps(full, indent=indent)
    assert verdict(text.encode()) == "ok"


@given(DOCUMENTS, st.data())
def test_any_other_document_is_not(parts: dict[str, Any], data: st.DataObject) -> None:
    body = signed({**json.loads(stringify(parts)), **agent_message()})
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    result = MessageIntake(SECRET, StillClock()).decode(bytes(changed), Channel.RUNS)
    if isinstance(result, Decoded) and result.invocation.for_agents:
        expected = without_signature(json.loads(body), "WEBHOOK")
        assert stringify(result.invocation.document) == stringify(expected)


def placed(message: dict[str, Any], position: int, headers: dict[str, Any]) -> dict[str, Any]:
    """``message`` with ``headers`` as its member number ``position``, counted round."""
    members = list(message.items())
    members.insert(position % (len(members) + 1), ("headers", headers))
    return dict(members)
