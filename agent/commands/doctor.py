"""``action-agent doctor``: tries for real what the agent needs, and says what to do about each thing that fails."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass

from agent.clock import SystemClock
from agent.composition import (
    CredentialsUnavailableError,
    Silent,
    collector_secrets,
    fetch_kafka_credentials,
    kafka_settings,
    open_rules,
    open_runs_client,
    open_tracing,
)
from agent.domain.errors import ConfigurationError
from agent.domain.events import ApiRetried, Event, TokenRefreshed
from agent.domain.redaction import Redactor
from agent.domain.settlement import Refused, Undelivered
from agent.kafka.config import KafkaCredentials
from agent.kafka.probe import probe
from agent.ports import Observer
from agent.runs_api.client import Identity, RunsClient
from agent.settings import Settings
from agent.threads import in_thread

_API_TIMEOUT_S = 15.0
_CREDENTIALS_TIMEOUT_S = 30.0
_KAFKA_TIMEOUT_S = 15.0
_KAFKA_QUESTIONS = 3
"""Each may take so long; see `probe`."""
_COLLECTOR_TIMEOUT_S = 15.0
_CLOSE_S = 1.0
_MAX_SKEW_S = 60.0
_NAMED_AFTER = {
    False: "topics and group are named after PORT_ORG_ID: mend it",
    True: "what is kept of runs is named after PORT_ORG_ID: mend it",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. ``problem`` is empty if it went well; ``warning`` does not fail the whole."""

    name: str
    detail: str = ""
    problem: str = ""
    hint: str = ""
    warning: bool = False

    def __str__(self) -> str:
        """A line for people, and one for the hint."""
        mark = "ok" if not self.problem else "WARN" if self.warning else "FAIL"
        line = f"{mark:<5} {self.name}: {self.problem or self.detail}"
        return line + (f"\n      -> {self.hint}" if self.problem and self.hint else "")


@dataclass(frozen=True, slots=True)
class Trying:
    """Something that may take long is about to be tried, for ``limit_s`` at the most."""

    what: str
    limit_s: float

    def __str__(self) -> str:
        """A line that stands for itself, also where nobody watches it come."""
        return f"      trying {self.what}, for up to {self.limit_s:.0f} s …"


