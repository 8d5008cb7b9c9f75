import base64
import copy
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.errors import DecryptionError
from agent.domain.invocation import Channel, Invocation, InvocationKind
from agent.intake.reader import MessageIntake
from agent.intake.secrets import decrypt
from agent.ports import Decoded
from tests.intake.port import SECRET, Decode, StillClock, agent_message, document, encrypted, packed, received

PLAIN, CLOSED = "pä$$w0rd-✓", "AAECAwQFBgcICQoLDA0OD4MFFhLbSfXt5Z3uUgdrRaJHkDxUYs44AMIx96gD"
OBJECT_CLOSED = "Dw4NDAsKCQgHBgUEAwIBADsc3Bux6Ao0dIShh+TkStT2v5AYJU72VGmxabhtYYMyXF3SbVM="
FERNET = "gAAAAABlU_EAAAECAwQFBgcICQoLDA0OD7NSYxx_z9XqzN0nL8B5vg06yG4Y2P9uT6J-OKYYx1ZzOlz9ovG1x6VKHL7zcVnsdQ=="


def invocation(inputs: dict[str, Any], *censored: str, **action: object) -> Invocation:
    message = agent_message("KAFKA")
    message["payload"]["action"] = {"identifier": "deploy", **action}
    message["payload"] |= {"properties": inputs, "censoredProperties": list(censored)}
    result = MessageIntake(SECRET, StillClock()).decode(packed(message), Channel.RUNS)
    assert isinstance(result, Decoded)
    return result.invocation


# ── one value ────────────────────────────────────────────────────────────────────────────────────────


def test_the_published_vectors() -> None:
    assert decrypt(CLOSED, "x", [SECRET]) == PLAIN
    assert decrypt(OBJECT_CLOSED, "x", [SECRET]) == '{"user":"u","pw":"p"}'


@given(st.text(), st.binary(min_size=16, max_size=16))
def test_whatever_port_encrypts_is_opened(plain: str, iv: bytes) -> None:
    closed = base64.b64encode(iv + AESGCM(SECRET.encode()[:32]).encrypt(iv, plain.encode(), None)).decode()
    assert decrypt(closed, "x", [SECRET]) == plain


def test_a_short_client_secret_is_named_as_the_cause() -> None:
    with pytest.raises(DecryptionError, match="PORT_CLIENT_SECRET has only 31 bytes and 32 are the key"):
        decrypt(CLOSED, "token", [SECRET[:31]])


def test_a_rotated_client_secret_is_named_as_the_likely_cause() -> None:
    with pytest.raises(DecryptionError, match=r"'token' does not open .* was the client secret rotated") as failure:
        decrypt(CLOSED, "token", ["x" + SECRET])
    assert CLOSED not in str(failure.value)
    assert failure.value.__context__ is None


def test_an_input_encrypted_on_the_clients_side_is_not_opened() -> None:
    key, iv = AESGCM.generate_key(256), bytes(12)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    sealed_key = rsa.generate_private_key(65537, 2048).public_key().encrypt(key, oaep)
    closed = base64.b64encode(iv + sealed_key + AESGCM(key).encrypt(iv, b"plain", None)).decode()
    with pytest.raises(DecryptionError, match="encrypted on the client's side"):
        decrypt(closed, "token", [SECRET])


@pytest.mark.parametrize(
    "value",
    ["hunter2", "not base64!", "AAAA", "é", FERNET, base64.b64encode(bytes(31)).decode(), 987654, True, [], {}],
)
def test_what_is_no_ciphertext_is_refused_without_quoting_it(value: Any) -> None:
    with pytest.raises(DecryptionError, match="'token' should be encrypted") as failure:
        decrypt(value, "token", [SECRET])
    assert str(value) not in str(failure.value)


def test_plain_bytes_that_are_no_text_are_refused() -> None:
    iv = bytes(16)
    closed = base64.b64encode(iv + AESGCM(SECRET.encode()[:32]).encrypt(iv, b"\xff\xfe", None)).decode()
    with pytest.raises(DecryptionError, match="does not open"):
        decrypt(closed, "token", [SECRET])


