"""The client library's words and ours: how a consumer is made, partitions to and fro, and what an error means."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from agent.delivery.positions import Commit, Partition
from agent.domain.trace import SpanContext, read_traceparent

_REFUSALS = frozenset(
    {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}  # noqa: SLF001 - librdkafka's own error codes are spelled so
)


_PASSING = frozenset(
    {
        KafkaError.STALE_MEMBER_EPOCH,  # the group has moved on, and the client hears of it with its next heartbeat
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.REBALANCE_IN_PROGRESS,
        # The coordinator is away, as while its broker starts anew, or moves to another broker.
        KafkaError._WAIT_COORD,  # noqa: SLF001 - likewise
        KafkaError._TRANSPORT,  # noqa: SLF001 - likewise
        KafkaError._TIMED_OUT,  # noqa: SLF001 - likewise
    }
)
_UNSUPPORTED = (KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE)  # noqa: SLF001 - likewise
_TO_CLASSIC = (
    'the brokers do not have the group protocol "consumer" (Kafka 4.0 and newer do);'
    " set AGENT_KAFKA_GROUP_PROTOCOL=classic"
)
_HINTS = {
    **{KafkaError(code).str(): _TO_CLASSIC for code in _UNSUPPORTED},
    KafkaError(KafkaError.GROUP_ID_NOT_FOUND).str(): (
        'agents with the group protocol "classic" are in the group, and Kafka cannot take it over from them:'
        " stop them all, or set AGENT_KAFKA_GROUP_PROTOCOL=classic"
    ),
}
"""What is to be done about fatal errors that quote these."""
_MEMBERSHIP = b"CGMDv2:"


class OpenConsumer(Protocol):
    """Makes the client; `confluent_kafka.Consumer`, but for tests of failing clients."""

    def __call__(self, config: dict[str, object], /, *, logger: logging.Logger) -> Consumer:
        """A consumer that is not subscribed yet."""


def parent_of(message: Message) -> SpanContext | None:
    """The span that a record's ``traceparent`` header names, the last one if there are several."""
    try:
        headers = message.headers() or []
    except SystemError:  # the client's answer to a header whose name is not UTF-8
        return None
    for name, value in reversed(headers):
        if name == "traceparent":
            return read_traceparent(value.decode("ascii", "replace") if isinstance(value, bytes) else str(value))
    return None


def topic_partition(partition: Partition) -> TopicPartition:
    """``partition`` as the client spells it, without an offset."""
    return TopicPartition(partition.topic, partition.index)


def topic_partitions(commits: Mapping[Partition, Commit]) -> list[TopicPartition]:
    """What is to be committed, as the client spells it."""
    return [TopicPartition(p.topic, p.index, commit.offset, commit.metadata) for p, commit in commits.items()]


def partition_of(spelled: TopicPartition) -> Partition:
    """The reverse of `topic_partition`."""
    return Partition(spelled.topic, spelled.partition)


def refuses_credentials(error: KafkaError) -> bool:
    """Whether a broker did not take user or password."""
    return error.code() in _REFUSALS


def passes_soon(error: KafkaError) -> bool:
    """Whether a commit that was refused for it may well be taken a moment later."""
    return error.code() in _PASSING


def is_fatal(error: KafkaError) -> bool:
    """Whether the client is beyond use. Where it says so in place of a record, only the code tells."""
    return error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001 - likewise


def hint_of(error: KafkaError) -> str:
    """What is to be done about a fatal error that does not say it itself; empty where nothing is known."""
    return next((hint for said, hint in _HINTS.items() if said in error.str()), "") if is_fatal(error) else ""


def explained(error: KafkaError) -> str:
    """The error with its hint."""
    return ": ".join(filter(None, (error.str(), hint_of(error))))


def is_member(consumer: Consumer) -> bool:
    """Whether the client is in its group now, be it without partitions.

    Only its membership's serialised form tells: a generation (or member epoch) above 0 was given by the group,
    while a member id the client may have made up itself.
    """
    form = consumer.consumer_group_metadata()
    if not isinstance(form, bytes) or not form.startswith(_MEMBERSHIP):
        return bool(consumer.memberid())
    generation = form[len(_MEMBERSHIP) : len(_MEMBERSHIP) + 4]
    return int.from_bytes(generation, sys.byteorder, signed=True) > 0
