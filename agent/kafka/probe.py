"""Tries the Kafka side for real, without joining the group: for ``action-agent doctor``."""

from __future__ import annotations

from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from agent.kafka.config import KafkaCredentials, KafkaSettings, consumer_config

_AUTHENTICATION = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"})


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


def probe(settings: KafkaSettings, credentials: KafkaCredentials | None, timeout_s: float) -> KafkaFindings:
    """Connects, looks at the topics, asks for the group's offsets. Blocks for at most about twice ``timeout_s``."""
    errors: list[KafkaError] = []
    try:
        consumer = Consumer({**consumer_config(settings, credentials), "error_cb": errors.append})
    except KafkaException as error:
        return KafkaFindings(
            problem=f"the Kafka client cannot be made: {error.args[0].str()}", hint="check KAFKA_*"
        )
    try:
        consumer.poll(0)
        metadata = consumer.list_topics(timeout=timeout_s)
        wanted = (settings.runs_topic, settings.change_log_topic)
        found = {
            name: len(metadata.topics[name].partitions)
            for name in wanted
            if name in metadata.topics and metadata.topics[name].error is None
        }
        missing = tuple(name for name in wanted if name not in found)
        findings = KafkaFindings(len(metadata.brokers), found, missing)
        if found:
            consumer.committed([TopicPartition(next(iter(found)), 0)], timeout=timeout_s)
    except KafkaException as error:
        consumer.poll(0)
        return _explain(settings, [error.args[0], *errors])
    finally:
        consumer.close()
    return findings


def _explain(settings: KafkaSettings, errors: list[KafkaError]) -> KafkaFindings:
    """The most telling of the errors: a timeout says nothing if a refused password stands beside it."""
    names = {error.name(): error for error in errors}
    text = "; ".join(dict.fromkeys(error.str() for error in errors))
    if _AUTHENTICATION & names.keys():
        hint = "the broker refused user or password; were the credentials rotated?"
    elif "GROUP_AUTHORIZATION_FAILED" in names:
        hint = f"Port allows groups named {{PORT_ORG_ID}}.<any name>; ours is {settings.group_id}"
    elif "_SSL" in names:
        hint = "TLS failed; a proxy or a private CA in between? AGENT_KAFKA_CA_FILE names CAs to trust"
    else:
        hint = "is outbound TCP to the brokers (port 9196) allowed? An HTTP proxy does not carry Kafka"
    return KafkaFindings(problem=text, hint=hint)
