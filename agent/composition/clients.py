"""The ways to Port's API and to Kafka, built from the settings."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import quote

import httpx

from agent import __version__
from agent.composition.credentials import Credentials
from agent.domain.errors import AgentError, ConfigurationError, Problem
from agent.domain.settlement import Refused, Undelivered
from agent.kafka.config import KafkaCredentials, KafkaSettings
from agent.net.client import open_client
from agent.net.proxy import ProxyRules
from agent.net.tls import TlsFileError, tls_context
from agent.ports import Clock, Observer
from agent.runs_api.client import NotProvisioned, RunsClient
from agent.runs_api.journal_file import JournalFile
from agent.runs_api.wire import KafkaCredentials as GivenCredentials
from agent.settings import Settings

_USER_AGENT = f"port-action-agent/{__version__}"
_API_CONNECTIONS = 64
_JOURNAL_BYTES = 128 * 1024 * 1024


def open_runs_client(
    settings: Settings,
    environment: Mapping[str, str],
    observer: Observer,
    clock: Clock,
    credentials: Credentials | None = None,
) -> RunsClient:
    """The client of Port's API, which asks ``credentials`` for those in force.

    Raises `ConfigurationError` for a CA file that cannot be used.
    """
    try:
        tls = tls_context(ca_file=settings.ca_file)
    except TlsFileError as error:
        raise ConfigurationError(Problem("SSL_CERT_FILE", str(error))) from error
    http = open_client(
        tls=tls,
        max_connections=_API_CONNECTIONS,
        timeout=httpx.Timeout(60.0, connect=10.0),
        user_agent=_USER_AGENT,
        proxies=ProxyRules(environment),
    )
    credentials = credentials or Credentials.of(settings)
    return RunsClient(
        http,
        base_url=settings.PORT_API_BASE_URL,
        client_id=credentials.client_id.current,
        client_secret=credentials.client_secret.current,
        observer=observer,
        clock=clock,
    )


def open_journal_file(settings: Settings) -> JournalFile:
    """The outcomes that Port has not accepted yet. Raises `OSError` and `sqlite3.Error`."""
    organisation = quote(settings.PORT_ORG_ID, safe="")  # another one's credentials would have them refused
    return JournalFile.open_first_free(settings.AGENT_STATE_DIR / "outcomes" / organisation, _JOURNAL_BYTES)


def kafka_settings(settings: Settings) -> KafkaSettings:
    """The Kafka part of the settings."""
    return KafkaSettings(
        group_id=settings.group_id,
        runs_topic=settings.runs_topic,
        change_log_topic=settings.change_log_topic,
        security_protocol=settings.security_protocol,
        sasl_mechanism=settings.sasl_mechanism,
        bootstrap_servers=settings.KAFKA_CONSUMER_BOOTSTRAP_SERVERS,
        auto_offset_reset=settings.KAFKA_CONSUMER_AUTO_OFFSET_RESET,
        session_timeout_ms=settings.KAFKA_CONSUMER_SESSION_TIMEOUT_MS,
        group_protocol=settings.AGENT_KAFKA_GROUP_PROTOCOL,
        ca_file=settings.AGENT_KAFKA_CA_FILE,
        agent_name=socket.gethostname(),
        reads_traceparent=settings.AGENT_TRACES != "off",
    )


class CredentialsUnavailableError(AgentError):
    """Port's API gave no Kafka credentials; the text says why."""


async def fetch_kafka_credentials(client: RunsClient) -> KafkaCredentials:
    """The organisation's brokers and user. Raises `CredentialsUnavailableError`."""
    answer = await client.kafka_credentials()
    match answer:
        case GivenCredentials(brokers, username, password):
            return KafkaCredentials(brokers, username, password)
        case NotProvisioned():
            reason = "Port has no Kafka topic for this organisation; its support provides one"
        case Refused(status_code, message):
            reason = f"Port refused to give Kafka credentials: {status_code}: {message}"
        case Undelivered(why):
            reason = f"Port gave no Kafka credentials: {why}"
    raise CredentialsUnavailableError(reason)