# ── inputs of an invocation ──────────────────────────────────────────────────────────────────────────


def test_listed_inputs_are_opened_everywhere(intake: MessageIntake) -> None:
    closed = invocation({"password": CLOSED, "name": "api"}, "password")
    opened, plain = intake.unlock(closed, [])
    assert opened.inputs == {"password": PLAIN, "name": "api"}
    assert opened.view.value["inputs"] == opened.inputs
    assert CLOSED not in opened.view.text
    assert plain == {"password": (PLAIN,)}
    assert closed.inputs["password"] == CLOSED


def test_v2_inputs_are_opened_where_they_stand(intake: MessageIntake, decode: Decode) -> None:
    message = {"inputs": {"token": CLOSED}, "action": {"encryptedProperties": ["token"]}}
    opened, _ = intake.unlock(decode(packed(message)), [])
    assert opened.inputs == {"token": PLAIN}
    assert opened.document == {**message, "inputs": {"token": PLAIN}}


def test_paths_of_a_route_are_opened(intake: MessageIntake, decode: Decode) -> None:
    closed = decode(received("encrypted_signed"))
    before = copy.deepcopy(closed.document)
    paths = [
        "payload.properties.api_key",
        ".payload.properties.secrets.0.value",
        "payload.properties.secrets.1.value",
    ]
    opened, plain = intake.unlock(closed, paths)
    assert opened.inputs == {
        "api_key": "s3cr3t-ü",
        "secrets": [{"k": "a", "value": "v0"}, {"k": "b", "value": "v1"}],
        "plain": "x",
    }
    assert plain == dict(zip(paths, [("s3cr3t-ü",), ("v0",), ("v1",)], strict=True))
    assert (opened.run_id, opened.kind, opened.method) == (closed.run_id, closed.kind, closed.method)
    assert closed.document == before


def test_what_the_message_lists_stays_closed_where_only_paths_are_asked_for(intake: MessageIntake) -> None:
    closed = invocation({"token": CLOSED, "other": CLOSED}, "token")
    assert intake.unlock(closed, [], listed=False) == (closed, {})
    opened, plain = intake.unlock(closed, ["payload.properties.other"], listed=False)
    assert opened.inputs == {"token": CLOSED, "other": PLAIN}
    assert plain == {"payload.properties.other": (PLAIN,)}


def test_a_path_outside_the_inputs_is_opened_in_every_view(intake: MessageIntake) -> None:
    method = {"type": "KAFKA", "body": {"secrets": [{"value": CLOSED}]}}
    closed = invocation({}, invocationMethod=method)
    opened, _ = intake.unlock(closed, ["payload.action.invocationMethod.body.secrets.0.value"])
    assert opened.method.raw["body"] == {"secrets": [{"value": PLAIN}]}
    assert CLOSED not in opened.view.text


def test_secrets_of_a_change_event_are_opened(intake: MessageIntake, decode: Decode) -> None:
    message = document("change_entity")
    message["diff"]["after"]["properties"]["token"] = CLOSED
    opened, _ = intake.unlock(decode(packed(message), Channel.CHANGE_LOG), ["diff.after.properties.token"])
    assert opened.kind is InvocationKind.CHANGE_EVENT
    assert CLOSED not in opened.view.text


@pytest.mark.parametrize("channel", list(Channel))
def test_opening_gives_a_messages_expressions_no_more_time(
    channel: Channel, intake: MessageIntake, decode: Decode
) -> None:
    closed = decode(packed({"payload": {"properties": {"token": CLOSED}}}), channel)
    closed.effort.spent_s = 0.5
    opened, _ = intake.unlock(closed, ["payload.properties.token"])
    assert opened.view.effort.spent_s == 0.5


def test_nothing_to_open_changes_nothing(intake: MessageIntake) -> None:
    closed = invocation({"a": "b"})
    assert intake.unlock(closed, []) == (closed, {})
    array = MessageIntake(SECRET, StillClock()).decode(b"[1]", Channel.RUNS)
    assert isinstance(array, Decoded)
    assert intake.unlock(array.invocation, ["0.x", "7"]) == (array.invocation, {})


