"""Builds the agent: the only room that names concrete classes, and where settings become objects."""

from agent.composition.agent import LAST_TASKS_S, Agent
from agent.composition.clients import (
    CredentialsUnavailableError,
    fetch_kafka_credentials,
    kafka_settings,
    open_runs_client,
)
from agent.composition.listeners import Silent
from agent.composition.rules import Rules, open_intake, open_registry, open_rules, others_rule
from agent.composition.tracing import collector_secrets, is_silenced, open_tracing

__all__ = [
    "LAST_TASKS_S",
    "Agent",
    "CredentialsUnavailableError",
    "Rules",
    "Silent",
    "collector_secrets",
    "fetch_kafka_credentials",
    "is_silenced",
    "kafka_settings",
    "open_intake",
    "open_registry",
    "open_rules",
    "open_runs_client",
    "open_tracing",
    "others_rule",
]
