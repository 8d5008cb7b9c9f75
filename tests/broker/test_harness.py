"""The harness itself, with a plain client: what the agent's tests take for granted about the broker."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.broker.kafka_client import KafkaClient
from tests.broker.real_kafka import AGENT, Account, RealKafka
from tests.broker.waiting import wait_until

pytestmark = pytest.mark.kafka


def commit(kafka: RealKafka, group: str, where: TopicPartition) -> None:
    config = kafka.client_config(AGENT)
    with Consumer({**config, "group.id": group, "enable.auto.commit": False}) as consumer:
        consumer.commit(offsets=[where], asynchronous=False)


def test_records_are_spread_over_partitions_and_read_back_by_the_agents_account(
    kafka: RealKafka, client: KafkaClient
) -> None:
    client.create_topic("org_read.runs", 3)
    client.allow_agent("org_read")
    client.produce("org_read.runs", [b"%d" % n for n in range(60)])

    settings = {"group.id": "org_read.agent", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    seen: list[bytes] = []
    with Consumer({**kafka.client_config(AGENT), **settings}) as consumer:
        consumer.subscribe(["org_read.runs"])
        while len(seen) < 60:
            message = consumer.poll(20)
            assert message is not None, f"only {len(seen)} records came"
            assert message.error() is None, message.error()
            seen.append(message.value() or b"")

    assert sorted(map(int, seen)) == list(range(60))
    ends = client.end_offsets("org_read.runs")
    assert sum(ends.values()) == 60
    assert all(ends[partition] > 0 for partition in (0, 1, 2))


def test_commit_metadata_comes_back_up_to_the_brokers_limit(kafka: RealKafka, client: KafkaClient) -> None:
    client.create_topic("org_map.runs", 3)
    client.allow_agent("org_map")

    commit(kafka, "org_map.agent", TopicPartition("org_map.runs", 1, 7, "x" * 4000))
    committed = client.committed("org_map.agent", "org_map.runs")
    assert (committed[0].offset, committed[1].offset, committed[2].offset) == (None, 7, None)
    assert committed[1].metadata == "x" * 4000

    with pytest.raises(KafkaException) as refused:
        commit(kafka, "org_map.agent", TopicPartition("org_map.runs", 1, 8, "x" * 5000))
    assert refused.value.args[0].code() == KafkaError.OFFSET_METADATA_TOO_LARGE
    assert client.committed("org_map.agent", "org_map.runs")[1].offset == 7


def test_a_group_outside_the_organisation_is_refused(kafka: RealKafka, client: KafkaClient) -> None:
    client.create_topic("org_acl.runs", 1)
    client.allow_agent("org_acl")
    with Consumer({**kafka.client_config(AGENT), "group.id": "somebody.else"}) as consumer:
        consumer.subscribe(["org_acl.runs"])
        message = consumer.poll(20)
    assert message is not None
    error = message.error()
    assert error is not None
    assert error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def test_a_wrong_password_is_refused(kafka: RealKafka) -> None:
    errors: list[int] = []
    config = kafka.client_config(Account(AGENT.username, "wrong"))
    stranger = AdminClient(config, error_cb=lambda error: errors.append(error.code()))
    with pytest.raises(KafkaException):
        stranger.list_topics(timeout=2)
    wait_until(lambda: stranger.poll(0.1) or errors, timeout_s=20, what="the broker's refusal")
    assert KafkaError._AUTHENTICATION in errors


def test_records_and_commits_outlive_a_stop_a_kill_and_a_freeze(kafka: RealKafka, client: KafkaClient) -> None:
    client.create_topic("org_keep.runs", 3)
    client.allow_agent("org_keep")
    client.produce("org_keep.runs", [b"1"] * 30)
    commit(kafka, "org_keep.agent", TopicPartition("org_keep.runs", 0, 5, "map"))

    kafka.stop()
    kafka.start()
    kafka.kill()
    kafka.start()
    kafka.freeze()
    with pytest.raises(KafkaException):
        AdminClient(kafka.client_config()).list_topics(timeout=1)
    kafka.thaw()

    assert sum(client.end_offsets("org_keep.runs").values()) == 30
    committed = client.committed("org_keep.agent", "org_keep.runs")
    assert (committed[0].offset, committed[0].metadata) == (5, "map")
