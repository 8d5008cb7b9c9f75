from __future__ import annotations

from agent.kafka.config import KafkaSettings, consumer_config

MIB = 1024 * 1024


def test_what_is_fetched_ahead_is_bounded_whatever_the_number_of_partitions() -> None:
    settings = KafkaSettings(
        "group", "runs", "changes", security_protocol="plaintext", bootstrap_servers="broker:9"
    )
    config = consumer_config(settings, None)
    bounds = {name: config[name] for name in ("queued.max.messages.kbytes", "fetch.max.bytes")}
    assert bounds == {"queued.max.messages.kbytes": 4096, "fetch.max.bytes": 4 * MIB}


def test_a_record_that_is_larger_than_a_fetch_is_not_refused() -> None:
    settings = KafkaSettings(
        "group", "runs", "changes", security_protocol="plaintext", bootstrap_servers="broker:9"
    )
    assert "receive.message.max.bytes" not in consumer_config(settings, None), "its default is 100 MB"