class _FirstTrouble:
    """An observer that says at once what is wrong with Port's API: it is tried again until the time is up."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._said = False
        self._of_the_token = ""

    def notify(self, event: Event) -> None:
        match event:
            case TokenRefreshed("error", detail):
                self._of_the_token = detail
            case ApiRetried(detail=detail) if not self._said:
                self._said = True
                self._write(f"      {self._of_the_token or detail}; trying again …")
            case _:
                pass


async def doctor(settings: Settings, environment: Mapping[str, str], write: Callable[[str], None]) -> int:
    """Prints each finding as it comes, and before what may take long what that is. 0 if nothing failed, else 1.

    ``write`` shows a whole line at once.
    """
    redactor = Redactor((*settings.secrets, *collector_secrets(settings, environment)))

    def masked(line: str) -> None:
        write(redactor.mask_text(line))

    failures = 0
    async for step in _steps(settings, environment, _FirstTrouble(masked)):
        masked(str(step))
        failures += isinstance(step, Finding) and bool(step.problem) and not step.warning
    write("all is well" if not failures else f"{failures} check{'s' if failures > 1 else ''} failed")
    return int(failures > 0)


def run_doctor(settings: Settings, environment: Mapping[str, str], write: Callable[[str], None]) -> int:
    """`doctor`, with an event loop of its own."""
    return asyncio.run(doctor(settings, environment, write))


async def _steps(
    settings: Settings, environment: Mapping[str, str], observer: Observer
) -> AsyncIterator[Finding | Trying]:
    clock = SystemClock()
    for finding in _origins(settings):
        yield finding
    yield await _routes(settings, environment)
    yield _state_dir(settings)
    if not settings.polls:
        yield _group(settings)
    async for step in _collector(settings, environment):
        yield step
    try:
        client = open_runs_client(settings, environment, observer, clock)
    except ConfigurationError as error:
        yield Finding("Port's API", problem=str(error))
        return
    try:
        reached = False
        yield Trying(f"Port's API at {settings.PORT_API_BASE_URL}", _API_TIMEOUT_S)
        async for finding in _api(settings, client, clock.epoch):
            reached = reached or not finding.problem
            yield finding
        if settings.polls:
            yield _polling(settings, reached=reached)
            return
        if not reached and kafka_settings(settings).needs_credentials:
            yield Finding("Kafka", problem="not tried: its credentials come from Port's API")
            return
        async for step in _kafka(settings, client):
            yield step
    finally:
        await client.close()


def _origins(settings: Settings) -> Iterator[Finding]:
    """Where each setting came from; a value that does not count is a common reason for wrong credentials."""
    groups = [f"{', '.join(names)} from {source}" for source, names in settings.names_by_source().items()]
    yield Finding("settings", "; ".join([*groups, "the others have their defaults"]))
    for name, origin in settings.overruled.items():
        problem = f"{settings.named(name)} is in force; what {origin} says of it does not count"
        yield Finding("settings", problem=problem, hint="give it in one place only", warning=True)


async def _routes(settings: Settings, environment: Mapping[str, str]) -> Finding:
    try:
        rules = open_rules(settings, environment, Silent(), SystemClock())
    except ConfigurationError as error:
        problems = error.problems
        return Finding("routes", problem=str(problems[0]), hint=f"`action-agent check` lists all {len(problems)}")
    count = len(rules.current.routes)
    await rules.close()
    source = settings.routes_file or "the built-in ones (AGENT_ROUTES_PATH is not set)"
    return Finding("routes", f"{count} from {source}")


def _state_dir(settings: Settings) -> Finding:
    path = settings.AGENT_STATE_DIR
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        hint = f"mount a writable volume there, or point {settings.named('AGENT_STATE_DIR')} at one"
        return Finding("state directory", problem=f"{path} cannot be written: {error.strerror}", hint=hint)
    return Finding("state directory", f"{path} is writable")


def _group(settings: Settings) -> Finding:
    group, prefix = settings.group_id, f"{settings.PORT_ORG_ID}."
    if group.startswith(prefix) or settings.KAFKA_CONSUMER_BOOTSTRAP_SERVERS:
        return Finding("consumer group", group)
    problem = f"{group!r} does not begin with {prefix!r}"
    hint = f"Port's brokers refuse other names: mend {settings.named('KAFKA_CONSUMER_GROUP_ID')}"
    return Finding("consumer group", problem=problem, hint=hint, warning=True)


async def _collector(settings: Settings, environment: Mapping[str, str]) -> AsyncIterator[Finding | Trying]:
    """Where traces are on. Without it spans are lost, and nothing else."""
    name, hint = "collector of traces", "look at the OTEL_* variables, and at HTTP_PROXY and NO_PROXY"
    said: list[str] = []
    try:
        tracing = open_tracing(settings, environment, Silent(), SystemClock(), said.append)
    except ConfigurationError as error:
        yield Finding(name, problem=str(error))
        return
    if tracing is None:
        return
    yield Trying(f"the {name}", _COLLECTOR_TIMEOUT_S)
    trial = in_thread(tracing.probe, "try the collector")
    await asyncio.wait({trial}, timeout=_COLLECTOR_TIMEOUT_S)
    if trial.done() and trial.result() and not said:
        yield Finding(name, "takes what it is sent")
    else:
        yield Finding(name, problem="; ".join(said) or "does not answer", hint=hint, warning=True)
    await asyncio.wait({in_thread(tracing.close, "let go of the collector")}, timeout=_CLOSE_S)


async def _api(settings: Settings, client: RunsClient, now_epoch_s: Callable[[], float]) -> AsyncIterator[Finding]:
    identity = await client.organization(_API_TIMEOUT_S)
    if not isinstance(identity, Identity):
        yield _api_failure(settings, identity)
        return
    yield Finding("Port's API", f"{settings.PORT_API_BASE_URL} accepts the credentials")
    found = identity.organization.organization_id
    if found != settings.PORT_ORG_ID:
        problem = (
            f"the credentials belong to {found}, but {settings.named('PORT_ORG_ID')} is {settings.PORT_ORG_ID}"
        )
        yield Finding("organisation", problem=problem, hint=_NAMED_AFTER[settings.polls])
    else:
        yield Finding("organisation", found)
    if identity.server_epoch_s is not None:
        skew_s = now_epoch_s() - identity.server_epoch_s
        if abs(skew_s) > _MAX_SKEW_S:
            problem = f"this machine is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} Port"
            yield Finding("clock", problem=problem, hint="signatures and tokens need NTP", warning=True)
        else:
            yield Finding("clock", f"within {abs(skew_s):.0f} s of Port's")


def _api_failure(settings: Settings, answer: Refused | Undelivered) -> Finding:
    if isinstance(answer, Refused):
        credentials = f"{settings.named('PORT_CLIENT_ID')} and {settings.named('PORT_CLIENT_SECRET')}"
        region = "EU and US have different APIs: https://api.port.io and https://api.us.port.io"
        hint = f"check {credentials}; {settings.named('PORT_API_BASE_URL')}: {region}"
        problem = f"{settings.PORT_API_BASE_URL} answered {answer.status_code}: {answer.message}"
        return Finding("Port's API", problem=problem, hint=hint)
    problem = f"{settings.PORT_API_BASE_URL} cannot be used: {answer.reason}"
    hint = "DNS, firewall, HTTPS_PROXY? For a private CA: SSL_CERT_FILE"
    return Finding("Port's API", problem=problem, hint=hint)


def _polling(settings: Settings, *, reached: bool) -> Finding:
    """A claim would hide runs from the agents that are there for them: the doctor makes none."""
    if not reached:
        return Finding("polling", problem="not tried: it needs Port's API and nothing else")
    every_s = settings.POLLING_INTERVAL_SECONDS
    detail = f"runs will be claimed from Port's API, every {every_s:g} s while there are none; Kafka is not used"
    return Finding("polling", f"{detail}. Whether they may be is not tried: a claim would take runs from others")


async def _kafka(settings: Settings, client: RunsClient) -> AsyncIterator[Finding | Trying]:
    kafka = kafka_settings(settings)
    credentials: KafkaCredentials | None = None
    if kafka.needs_credentials:
        yield Trying("to get Kafka credentials from Port's API", _CREDENTIALS_TIMEOUT_S)
        try:
            credentials = await fetch_kafka_credentials(client)
        except CredentialsUnavailableError as error:
            yield Finding("Kafka credentials", problem=str(error))
            return
        yield Finding("Kafka credentials", f"user {credentials.username}, {len(credentials.brokers)} brokers")
    brokers = kafka.bootstrap_servers or ", ".join(credentials.brokers if credentials else ())
    yield Trying(f"Kafka at {brokers}", _KAFKA_QUESTIONS * _KAFKA_TIMEOUT_S)
    found = await asyncio.to_thread(probe, kafka, credentials, _KAFKA_TIMEOUT_S)
    if found.problem is not None:
        yield Finding("Kafka", problem=found.problem, hint=found.hint)
        return
    yield Finding(
        "Kafka", f"{found.brokers} broker{'s' if found.brokers != 1 else ''} over {kafka.security_protocol}"
    )
    yield Finding("group protocol", kafka.group_protocol)
    for topic, count in found.partitions.items():
        yield Finding(
            "topic", f"{topic} with {count} partition{'s' if count != 1 else ''}: the most useful replicas"
        )
    for topic in found.missing:
        hint = "Port's support provides the topics; is PORT_ORG_ID right?"
        optional = topic != kafka.runs_topic
        yield Finding("topic", problem=f"{topic} is not there, or may not be read", hint=hint, warning=optional)
