"""What the client library's answers mean to us."""

from __future__ import annotations

import sys
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, Message

from agent.domain.trace import read_traceparent
from agent.kafka.client import explained, hint_of, is_fatal, is_member, parent_of
from agent.kafka.config import CLASSIC, CONSUMER, KafkaSettings, consumer_config

UNSUPPORTED = "Fatal error: Broker: API version not supported: ConsumerGroupHeartbeat fatal error"
"""What librdkafka says of a broker without the protocol, in place of a record."""


class Member:
    def __init__(self, form: object, member_id: str = "made-up") -> None:
        self._form, self._member_id = form, member_id

    def consumer_group_metadata(self) -> object:
        return self._form

    def memberid(self) -> str:
        return self._member_id


def form(generation: int) -> bytes:
    return b"CGMDv2:" + generation.to_bytes(4, sys.byteorder, signed=True) + b"group\0made-up\0\1"


@pytest.mark.parametrize(("generation", "expected"), [(-1, False), (0, False), (1, True), (70_000, True)])
def test_a_member_has_a_generation_of_the_groups_giving(generation: int, expected: bool) -> None:  # noqa: FBT001
    assert is_member(cast("Consumer", Member(form(generation)))) is expected


@pytest.mark.parametrize("unknown", [None, b"CGMDv9:?", "text"])
def test_where_the_generation_cannot_be_read_the_member_id_counts(unknown: object) -> None:
    assert is_member(cast("Consumer", Member(unknown)))
    assert not is_member(cast("Consumer", Member(unknown, "")))


@pytest.mark.parametrize("protocol", [CLASSIC, CONSUMER])
def test_the_client_takes_the_configuration_of_each_protocol_and_is_no_member_yet(protocol: str) -> None:
    settings = KafkaSettings(
        "g", "r", "c", security_protocol="plaintext", bootstrap_servers="127.0.0.1:9", group_protocol=protocol
    )
    config = consumer_config(settings, None)
    assert config["group.protocol"] == protocol
    with Consumer(config) as consumer:
        assert not is_member(consumer)


def test_an_error_in_place_of_a_record_is_fatal_by_its_code() -> None:
    error = KafkaError(KafkaError._FATAL, UNSUPPORTED)
    assert not error.fatal()
    assert is_fatal(error)
    assert is_fatal(KafkaError(KafkaError._FENCED, "x", True))
    assert not is_fatal(KafkaError(KafkaError._TRANSPORT))


def test_what_is_to_be_done_about_it_stands_beside_it() -> None:
    text = explained(KafkaError(KafkaError._FATAL, UNSUPPORTED))
    assert text.startswith(UNSUPPORTED)
    assert text.endswith("set AGENT_KAFKA_GROUP_PROTOCOL=classic")


def test_an_error_that_passes_has_no_such_hint() -> None:
    assert hint_of(KafkaError(KafkaError.UNSUPPORTED_VERSION)) == ""
    assert explained(KafkaError(KafkaError._FATAL, "Fatal error: something new")) == "Fatal error: something new"


ONE, OTHER = (f"00-{digit * 32}-{digit * 16}-01" for digit in "ab")


class Record:
    def __init__(self, headers: object) -> None:
        self._headers = headers

    def headers(self) -> object:
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("traceparent", ONE.encode())], ONE),
        ([("traceparent", ONE)], ONE),
        ([("other", b"\xff"), ("traceparent", ONE.encode()), ("tracestate", b"x=1")], ONE),
        ([("traceparent", ONE.encode()), ("traceparent", OTHER.encode())], OTHER),
        (None, None),
        ([], None),
        ([("other", ONE.encode())], None),
        ([("traceparent", b"\xff\xfe")], None),
        ([("traceparent", None)], None),
        # What the client makes of a header whose name is not UTF-8.
        (SystemError("<method 'headers'> returned a result with an exception set"), None),
    ],
)
def test_a_record_names_the_span_that_it_belongs_to(headers: object, expected: str | None) -> None:
    found = parent_of(cast("Message", Record(headers)))
    assert found == (None if expected is None else read_traceparent(expected))
