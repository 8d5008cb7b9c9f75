import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.domain.invocation import Channel, InvocationKind
from agent.domain.javascript import stringify
from agent.domain.signature import signature_of
from agent.intake.reader import MessageIntake
from agent.intake.signature import SignatureMode
from agent.ports import Decoded, NotOurs, Unacceptable, Unexecutable, Verdict
from tests.intake.port import MESSAGES, SECRET, StillClock, document, received, signed

NAMES = sorted(file.stem for file in MESSAGES.glob("*.json"))
KEYS = ["action", "context", "headers", "inputs", "payload", "run"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=20,
)


def checked(body: bytes) -> Verdict:
    """What a message of the runs channel becomes; what must hold of any message is asserted on the way."""
    intake = MessageIntake(SECRET, StillClock(), max_age_s=60.0)
    result = intake.decode(body, Channel.RUNS)
    match result:
        case Decoded(invocation):
            assert invocation.kind is not InvocationKind.CHANGE_EVENT
            assert json.loads(invocation.view.text)["run"]["id"] == invocation.run_id
            # However long it waited, and whatever the secret is by then.
            later = MessageIntake("another secret", StillClock(10**9), max_age_s=60.0)
            assert later.recall(body, Channel.RUNS).view.text == invocation.view.text
        case Unexecutable(invocation, detail):
            assert invocation.run_id
            assert detail
        case Unacceptable(reason, detail):
            assert reason in {"undecodable", "signature", "too_old"}
            assert detail
        case NotOurs(reason):
            assert reason == "not_for_agents"
    change = intake.decode(body, Channel.CHANGE_LOG)
    assert not isinstance(change, NotOurs)
    if isinstance(change, Decoded):
        assert change.invocation.run_id is None
        assert intake.recall(body, Channel.CHANGE_LOG).view.text == change.invocation.view.text
    return result


@given(st.binary())
def test_arbitrary_bytes_never_raise(body: bytes) -> None:
    checked(body)


@given(ANYTHING)
@example({"headers": {"X-Port-Signature": "v1,x", "X-Port-Timestamp": 1e300}})
@example({"payload": {"context": {"runId": "r_1"}}, "headers": {"X-Port-Signature": "v1,x", "X-Port-Timestamp": 0}})
def test_arbitrary_json_never_raises(value: object) -> None:
    checked(json.dumps(value).encode())


@given(st.sampled_from(NAMES), st.data())
def test_real_messages_with_changed_bytes_never_raise(name: str, data: st.DataObject) -> None:
    body = bytearray(received(name))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        body[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=4))
    checked(bytes(body))


@given(st.sampled_from(NAMES), st.data())
def test_real_messages_with_changed_values_never_raise(name: str, data: st.DataObject) -> None:
    message = document(name)
    node: Any = message
    for _ in range(data.draw(st.integers(1, 5))):
        key = data.draw(st.sampled_from(sorted(node)))
        child = node[key]
        if not isinstance(child, dict) or not child or data.draw(st.booleans()):
            node[key] = data.draw(ANYTHING)
            break
        node = child
    checked(json.dumps(message).encode())


def test_poison_is_refused_and_the_next_message_read() -> None:
    for body in (b"", b"\xff", b"{", b"null", b"[" * 10_000, b'{"context":{"runId":"r_1"'):
        result = checked(body)
        assert isinstance(result, Unacceptable)
        assert (result.reason, result.run_id) == ("undecodable", None)
    assert isinstance(checked(received("kafka_v1")), Decoded)


def test_a_message_over_the_size_limit_is_not_acted_on() -> None:
    body = received("kafka_v1")
    small = MessageIntake(SECRET, StillClock(), max_bytes=len(body) - 1)
    assert isinstance(small.decode(body, Channel.RUNS), Unexecutable)
    assert isinstance(MessageIntake(SECRET, StillClock(), max_bytes=len(body)).decode(body, Channel.RUNS), Decoded)


