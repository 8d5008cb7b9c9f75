"""Tries the Kafka side for real, without joining the agents' group: for ``action-agent doctor``."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from agent.kafka.client import hint_of, is_fatal, is_member
from agent.kafka.config import CONSUMER, KafkaCredentials, KafkaSettings, consumer_config

T = TypeVar("T")

_LISTEN_S = 0.1
_SET_UP_MS = 8_000
"""So long one connection may take to be made: the client's own 30 s would outlast the question."""
_SHOWN = 3

_AUTHENTICATION = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"})
_ALL_DOWN = "_ALL_BROKERS_DOWN"
_NO_ANSWER = frozenset({"_TRANSPORT", "_TIMED_OUT", _ALL_DOWN})
_STATE = re.compile(r" \(after \d+ms in state [^()]*(\([^()]*\)[^()]*)*\)$")
"""What the client adds to its errors about itself."""


@dataclass(frozen=True, slots=True)
class KafkaFindings:
    """What a probe found. ``problem`` is ``None`` if all went well, else what failed, and ``hint`` what to do.

    ``brokers`` counts those that answered; ``partitions`` maps each topic that exists to its number of them;
    ``missing`` names those that do not exist or may not be seen.
    """

    brokers: int = 0
    partitions: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    problem: str | None = None
    hint: str = ""


def probe(
    settings: KafkaSettings, credentials: KafkaCredentials | None, timeout_s: float, *, slice_s: float = 2.0
) -> KafkaFindings:
    """Connects, looks at the topics, asks for the group's offsets; tries a newer protocol in a group of its own.

    Blocks for at most about three times ``timeout_s``. Every ``slice_s`` it listens to what the client reports, and
    gives up early where credentials are refused, or where still no broker can be reached one slice later.
    """
    heard: list[KafkaError] = []
    extra = {"error_cb": heard.append, "socket.connection.setup.timeout.ms": _SET_UP_MS}
    config = {**consumer_config(settings, credentials), **extra}
    try:
        consumer = Consumer(config, logger=_silent())
    except KafkaException as error:
        return KafkaFindings(
            problem=f"the Kafka client cannot be made: {error.args[0].str()}", hint="check KAFKA_*"
        )
    ask = _Persistence(consumer, heard, timeout_s, slice_s)
    try:
        metadata = ask(lambda wait_s: consumer.list_topics(timeout=wait_s))
        wanted = (settings.runs_topic, settings.change_log_topic)
        found = {
            name: len(metadata.topics[name].partitions)
            for name in wanted
            if name in metadata.topics and metadata.topics[name].error is None
        }
        missing = tuple(name for name in wanted if name not in found)
        findings = KafkaFindings(len(metadata.brokers), found, missing)
        if found:
            partition = TopicPartition(next(iter(found)), 0)
            ask(lambda wait_s: consumer.committed([partition], timeout=wait_s))
        if settings.group_protocol == CONSUMER and (refusal := _refusal_of_protocol(settings, config, timeout_s)):
            return KafkaFindings(problem=_text([refusal]), hint=hint_of(refusal))
    except KafkaException as error:
        return _explain(settings, error.args[0], heard)
    finally:
        consumer.close()
    return findings


def _refusal_of_protocol(settings: KafkaSettings, config: dict[str, object], timeout_s: float) -> KafkaError | None:
    """What the brokers say where they do not have the protocol, tried in a group that commits nothing."""
    consumer = Consumer({**config, "group.id": f"{settings.group_id}.doctor"}, logger=_silent())
    try:
        consumer.subscribe([settings.change_log_topic])
        ends_s = time.monotonic() + timeout_s
        while not is_member(consumer) and time.monotonic() < ends_s:
            message = consumer.poll(_LISTEN_S)
            error = None if message is None else message.error()
            if error is not None and is_fatal(error):
                return error
    finally:
        consumer.close()
    return None


def _silent() -> logging.Logger:
    """For the client's own lines: what it reports is told in the findings."""
    logger = logging.getLogger("agent.kafka.probe")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    return logger


@dataclass(frozen=True, slots=True)
class _Persistence:
    """Asks again and again while there is hope; ``heard`` holds what the client reported of the last question."""

    consumer: Consumer
    heard: list[KafkaError]
    timeout_s: float
    slice_s: float

    def __call__(self, question: Callable[[float], T]) -> T:
        """The answer; ``question`` is given the time that it may take. Raises the last `KafkaException`."""
        self.heard.clear()
        ends_s = time.monotonic() + self.timeout_s
        failed_while_down = 0
        while True:
            try:
                return question(max(_LISTEN_S, min(self.slice_s, ends_s - time.monotonic())))
            except KafkaException as error:
                self.consumer.poll(_LISTEN_S)
                names = {one.name() for one in self.heard}
                # The first time it may only be the first of a broker's addresses that cannot be reached.
                failed_while_down += _ALL_DOWN in names
                hopeless = _AUTHENTICATION & names or error.args[0].name() not in _NO_ANSWER
                if hopeless or failed_while_down > 1 or time.monotonic() >= ends_s:
                    raise


def _explain(settings: KafkaSettings, raised: KafkaError, heard: Iterable[KafkaError]) -> KafkaFindings:
    """The most telling of the errors: that no answer came says nothing if a refused password stands beside it."""
    telling = [error for error in heard if error.name() != _ALL_DOWN]
    if raised.name() not in _NO_ANSWER or not telling:
        telling.append(raised)
    by_hand = "is KAFKA_CONSUMER_BOOTSTRAP_SERVERS right? " if settings.bootstrap_servers else ""
    hints = (
        (_AUTHENTICATION, "the broker refused user or password; were the credentials rotated?"),
        (
            {"GROUP_AUTHORIZATION_FAILED"},
            f"Port allows groups named {{PORT_ORG_ID}}.<any name>; ours is {settings.group_id}",
        ),
        ({"_SSL"}, "TLS failed; a proxy or a private CA in between? AGENT_KAFKA_CA_FILE names CAs to trust"),
        ({"_RESOLVE"}, f"{by_hand}does this machine's DNS know the brokers' names?"),
    )
    for names, hint in hints:
        if found := [error for error in telling if _kind(error) in names]:
            return KafkaFindings(problem=_text(found), hint=hint)
    hint = f"{by_hand}is outbound TCP to the brokers (Port's: 9196) allowed? An HTTP proxy does not carry Kafka"
    return KafkaFindings(problem=_text(telling), hint=hint)


def _kind(error: KafkaError) -> str:
    """Its name, but for a handshake that the other side broke off: to the client that is any lost connection."""
    return "_SSL" if "SSL handshake failed" in error.str() else error.name()


def _text(errors: Iterable[KafkaError]) -> str:
    """What different things they say."""
    return "; ".join(list(dict.fromkeys(_STATE.sub("", error.str()) for error in errors))[:_SHOWN])
