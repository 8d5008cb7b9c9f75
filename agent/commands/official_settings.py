"""What the settings of Port's own agent (port-labs/port-agent 0.8) mean here, one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import SecretStr, ValidationError

from agent.domain.errors import Problem
from agent.routing.environment_secrets import is_secret
from agent.settings import Settings

CREDENTIALS = ("PORT_CLIENT_ID", "PORT_CLIENT_SECRET")
MAPPING_PATH = "CONTROL_THE_PAYLOAD_CONFIG_PATH"
_PROXIES = frozenset(re.findall(r"\S+", "HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy"))
_OFFICIAL = _PROXIES | frozenset(
    re.findall(
        r"\S+",
        """
        USING_LOCAL_PORT_INSTANCE LOG_LEVEL DETAILED_LOGGING PORT_ORG_ID PORT_API_BASE_URL PORT_CLIENT_ID
        PORT_CLIENT_SECRET STREAMER_NAME KAFKA_CONSUMER_SECURITY_PROTOCOL KAFKA_CONSUMER_AUTHENTICATION_MECHANISM
        KAFKA_CONSUMER_SESSION_TIMEOUT_MS KAFKA_CONSUMER_AUTO_OFFSET_RESET KAFKA_CONSUMER_GROUP_ID
        KAFKA_CONSUMER_BOOTSTRAP_SERVERS KAFKA_CONSUMER_BROKERS KAFKA_RUNS_TOPIC KAFKA_CHANGE_LOG_TOPIC
        POLLING_INTERVAL_SECONDS POLLING_RUNS_BATCH_SIZE POLLING_MAX_BACKOFF_SECONDS
        POLLING_INITIAL_BACKOFF_SECONDS POLLING_BACKOFF_FACTOR POLLING_BACKOFF_JITTER_FACTOR
        POLLING_MAX_FAILURE_DURATION_SECONDS CONTROL_THE_PAYLOAD_CONFIG_PATH WEBHOOK_INVOKER_TIMEOUT
        WEBHOOK_VERIFY_SSL GITLAB_URL SSL_CERT_FILE REQUESTS_CA_BUNDLE
        """,
    )
)


class Verdict(StrEnum):
    """What becomes of a setting."""

    KEPT = "keeps its meaning"
    IDLE = "no longer matters"
    CHANGED = "changed"
    VARIABLE = "a variable for expressions"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the old agent: ``why`` says what is to be known of it, and never its value."""

    name: str
    verdict: Verdict
    why: str = ""

    def __str__(self) -> str:
        """One line, without the name."""
        return f"{self.verdict}: {self.why}" if self.why else str(self.verdict)


_SAID = {
    "DETAILED_LOGGING": (
        Verdict.CHANGED,
        "messages and bodies never stand in logs; false keeps a target's answer out of summaries",
    ),
    "USING_LOCAL_PORT_INSTANCE": (Verdict.IDLE, "brokers set by hand are taken as they are"),
    "KAFKA_CONSUMER_BROKERS": (
        Verdict.IDLE,
        "Port's API names the brokers; KAFKA_CONSUMER_BOOTSTRAP_SERVERS names others",
    ),
    "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": (
        Verdict.CHANGED,
        "counts by itself, without USING_LOCAL_PORT_INSTANCE; Port's API is then not asked for brokers",
    ),
    "KAFKA_CONSUMER_GROUP_ID": (Verdict.KEPT, "this agent begins where the old one stopped; never run both in it"),
    "KAFKA_CONSUMER_AUTO_OFFSET_RESET": (
        Verdict.KEPT,
        "counts for a new group alone; with largest it misses what was triggered before it joined",
    ),
    "WEBHOOK_INVOKER_TIMEOUT": (
        Verdict.KEPT,
        "what certainly never reached the target is sent again, which took one attempt before",
    ),
    "SSL_CERT_FILE": (Verdict.KEPT, "trusted in addition to the public CAs, not instead of them"),
    "REQUESTS_CA_BUNDLE": (Verdict.KEPT, "trusted in addition to the public CAs, not instead of them"),
    "PORT_CLIENT_SECRET": (
        Verdict.KEPT,
        "better mounted as a file, PORT_CLIENT_SECRET_FILE: then rotation takes no restart",
    ),
    "GITLAB_URL": (Verdict.KEPT, "with or without a slash at its end"),
}


def assessed(given: Mapping[str, str], mapping_is_written: bool) -> Iterator[Setting]:  # noqa: FBT001 - read by name
    """A verdict for each variable of the old agent, settings first; ``mapping_is_written`` as routes."""
    for name in (*filter(is_official, given), *(n for n in given if not is_official(n))):
        if name == MAPPING_PATH:
            why = "AGENT_ROUTES_PATH takes its place" if mapping_is_written else "the file is read as it is"
            yield Setting(name, Verdict.CHANGED if mapping_is_written else Verdict.KEPT, why)
        elif name in _SAID:
            yield Setting(name, *_SAID[name])
        elif not is_official(name):
            yield Setting(name, Verdict.VARIABLE)
        elif name in Settings.model_fields or name in _PROXIES:
            yield Setting(name, Verdict.KEPT)
        else:
            yield Setting(name, Verdict.IDLE, "this agent has no such setting")
    if "KAFKA_CONSUMER_GROUP_ID" not in given:
        why = (
            "is not given: here the group is then {PORT_ORG_ID}.action-agent, which begins anew; name the old "
            "agent's group to go on where it stopped"
        )
        yield Setting("KAFKA_CONSUMER_GROUP_ID", Verdict.CHANGED, why)


def is_official(name: str) -> bool:
    """Whether it is a setting of Port's own agent, and not a variable for its mapping file."""
    return name in _OFFICIAL


def is_kept(name: str) -> bool:
    """Whether the new agent reads it, and it says something there."""
    if _SAID.get(name, (Verdict.KEPT,))[0] is Verdict.IDLE:
        return False
    return name in Settings.model_fields or name in _PROXIES or name == "GITLAB_URL"


def hides(name: str, value: str) -> bool:
    """Whether the value must not be shown or written: a secret of Port's, or what looks like one of another."""
    field = Settings.model_fields.get(name)
    if field is not None:
        return field.annotation is SecretStr
    return is_secret(name, value)


def refusals(given: Mapping[str, str], where: Mapping[str, str]) -> Sequence[Problem]:
    """What the new agent would not start with, of values that the old one had; ``where`` each stands."""
    told: dict[str, Any] = {name: value for name, value in given.items() if value and is_kept(name)}
    told = {name: value for name, value in told.items() if name in Settings.model_fields}
    for name in ("PORT_ORG_ID", *CREDENTIALS):
        told.setdefault(name, "absent")  # they may come from elsewhere
    try:
        Settings(**told)
    except ValidationError as error:
        return [_refusal(one, where) for one in error.errors()]
    return []


def _refusal(error: Any, where: Mapping[str, str]) -> Problem:
    name = str(error["loc"][0])
    return Problem(where.get(name, "the environment"), f"is refused here: {error['msg']}", name)
