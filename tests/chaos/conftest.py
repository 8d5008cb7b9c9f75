"""Kafka's jars, as for the tests of `tests.broker`."""

from tests.broker.conftest import kafka_libs

__all__ = ["kafka_libs"]
