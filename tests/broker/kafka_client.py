"""What the tests do at the broker: make topics, give rights, produce, and read what a group has committed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it does not mark what it re-exports
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.broker.real_kafka import AGENT, Account, RealKafka

_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for one partition; ``offset`` is ``None`` where it has not yet."""

    offset: int | None
    metadata: str


class KafkaClient:
    """An administrator's view of one broker. Every method waits for the broker, for 20 s at most."""

    def __init__(self, kafka: RealKafka) -> None:
        self._kafka = kafka

    def create_topic(self, topic: str, partitions: int) -> None:
        """Makes a topic and waits until it is there."""
        admin = AdminClient(self._kafka.client_config())
        admin.create_topics([NewTopic(topic, partitions, self._kafka.copies)])[topic].result(_TIMEOUT_S)

    def set_password(self, account: Account) -> None:
        """Makes the user, or gives it this password; connections that stand are not disturbed."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(account.username, info, account.password.encode())
        admin = AdminClient(self._kafka.client_config())
        admin.alter_user_scram_credentials([change])[account.username].result(_TIMEOUT_S)

    def allow_agent(self, org: str, account: Account = AGENT) -> None:
        """Gives ``account`` what Port gives: reading topics and using groups named ``org.…``."""
        grants = [
            AclBinding(
                kind,
                f"{org}.",
                ResourcePatternType.PREFIXED,
                f"User:{account.username}",
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for kind, operation in (
                (ResourceType.TOPIC, AclOperation.READ),
                (ResourceType.GROUP, AclOperation.READ),
            )
        ]
        admin = AdminClient(self._kafka.client_config())
        for future in admin.create_acls(grants).values():
            future.result(_TIMEOUT_S)

    def produce(self, topic: str, values: Iterable[bytes | None], partition: int | None = None) -> None:
        """Appends records without key, and waits until the broker has them.

        They go to ``partition``, or to all in turn: whoever produces at least as many records as there are
        partitions leaves none out, and a test may count on it.
        """
        failures: list[KafkaError] = []

        def note(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)

        producer = Producer(self._kafka.client_config())
        turns = itertools.cycle(self._partitions(producer, topic) if partition is None else [partition])
        for value, turn in zip(values, turns, strict=False):
            producer.produce(topic, value, partition=turn, on_delivery=note)
            producer.poll(0)
        left = producer.flush(_TIMEOUT_S)
        assert not left, f"{left} records were not taken by Kafka within {_TIMEOUT_S:g} s"
        assert not failures, f"Kafka refused records: {failures[0]}"

    def end_offsets(self, topic: str) -> dict[int, int]:
        """By partition, the offset that the next record will get."""
        with Consumer({**self._kafka.client_config(), "group.id": "reader"}) as consumer:
            return {
                partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), _TIMEOUT_S)[1]
                for partition in self._partitions(consumer, topic)
            }

    def committed(self, group: str, topic: str) -> dict[int, Committed]:
        """By partition, what ``group`` has committed."""
        with Consumer({**self._kafka.client_config(), "group.id": group}) as consumer:
            asked = [TopicPartition(topic, partition) for partition in self._partitions(consumer, topic)]
            return {
                found.partition: Committed(found.offset if found.offset >= 0 else None, found.metadata or "")
                for found in consumer.committed(asked, _TIMEOUT_S)
            }

    def set_committed(self, group: str, topic: str, places: Mapping[int, Committed]) -> None:
        """Moves by hand what ``group``, which must have no members, has committed."""
        moved = [
            TopicPartition(topic, partition, place.offset or 0, place.metadata)
            for partition, place in places.items()
        ]
        admin = AdminClient(self._kafka.client_config())
        asked = ConsumerGroupTopicPartitions(group, moved)
        answer = admin.alter_consumer_group_offsets([asked])[group].result(_TIMEOUT_S)
        errors = [place.error for place in answer.topic_partitions or [] if place.error is not None]
        assert not errors, f"Kafka did not move what {group} has committed: {errors}"

    def delete_group(self, group: str) -> None:
        """Deletes by hand all that ``group``, which must have no members, has committed."""
        admin = AdminClient(self._kafka.client_config())
        admin.delete_consumer_groups([group])[group].result(_TIMEOUT_S)

    def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Cuts the log: by partition, the records below an offset go, as retention makes them go."""
        admin = AdminClient(self._kafka.client_config())
        cut = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        for future in admin.delete_records(cut).values():
            future.result(_TIMEOUT_S)

    def members(self, group: str) -> int:
        """How many consumers belong to ``group`` now."""
        admin = AdminClient(self._kafka.client_config())
        return len(admin.describe_consumer_groups([group])[group].result(_TIMEOUT_S).members)

    def _partitions(self, client: Consumer | Producer, topic: str) -> list[int]:
        return sorted(client.list_topics(topic, _TIMEOUT_S).topics[topic].partitions)
