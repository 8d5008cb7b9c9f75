"""What the doctor learns of Kafka, and how soon."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from agent.kafka.config import CONSUMER, KafkaCredentials, KafkaSettings
from agent.kafka.probe import KafkaFindings, probe
from agent.sandbox.broker import EmbeddedBroker
from tests.kafka.refusing_broker import refusing_broker

LONG_S = 60.0
"""Whoever needs this long has not noticed that there is no hope."""


@contextmanager
def silent_port(*, listening: bool = False) -> Iterator[str]:
    """An address that refuses connections, or one that takes them and never says a word."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        if listening:
            held.listen()
        yield f"127.0.0.1:{held.getsockname()[1]}"


def settings(servers: str, protocol: str = "plaintext") -> KafkaSettings:
    return KafkaSettings(
        group_id="org.agent",
        runs_topic="org.runs",
        change_log_topic="org.change.log",
        security_protocol=protocol,
        bootstrap_servers=servers,
    )


def found(settings: KafkaSettings, timeout_s: float = LONG_S) -> KafkaFindings:
    """What a probe finds, which must not take as long as it might."""
    began_s = time.monotonic()
    findings = probe(settings, KafkaCredentials((), "agent", "s3cret-password"), timeout_s, slice_s=0.5)
    assert time.monotonic() - began_s < LONG_S / 2
    assert "s3cret-password" not in repr(findings)
    return findings


def test_topics_that_are_there_and_one_that_is_not() -> None:
    with EmbeddedBroker() as broker, silent_port() as dead:
        count = broker.create_topic("org.runs")
        findings = found(settings(f"{dead},{broker.bootstrap_servers}"))
    assert findings == KafkaFindings(1, {"org.runs": count}, ("org.change.log",))


def test_the_newer_protocol_is_tried_and_leaves_the_agents_group_alone() -> None:
    with EmbeddedBroker() as broker:
        broker.create_topic("org.runs")
        broker.create_topic("org.change.log")
        findings = found(replace(settings(broker.bootstrap_servers), group_protocol=CONSUMER))
        assert broker.committed("org.agent", "org.runs") == {}
    assert findings.problem is None


def test_a_refused_connection_is_told_soon_and_only_once_for_each_broker() -> None:
    with silent_port() as dead, silent_port() as another:
        findings = found(settings(f"{dead},{another}"))
    assert findings.problem is not None
    parts = findings.problem.split("; ")
    assert len(parts) == 2
    for part in parts:
        assert part.endswith("Connection refused")
    assert dead in findings.problem
    assert another in findings.problem
    assert findings.hint.startswith("is KAFKA_CONSUMER_BOOTSTRAP_SERVERS right?")


def test_a_name_that_does_not_resolve_is_told_soon() -> None:
    findings = found(settings("no..such..name:9092"))
    assert findings.problem is not None
    assert "Failed to resolve 'no..such..name:9092'" in findings.problem
    assert "DNS" in findings.hint


def test_a_refused_password_is_told_soon() -> None:
    with refusing_broker() as address:
        findings = found(settings(address, "sasl_plaintext"))
    assert findings.problem is not None
    assert "no such one" in findings.problem
    assert findings.hint == "the broker refused user or password; were the credentials rotated?"


def test_a_failing_handshake_is_told_as_tls() -> None:
    with refusing_broker() as address:
        findings = found(settings(address, "ssl"))
    assert findings.problem is not None
    assert "AGENT_KAFKA_CA_FILE" in findings.hint, findings


def test_where_nobody_answers_the_time_is_kept() -> None:
    with silent_port(listening=True) as address:
        began_s = time.monotonic()
        findings = found(settings(address), timeout_s=0.5)
        assert time.monotonic() - began_s >= 0.5
    assert findings.problem is not None
    assert "outbound TCP" in findings.hint