# ── what cannot be read in full and names a run ──────────────────────────────────────────────────────

LARGE = "x" * 300_000
DEEP: Any = 1
for _ in range(700):
    DEEP = [DEEP]


def read(body: bytes, mode: SignatureMode = SignatureMode.AUTO, *, secret: str = SECRET) -> Verdict:
    return MessageIntake(secret, StillClock(), mode=mode, max_bytes=200_000).decode(body, Channel.RUNS)


def with_input(name: str, value: Any) -> dict[str, Any]:
    """A recorded message, unsigned, with one more input."""
    message: dict[str, Any] = {k: v for k, v in document(name).items() if k != "headers"}
    message["payload"] = {**message["payload"], "properties": {"file": value, "name": "n"}}
    return message


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (LARGE, "more than AGENT_MAX_MESSAGE_BYTES=200000"),
        ([[1, {"a": LARGE}]], "more than AGENT_MAX_MESSAGE_BYTES"),
        (list(range(60_000)), "more than AGENT_MAX_MESSAGE_BYTES"),
        (DEEP, "nested deeper than 128 levels"),
    ],
    ids=["text", "texts inside", "numbers", "deep"],
)
def test_a_signed_message_that_cannot_be_read_in_full_tells_its_run(value: Any, detail: str) -> None:
    message = with_input("webhook_signed", value)

    result = read(signed(message))

    assert isinstance(result, Unexecutable)
    assert detail in result.detail
    invocation = result.invocation
    whole = document("webhook_signed")
    assert invocation.run_id == whole["context"]["runId"]
    assert invocation.action == whole["action"]
    assert invocation.for_agents
    assert len(repr(invocation)) + len(invocation.view.text) < 20_000, "what is large must not be kept"


@pytest.mark.parametrize("value", [LARGE, DEEP], ids=["large", "deep"])
def test_a_forged_message_that_cannot_be_read_in_full_is_refused_as_forged(value: Any) -> None:
    body = signed(with_input("webhook_signed", value))

    for result in (
        read(body, secret="another organisation's secret"),
        read(body.replace(b'"name":"n"', b'"name":"m"')),
        read(json.dumps(with_input("webhook_signed", value)).encode()),
    ):
        assert isinstance(result, Unacceptable)
        assert result.reason == "signature"


def test_a_kafka_message_that_cannot_be_read_in_full_needs_no_signature_unless_that_is_demanded() -> None:
    body = json.dumps(with_input("kafka_v1", LARGE)).encode()

    result = read(body)
    assert isinstance(result, Unexecutable)
    assert not result.invocation.for_agents
    refused = read(body, SignatureMode.REQUIRED)
    assert isinstance(refused, Unacceptable)
    assert refused.reason == "signature"


@pytest.mark.parametrize("number", ["1e400", "NaN", "-Infinity", "9" * 5000])
def test_numbers_that_json_does_not_have_fail_the_run_that_is_named(number: str) -> None:
    body = json.dumps(with_input("kafka_v1", "HERE")).replace('"HERE"', number).encode()

    result = read(body)

    assert isinstance(result, Unexecutable)
    assert result.invocation.run_id == document("kafka_v1")["context"]["runId"]


def test_a_signed_message_with_a_number_of_too_many_digits_is_verified_all_the_same() -> None:
    message = with_input("webhook_signed", "HERE")
    text = stringify({**message, "headers": {}}).replace('"HERE"', "9" * 5000)
    timestamp = "1700000000"
    own = {"X-Port-Signature": signature_of(text.encode(), timestamp, SECRET), "X-Port-Timestamp": timestamp}
    body = text.replace('"headers":{}', f'"headers":{json.dumps(own)}').encode()

    result = read(body)

    assert isinstance(result, Unexecutable)
    assert "too many digits" in result.detail