@pytest.mark.parametrize("inputs", [{}, {"token": None}, {"token": ""}])
def test_an_optional_input_that_was_not_given_is_no_error(inputs: dict[str, Any], intake: MessageIntake) -> None:
    closed = invocation(inputs, "token")
    opened, plain = intake.unlock(
        closed, ["payload.properties.token", "payload.nowhere.0.x", "payload.properties.9"]
    )
    assert opened == closed
    assert plain == {}


def test_a_listed_name_without_any_inputs_is_no_error(intake: MessageIntake, decode: Decode) -> None:
    closed = decode(packed({"name": CLOSED, "payload": {"censoredProperties": ["name"]}}))
    assert intake.unlock(closed, []) == (closed, {})


@pytest.mark.parametrize("paths", [[], ["payload.properties.token"]])
def test_an_input_that_does_not_open_fails(paths: list[str], intake: MessageIntake) -> None:
    closed = invocation({"token": encrypted("x", "another secret of thirty-two bytes at least")}, "token")
    with pytest.raises(DecryptionError, match="token"):
        intake.unlock(closed, paths)


def test_an_input_that_is_listed_and_named_is_opened_once(intake: MessageIntake) -> None:
    opened, plain = intake.unlock(invocation({"token": CLOSED}, "token"), ["payload.properties.token"])
    assert opened.inputs == {"token": PLAIN}
    assert plain == {"token": (PLAIN,)}


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────


def declared(type_: str) -> dict[str, Any]:
    return {"userInputs": {"properties": {"account": {"type": type_}}}}


def test_an_input_declared_as_an_object_becomes_one(intake: MessageIntake) -> None:
    closed = invocation({"account": OBJECT_CLOSED}, "account", **declared("object"))
    opened, plain = intake.unlock(closed, ["payload.properties.account"])
    assert opened.inputs == {"account": {"user": "u", "pw": "p"}}
    assert plain == {"account": ('{"user":"u","pw":"p"}', "u", "p")}


@pytest.mark.parametrize("action", [declared("string"), {}])
def test_any_other_input_stays_text_but_its_parts_are_masked(action: dict[str, Any], intake: MessageIntake) -> None:
    opened, plain = intake.unlock(invocation({"account": OBJECT_CLOSED}, "account", **action), [])
    assert opened.inputs == {"account": '{"user":"u","pw":"p"}'}
    assert plain == {"account": ('{"user":"u","pw":"p"}', "u", "p")}


@pytest.mark.parametrize("text", ["[1]", "text", '"quoted"', "{broken"])
def test_a_declared_object_that_is_none_stays_text(text: str, intake: MessageIntake) -> None:
    opened, _ = intake.unlock(invocation({"account": encrypted(text)}, "account", **declared("object")), [])
    assert opened.inputs == {"account": text}


def test_an_empty_secret_is_opened_and_not_masked(intake: MessageIntake) -> None:
    opened, plain = intake.unlock(invocation({"token": encrypted("")}, "token"), [])
    assert opened.inputs == {"token": ""}
    assert plain == {"token": ()}


def test_nested_strings_are_masked_once_and_empty_ones_not(intake: MessageIntake) -> None:
    text = '{"keys":["alpha","beta",{"deep":"alpha"}],"empty":"","no":[null,true]}'
    _, plain = intake.unlock(invocation({"account": encrypted(text)}, "account"), [])
    assert plain == {"account": (text, "alpha", "beta")}


def test_numbers_inside_are_masked_as_they_are_printed(intake: MessageIntake) -> None:
    text = '{"pin":12345678,"keys":[-1.50,1e21,12345678901234567891]}'
    _, plain = intake.unlock(invocation({"account": encrypted(text)}, "account"), [])
    large = ("12345678901234567891", "12345678901234567000")
    assert plain == {"account": (text, "12345678", "-1.5", "1e+21", *large)}
