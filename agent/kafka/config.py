"""What the consumer is told: settings as the official agent takes them, made into librdkafka's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

CLIENT_ID = "port-action-agent"

CLASSIC = "classic"
CONSUMER = "consumer"
"""The group protocols, in librdkafka's words."""

_FETCH_BYTES = 4 * 1024 * 1024
"""Of one answer of a broker, whatever the number of partitions in it. A record that is larger comes alone."""
_BELIEVED_FOR_S = 3.0
"""Where the session is the brokers' to set, and they do not tell how long it is."""


@dataclass(frozen=True, slots=True)
class KafkaCredentials:
    """What ``GET /v1/kafka-credentials`` gives out."""

    brokers: tuple[str, ...]
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """The operator's Kafka settings. ``bootstrap_servers`` empty: brokers come with the credentials.

    ``max_records`` and ``max_bytes`` bound what waits in the client, and once more what waits for the dispatcher;
    each may pass ``max_bytes`` by what brokers had been asked for by then, 4 MiB of each of them.
    ``max_span`` bounds how far reading may run ahead of the lowest unsettled message of a partition.
    ``session_timeout_ms`` is for `CLASSIC` groups only: those of `CONSUMER` have the brokers'.
    ``agent_name`` tells other agents whose start markers they read. ``reads_traceparent``: each record is looked at
    for the span that it belongs to.
    """

    group_id: str
    runs_topic: str
    change_log_topic: str
    security_protocol: str = "sasl_ssl"
    sasl_mechanism: str = "SCRAM-SHA-512"
    bootstrap_servers: str = ""
    auto_offset_reset: str = "earliest"
    session_timeout_ms: int = 45_000
    group_protocol: str = CLASSIC
    ca_file: Path | None = None
    max_records: int = 1_000
    max_bytes: int = 4 * 1024 * 1024
    max_span: int = 10_000
    commit_interval_s: float = 1.0
    agent_name: str = ""
    reads_traceparent: bool = False

    @property
    def reads_from_start(self) -> bool:
        """Whether a group that has committed nothing yet begins with the oldest record."""
        return self.auto_offset_reset in {"earliest", "smallest", "beginning"}

    @property
    def believed_for_s(self) -> float:
        """How long after a commit was sent nobody else can have our partitions yet: well within any session."""
        return self.session_timeout_ms / 2000 if self.group_protocol == CLASSIC else _BELIEVED_FOR_S

    @property
    def needs_credentials(self) -> bool:
        """Whether anything of the connection comes from Port's API."""
        return not self.bootstrap_servers or self.security_protocol.startswith("sasl")


def consumer_config(settings: KafkaSettings, credentials: KafkaCredentials | None) -> dict[str, object]:
    """The configuration in librdkafka's own names. ``credentials`` is ``None`` only if nothing needs them."""
    config: dict[str, object] = {
        "client.id": CLIENT_ID,
        "group.id": settings.group_id,
        "bootstrap.servers": settings.bootstrap_servers or ",".join(credentials.brokers if credentials else ()),
        "security.protocol": settings.security_protocol,
        "auto.offset.reset": settings.auto_offset_reset,
        "max.poll.interval.ms": max(300_000, settings.session_timeout_ms),  # the client refuses less
        "group.protocol": settings.group_protocol,
        # The ledger decides what is committed, and nothing else does.
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Bounded prefetch: what waits inside the client is memory that no metric of ours sees.
        "queued.max.messages.kbytes": max(1024, settings.max_bytes // 1024),
        "queued.min.messages": settings.max_records,
        # The queue is looked at before a fetch only, and one of many partitions would bring 50 MB.
        "fetch.max.bytes": _FETCH_BYTES,
        # How soon a full prefetch queue is looked at again; the default of 1 s starves a fast dispatcher.
        "fetch.queue.backoff.ms": 20,
        # A quiet topic answers as soon as there is something; this only bounds the empty answer, behind which
        # whatever else is asked of that broker waits, and with it this thread and each start.
        "fetch.wait.max.ms": 100,
        "reconnect.backoff.max.ms": 10_000,
        # Where reading has come to, also past what is no record of anybody (markers and aborts of transactions).
        "enable.partition.eof": True,
        # A topic that is created after we subscribed is noticed within this.
        "topic.metadata.refresh.interval.ms": 15_000,
        "allow.auto.create.topics": False,
        # Errors reach us by callback and are told once a minute; the client's own lines would come each second.
        "log_level": 2,
    }
    if settings.group_protocol == CLASSIC:  # else the broker sets both, and the client refuses to be told
        config["session.timeout.ms"] = settings.session_timeout_ms
        config["partition.assignment.strategy"] = "cooperative-sticky"
    if settings.security_protocol.endswith("ssl") and settings.ca_file is not None:
        config["ssl.ca.location"] = str(settings.ca_file)
    if settings.security_protocol.startswith("sasl") and credentials is not None:
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = credentials.username
        config["sasl.password"] = credentials.password
    return config
