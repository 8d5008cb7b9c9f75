"""The real Kafka, for the tests marked ``kafka``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.kafka_client import KafkaClient
from tests.broker.real_kafka import RealKafka


@pytest.fixture(scope="session")
def kafka_libs() -> Path:
    """The directory of Kafka's jars; without it the tests fail, for a skipped test proves nothing."""
    libs = os.environ.get("KAFKA_LIBS", "")
    if not libs or not list(Path(libs).glob("kafka_2.13-*.jar")):
        pytest.fail(
            f"KAFKA_LIBS is {libs!r}, which holds no Kafka; "
            'run: KAFKA_LIBS="$(.ci/kafka/fetch)" .venv/bin/python -m pytest -m kafka',
            pytrace=False,
        )
    return Path(libs)


@pytest.fixture(scope="session")
def kafka(kafka_libs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """One broker for all tests, running. Each test has an organisation of its own on it."""
    broker = RealKafka(kafka_libs, tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.fixture
def client(kafka: RealKafka) -> KafkaClient:
    """The administrator's view of the broker."""
    return KafkaClient(kafka)
