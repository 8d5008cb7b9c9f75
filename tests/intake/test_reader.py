import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from agent.domain.invocation import Channel, InvocationKind
from agent.intake.reader import MessageIntake
from agent.ports import Decoded, NotOurs, Unacceptable
from tests.intake.port import MESSAGES, SECRET, StillClock, document, received

NAMES = sorted(file.stem for file in MESSAGES.glob("*.json"))
KEYS = ["action", "context", "headers", "inputs", "payload", "run"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=20,
)


def checked(body: bytes) -> Decoded | NotOurs | Unacceptable:
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


def test_a_message_over_the_size_limit_is_refused() -> None:
    body = received("kafka_v1")
    small = MessageIntake(SECRET, StillClock(), max_bytes=len(body) - 1)
    assert isinstance(small.decode(body, Channel.RUNS), Unacceptable)
    assert isinstance(MessageIntake(SECRET, StillClock(), max_bytes=len(body)).decode(body, Channel.RUNS), Decoded)
