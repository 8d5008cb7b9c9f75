"""The client library's words and ours: how a consumer is made, partitions to and fro, and what an error means."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, TopicPartition

from agent.delivery.positions import Commit, Partition

_REFUSALS = frozenset(
    {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}  # noqa: SLF001 - librdkafka's own error codes are spelled so
)


class OpenConsumer(Protocol):
    """Makes the client; `confluent_kafka.Consumer`, but for tests of failing clients."""

    def __call__(self, config: dict[str, object], /, *, logger: logging.Logger) -> Consumer:
        """A consumer that is not subscribed yet."""


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