@pytest.mark.parametrize(
    "body",
    [
        b'{"context":{"runId":"r_1"},"payload":"' + b"x" * 300_000,
        b'{"context":{"runId":"r_1"},"payload":"' + b'\\"' * 150_000 + b"\\",
        b'{"context":{"runId":"r_1"},"payload":' + b"[" * 300_000,
        b'{"context":{"runId":"r_1"},"payload":' + b"[]," * 150_000 + b"1}",
        b'{"context":{"runId":"r_1"}}' + b" " * 300_000 + b"}",
        b'{"other":"' + b"x" * 300_000 + b'"}',
        b'["' + b"x" * 300_000 + b'"]',
        b"\xff" * 300_000,
        b"]" * 300_000,
    ],
    ids=["unclosed text", "escapes", "open", "too many", "unbalanced", "no run", "list", "binary", "closing"],
)
def test_what_names_no_run_or_cannot_be_skimmed_is_undecodable(body: bytes) -> None:
    result = read(body)

    assert isinstance(result, Unacceptable)
    assert (result.reason, result.run_id) == ("undecodable", None)


def test_a_change_event_that_cannot_be_read_in_full_is_undecodable() -> None:
    body = json.dumps(with_input("kafka_v1", LARGE)).encode()
    result = MessageIntake(SECRET, StillClock(), max_bytes=1000).decode(body, Channel.CHANGE_LOG)
    assert isinstance(result, Unacceptable)


@given(st.sampled_from(NAMES), st.data())
def test_skimming_finds_the_run_that_reading_finds(name: str, data: st.DataObject) -> None:
    """For any message: had it been a byte too large, its run would have been the same, and as well verified."""
    message = document(name)
    if data.draw(st.booleans()):
        message = {**message, "more": data.draw(ANYTHING)}
    body = json.dumps(message).encode()
    mode = data.draw(st.sampled_from(SignatureMode))

    whole = MessageIntake(SECRET, StillClock(), mode=mode).decode(body, Channel.RUNS)
    skimmed = MessageIntake(SECRET, StillClock(), mode=mode, max_bytes=len(body) - 1).decode(body, Channel.RUNS)

    match whole:
        case Decoded(invocation) if invocation.run_id is not None:
            assert isinstance(skimmed, Unexecutable)
            assert replace(skimmed.invocation, document=invocation.document) == invocation
        case Unexecutable():
            assert isinstance(skimmed, Unexecutable)
            assert skimmed.invocation == whole.invocation
        case Unacceptable("undecodable") | Decoded():
            assert isinstance(skimmed, Unacceptable)
            assert skimmed.reason == "undecodable"
        case _:
            assert skimmed == whole


@pytest.mark.alone
def test_whatever_a_message_is_made_of_skimming_is_quick() -> None:
    for piece in (
        b'"',
        b'\\"',
        b"\\",
        b"[",
        b"]",
        b"{",
        b"[]",
        b"[],",
        b'"",',
        b"1,",
        b" ",
        b'{"a":',
        b"\xf0\x9f\x92\xa9",
    ):
        for frame in (b"%s", b'{"context":{"runId":"r_1"},"payload":%s}', b'"%s"', b"[%s]"):
            body = frame.replace(b"%s", piece * (2_000_000 // len(piece)))
            begun_s = time.process_time()
            read(body)
            assert time.process_time() - begun_s < 2, (piece, frame)


def test_a_run_id_of_the_operators_own_path_is_looked_for_once() -> None:
    asked: list[object] = []

    def finder(found: object) -> str:
        asked.append(found)
        return "r_own"

    intake = MessageIntake(lambda: [SECRET], StillClock(), extra_run_id=finder)
    body = b'{"invocationMethod": {"type": "KAFKA"}, "ticket": 1}'
    decoded = intake.decode(body, Channel.RUNS)
    assert isinstance(decoded, Decoded)
    assert decoded.invocation.run_id == "r_own"
    assert intake.recall(body, Channel.RUNS).run_id is None
    assert len(asked) == 1
