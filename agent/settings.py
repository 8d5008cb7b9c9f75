"""The settings: environment variables, a ``.env`` file, or mounted files; the only reader of the environment.

Names that the official agent has keep its spelling and meaning; ours begin with ``AGENT_``. Any setting may
come as ``NAME_FILE`` instead: the path of a file that holds the value (a mounted secret).
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent.domain.errors import AgentError, ConfigurationError, Problem
from agent.domain.timeline import Timeline

SDK_SWITCH = "OTEL_SDK_DISABLED"
_DEFAULT_API = "https://api.port.io"
_LEAST_QUARANTINE_BYTES = 64 * 1024
_SASL = ("sasl_ssl", "sasl_plaintext")


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.strip().upper() if isinstance(value, str) else value


def _http_url(value: str) -> str:
    """Never quotes the value: a password may stand in it."""
    if not _is_http_url(value):
        raise ValueError(f"must be an http(s) URL such as {_DEFAULT_API}")
    if "@" in urlsplit(value).netloc:
        raise ValueError("must not hold a user or password: it is shown in logs and on the status page")
    return value.strip().rstrip("/")


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # also of a port beyond 65535
        return False


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value.strip()


def _log_level(value: str) -> str:
    return {"WARN": "WARNING", "FATAL": "CRITICAL", "NOTSET": "DEBUG"}.get(value, value)


def _quarantine_bytes(value: int) -> int:
    if value != 0 and value < _LEAST_QUARANTINE_BYTES:
        raise ValueError(f"must be 0, or {_LEAST_QUARANTINE_BYTES} or more")
    return value


def _optional(value: Any) -> Any:
    """An empty variable means: not set (Compose files and charts write them so)."""
    return None if isinstance(value, str) and not value.strip() else value


Text = Annotated[str, AfterValidator(_not_blank)]
OptionalPath = Annotated[Path | None, BeforeValidator(_optional)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(lambda v: _log_level(_upper(v)))
]
OffsetReset = Literal["earliest", "smallest", "beginning", "latest", "largest", "end", "error"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was given: the environment, or a file, with its line where it has several."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        """As compilers say it: ``.env:3``."""
        return self.source if self.line is None else f"{self.source}:{self.line}"


_ENVIRONMENT = Origin("the environment")


@dataclass(frozen=True, slots=True)
class Given:
    """Who gave what: by variable, where it stands in each of the three places; what is empty there gives nothing.

    The environment counts most, then files that ``NAME_FILE`` names, then the ``.env`` file.
    """

    environment: Mapping[str, Origin] = field(default_factory=dict)
    files: Mapping[str, Origin] = field(default_factory=dict)
    env_file: Mapping[str, Origin] = field(default_factory=dict)

    @property
    def origins(self) -> Mapping[str, Origin]:
        """The place that counts, of each that is given."""
        return {**self.env_file, **self.files, **self.environment}

    @property
    def overruled(self) -> Mapping[str, Origin]:
        """Of those that are given more than once, the highest place that does not count."""
        origins = self.origins
        return {n: o for place in (self.env_file, self.files) for n, o in place.items() if o != origins[n]}

    def file_of(self, name: str) -> Path | None:
        """The file that counts; ``None`` where another place does, or none."""
        origin = self.files.get(name)
        return None if origin is None or origin != self.origins[name] else Path(origin.source)


class Settings(BaseSettings):
    """Every setting, with its default; immutable. `load` reads them."""

    model_config = SettingsConfigDict(case_sensitive=True, extra="ignore", frozen=True, env_ignore_empty=True)

    # ── Port ─────────────────────────────────────────────────────────────────────────────────────────
    PORT_ORG_ID: Text = Field(description="The organisation's id, such as org_BneDtWovPqXaA2VZ.")
    PORT_CLIENT_ID: Text = Field(description="Client id of the organisation's API credentials.")
    PORT_CLIENT_SECRET: SecretStr = Field(
        min_length=1, description="Client secret; also verifies and decrypts messages."
    )
    PORT_API_BASE_URL: Annotated[str, AfterValidator(_http_url)] = Field(
        _DEFAULT_API, description="Port's API: https://api.port.io (EU) or https://api.us.port.io (US)."
    )
    STREAMER_NAME: Annotated[Literal["KAFKA", "POLLING"], BeforeValidator(_upper)] = Field(
        "KAFKA",
        description="Where messages come from: KAFKA, or POLLING, which asks Port's API, see docs/polling.md.",
    )

    # ── Kafka ────────────────────────────────────────────────────────────────────────────────────────
    KAFKA_CONSUMER_GROUP_ID: str = Field(
        "",
        description="Port allows {PORT_ORG_ID}.<any name>. Empty: {PORT_ORG_ID}.action-agent.",
    )
    KAFKA_CONSUMER_BOOTSTRAP_SERVERS: str = Field(
        "", description="Brokers to use as they are. Empty: those that Port's API gives out with the credentials."
    )
    KAFKA_CONSUMER_SECURITY_PROTOCOL: Annotated[
        Literal["", "plaintext", "ssl", "sasl_plaintext", "sasl_ssl"], BeforeValidator(_lower)
    ] = Field("", description="Empty: sasl_ssl, or plaintext where brokers are set by hand.")
    KAFKA_CONSUMER_AUTHENTICATION_MECHANISM: Annotated[
        Literal["", "NONE", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], BeforeValidator(_upper)
    ] = Field("", description="Empty: SCRAM-SHA-512, or none where brokers are set by hand.")
    KAFKA_CONSUMER_SESSION_TIMEOUT_MS: Annotated[int, Field(ge=6000, le=1_800_000)] = Field(
        45_000,
        description="After this silence the group gives our partitions to others (classic only). Milliseconds.",
    )
    KAFKA_CONSUMER_AUTO_OFFSET_RESET: Annotated[OffsetReset, BeforeValidator(_lower)] = Field(
        "earliest",
        description="Where a new group begins; with latest it misses all that was triggered before it joined.",
    )
    AGENT_KAFKA_GROUP_PROTOCOL: Annotated[Literal["classic", "consumer"], BeforeValidator(_lower)] = Field(
        "classic", description="classic, or consumer: Kafka's newer group protocol (KIP-848), from Kafka 4.0 on."
    )
    KAFKA_RUNS_TOPIC: str = Field("", description="Empty: {PORT_ORG_ID}.runs.")
    KAFKA_CHANGE_LOG_TOPIC: str = Field("", description="Empty: {PORT_ORG_ID}.change.log.")
    AGENT_KAFKA_CA_FILE: OptionalPath = Field(None, description="PEM file of CAs to trust for the brokers.")
    USING_LOCAL_PORT_INSTANCE: bool = Field(
        False,
        description="Accepted from the official agent, without effect: KAFKA_CONSUMER_BOOTSTRAP_SERVERS is used "
        "wherever it is set.",
    )

    # ── polling ──────────────────────────────────────────────────────────────────────────────────────
    POLLING_INTERVAL_SECONDS: Seconds = Field(
        10.0, description="From one question for pending runs to the next, while there are none. Seconds."
    )
    POLLING_RUNS_BATCH_SIZE: Annotated[int, Field(ge=1)] = Field(
        100, description="How many runs one claim takes at most; never more than may be begun soon."
    )
    POLLING_INITIAL_BACKOFF_SECONDS: Seconds = Field(
        1.0, description="How long is waited after a first failed claim. Seconds."
    )
    POLLING_BACKOFF_FACTOR: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        2.0, description="So many times as long after each further one."
    )
    POLLING_MAX_BACKOFF_SECONDS: Seconds = Field(300.0, description="But never longer than this. Seconds.")
    POLLING_BACKOFF_JITTER_FACTOR: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="Up to this share of a wait is added to it by lot."
    )
    POLLING_MAX_FAILURE_DURATION_SECONDS: Seconds = Field(
        3600.0,
        description="Once no claim has succeeded for so long, and no run executes, the agent exits to be started "
        "anew. 0: never. Seconds.",
    )

    # ── what runs ────────────────────────────────────────────────────────────────────────────────────
    AGENT_ROUTES_PATH: OptionalPath = Field(
        None,
        description="The routes file, YAML or JSON. Empty: messages for agents are forwarded to the URL that they "
        "name, and GITLAB actions trigger their pipeline.",
    )
    AGENT_PYTHONPATH: str = Field("", description="Directories with Python actions, separated by colons.")
    AGENT_STATE_DIR: Path = Field(
        Path(tempfile.gettempdir()) / "action-agent",
        description="A writable directory: workspaces, outcomes that Port has not accepted yet, quarantine.",
    )
    AGENT_MAX_CONCURRENT_RUNS: Count = Field(50, description="How many runs execute at once.")
    AGENT_MAX_WAITING_RUNS: Count = Field(
        12_000, description="How many runs wait in memory before the partitions are paused."
    )
    AGENT_RUN_TIMEOUT_S: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        3600.0, description="How long a run may take where its route says nothing else. Seconds."
    )
    AGENT_CLOSE_CHECK_S: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        15.0,
        description="How often Port is asked for runs that were closed there; they are stopped. 0: never. Seconds.",
    )
    AGENT_UNROUTED: Annotated[Literal["", "fail", "ignore"], BeforeValidator(_lower)] = Field(
        "",
        description="Messages for agents that no route takes: fail their runs, or ignore them where agents share a "
        "topic. Empty: fail; with a mapping file action runs are ignored, as by the official agent.",
    )
    AGENT_JQ_TIMEOUT_S: Annotated[float, Field(gt=0, le=60)] = Field(
        1.0,
        description="Time limit of all jq expressions of one message together; the rest then fails. Seconds.",
    )
    AGENT_HTTP_ALLOW_LINK_LOCAL: bool = Field(
        False, description="Whether HTTP routes may call link-local and cloud metadata addresses."
    )
    AGENT_HTTP_BREAKER_FAILURES: Annotated[int, Field(ge=0)] = Field(
        10,
        description="After so many requests in a row without any answer an HTTP target is left alone for a while, "
        "and its runs fail at once. 0: never.",
    )
    WEBHOOK_INVOKER_TIMEOUT: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        30.0, description="Time limit of one forwarded request where its route says nothing else. Seconds."
    )
    WEBHOOK_VERIFY_SSL: bool = Field(True, description="Whether certificates of HTTP targets are verified.")
    CONTROL_THE_PAYLOAD_CONFIG_PATH: OptionalPath = Field(
        None,
        description="The official agent's mapping file, in its own language; in place of AGENT_ROUTES_PATH.",
    )

    # ── what is let in ───────────────────────────────────────────────────────────────────────────────
    AGENT_SIGNATURES: Annotated[Literal["auto", "required", "off"], BeforeValidator(_lower)] = Field(
        "auto", description="auto: messages for agents must be signed; required: all must; off: none is looked at."
    )
    AGENT_SIGNATURE_MAX_AGE_S: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_optional)] = Field(
        None,
        description="Refuse messages that were signed longer ago. Empty: any age (a backlog may be old). Seconds.",
    )
    AGENT_RUN_ID_PATH: str = Field(
        "", description="jq path of the run id in messages that keep it in a place of their own."
    )
    AGENT_MAX_MESSAGE_BYTES: Count = Field(
        4 * 1024 * 1024, description="Larger messages are not executed: their runs end as FAILURE. Bytes."
    )

    # ── reporting ────────────────────────────────────────────────────────────────────────────────────
    AGENT_LOG_BATCH_BYTES: Annotated[int, Field(ge=256, le=512 * 1024)] = Field(
        12 * 1024, description="Run output is sent in requests of about this size. Bytes."
    )
    AGENT_LOG_MAX_BYTES: Annotated[int, Field(ge=1024)] = Field(
        1024 * 1024, description="How much of one run's output is kept; of the rest, the end. Bytes."
    )

    AGENT_MAX_PENDING_REPORTS: Count = Field(
        1_000, description="While so many runs have ended that Port could not be told of, no more are begun."
    )

    # ── shutdown ─────────────────────────────────────────────────────────────────────────────────────
    AGENT_ON_SHUTDOWN: Annotated[Literal["fail", "redeliver"], BeforeValidator(_lower)] = Field(
        "fail",
        description="Runs that a stop cuts short: fail them, or leave them to be begun anew by the next agent.",
    )
    AGENT_DRAIN_TIMEOUT_S: Seconds = Field(30.0, description="After SIGTERM runs may go on for so long. Seconds.")
    AGENT_KILL_GRACE_S: Seconds = Field(
        10.0, description="Between asking a process to end and killing it. Seconds."
    )
    AGENT_REPORT_TIMEOUT_S: Seconds = Field(
        20.0, description="At shutdown, the time for the last reports. Seconds."
    )

    AGENT_TERMINATION_GRACE_S: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_optional)] = Field(
        None,
        description="The pod's grace period: no start where a stop could take longer. Empty: unknown. Seconds.",
    )

    # ── operation ────────────────────────────────────────────────────────────────────────────────────
    AGENT_HTTP_HOST: Text = Field(
        "::", description="Address of metrics, probes and the status page. `::` is every one, of IPv6 and of IPv4."
    )
    AGENT_HTTP_PORT: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080,
        description="Its port; 0 takes a free one and logs it, as happens where it is not set and 8080 is taken.",
    )
    AGENT_QUARANTINE_MAX_BYTES: Annotated[int, AfterValidator(_quarantine_bytes)] = Field(
        16 * 1024 * 1024,
        description="How much is kept of messages that could not be acted on, in quarantine.jsonl under "
        "AGENT_STATE_DIR. 0 keeps none. Bytes.",
    )
    AGENT_STALL_TIMEOUT_S: Annotated[float, Field(ge=10, allow_inf_nan=False)] = Field(
        120.0,
        description="/livez fails once the event loop, the consumer, or a partition with work stands still for so "
        "long; never because Kafka or Port is away. At least 10. Seconds.",
    )
    AGENT_TRACES: Annotated[Literal["off", "otlp"], BeforeValidator(_lower)] = Field(
        "off",
        description="off, or otlp: traces of runs are sent over OTLP/HTTP, as the OTEL_* variables say; needs the "
        "extra otel, see docs/traces.md.",
    )
    LOG_LEVEL: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    AGENT_LOG_FORMAT: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = Field(
        "json", description="json, or console for people."
    )
    DETAILED_LOGGING: bool = Field(
        True,
        description="False: what an HTTP target answers when it refuses is not quoted in the run's summary. "
        "Messages and bodies are never logged, whatever it says.",
    )
    SSL_CERT_FILE: OptionalPath = Field(
        None, description="PEM file of CAs to trust in addition, for Port's API and HTTP targets."
    )
    REQUESTS_CA_BUNDLE: OptionalPath = Field(None, description="The same; SSL_CERT_FILE wins.")
    CURL_CA_BUNDLE: OptionalPath = Field(None, description="The same; the other two win.")

    _given: Given = PrivateAttr(default_factory=Given)
    _left_behind: frozenset[str] = PrivateAttr(default_factory=frozenset)

    def file_of(self, name: str) -> Path | None:
        """The mounted file that this setting was read from; ``None`` where its value was given itself."""
        return self._given.file_of(name)

    def is_given(self, name: str) -> bool:
        """Whether somebody has said it, be it the default."""
        return name in self._given.origins

    def named(self, name: str) -> str:
        """The setting's name, and where its value came from, for people: ``LOG_LEVEL (.env:3)``."""
        return f"{name} ({self._given.origins.get(name, 'default')})"

    def placed(self, problem: Problem) -> Problem:
        """The same, with the file first where its setting stands in one."""
        return _placed(problem, self._given.origins)

    def names_by_source(self) -> Mapping[str, tuple[str, ...]]:
        """The settings that are not left at their defaults, by the file, or the environment, that says them."""
        names: dict[str, tuple[str, ...]] = {}
        origins = self._given.origins
        for name in type(self).model_fields:
            if origin := origins.get(name):
                names[origin.source] = (*names.get(origin.source, ()), name)
        return names

    @property
    def overruled(self) -> Mapping[str, Origin]:
        """Settings that were given twice: where the value stands that does not count."""
        return {n: origin for n, origin in self._given.overruled.items() if n in type(self).model_fields}

    @property
    def polls(self) -> bool:
        """Whether runs are claimed from Port's API, and Kafka is not used."""
        return self.STREAMER_NAME == "POLLING"

    @property
    def group_id(self) -> str:
        """The consumer group, with its default."""
        return self.KAFKA_CONSUMER_GROUP_ID or f"{self.PORT_ORG_ID}.action-agent"

    @property
    def runs_topic(self) -> str:
        """The topic of runs, with its default."""
        return self.KAFKA_RUNS_TOPIC or f"{self.PORT_ORG_ID}.runs"

    @property
    def change_log_topic(self) -> str:
        """The topic of catalogue changes, with its default."""
        return self.KAFKA_CHANGE_LOG_TOPIC or f"{self.PORT_ORG_ID}.change.log"

    @property
    def security_protocol(self) -> str:
        """The protocol, in the client library's word."""
        return self.KAFKA_CONSUMER_SECURITY_PROTOCOL or (
            "plaintext" if self.KAFKA_CONSUMER_BOOTSTRAP_SERVERS else "sasl_ssl"
        )

    @property
    def sasl_mechanism(self) -> str:
        """The mechanism, in the client library's word, whether it is used or not."""
        given = self.KAFKA_CONSUMER_AUTHENTICATION_MECHANISM
        return "SCRAM-SHA-512" if given in {"", "NONE"} else given

    @property
    def ca_file(self) -> Path | None:
        """CAs to trust in addition."""
        return self.SSL_CERT_FILE or self.REQUESTS_CA_BUNDLE or self.CURL_CA_BUNDLE

    @property
    def without_effect(self) -> Mapping[str, str]:
        """Settings of the official agent that are given and mean nothing here, each with the reason."""
        reasons = {}
        if "USING_LOCAL_PORT_INSTANCE" in self.model_fields_set:
            used = (
                "Kafka is not used" if self.polls else "KAFKA_CONSUMER_BOOTSTRAP_SERVERS is used wherever it is set"
            )
            reasons["USING_LOCAL_PORT_INSTANCE"] = used
        if "DETAILED_LOGGING" in self.model_fields_set and self.DETAILED_LOGGING:
            reasons["DETAILED_LOGGING"] = "messages and bodies are never logged"
        for name in sorted(self._left_behind):
            reasons[name] = "the official agent's bundle, which is not here; the system's own roots are trusted"
        idle = "KAFKA_" if self.polls else "POLLING_"
        for name in sorted(given for given in self.model_fields_set if given.startswith(idle)):
            reasons.setdefault(name, f"STREAMER_NAME is {self.STREAMER_NAME}")
        return reasons

    @property
    def routes_file(self) -> Path | None:
        """The file that says what becomes of messages: routes, or a mapping file; ``None``: the built-in routes."""
        return self.AGENT_ROUTES_PATH or self.mapping_file

    @property
    def mapping_file(self) -> Path | None:
        """The mapping file, where it is the one that says what becomes of messages."""
        return None if self.AGENT_ROUTES_PATH else self.CONTROL_THE_PAYLOAD_CONFIG_PATH

    @property
    def timeline(self) -> Timeline:
        """How the agent ends."""
        return Timeline(self.AGENT_DRAIN_TIMEOUT_S, self.AGENT_KILL_GRACE_S, self.AGENT_REPORT_TIMEOUT_S)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return (self.PORT_CLIENT_SECRET.get_secret_value(),)


def load(env_file: Path = Path(".env"), *, needs_credentials: bool = True) -> Settings:
    """The settings of this process: the environment first, then files that it names, then ``env_file``.

    Raises `ConfigurationError` naming every setting that is missing or wrong, and the file that says it. Without
    ``needs_credentials`` those of the organisation may be missing; they are empty then.
    """
    written, problems = _read_env_file(env_file)
    from_files, file_problems = _read_named_files({**written, **os.environ})
    problems += file_problems
    in_environment = {name: text for name, text in os.environ.items() if text}
    in_files = {name: found.text for name, found in from_files.items() if found.text}
    given = Given(
        environment=dict.fromkeys(in_environment, _ENVIRONMENT),
        files={name: Origin(str(from_files[name].path)) for name in in_files},
        env_file=_lines_of(env_file, written),
    )
    texts = {**written, **in_files, **in_environment}
    told = {name: texts[name] for name in given.origins if name in Settings.model_fields}
    left_behind = frozenset(name for name in _CA_BUNDLES if name in told and _is_left_behind(told[name]))
    told |= dict.fromkeys(left_behind, "")
    unread = {problem.where.removesuffix("_FILE") for problem in file_problems}
    absent = {n: v for n, v in _NO_ORGANISATION.items() if not (needs_credentials or n in told or n in unread)}
    try:
        settings = Settings(**{**dict.fromkeys(absent, "absent"), **told})  # type: ignore[arg-type]  # texts, which it parses
    except ValidationError as error:
        empty = {name: found.path for name, found in from_files.items() if not found.text}
        problems += (p for e in error.errors() if (p := _problem(e, empty)).where not in unread)
        raise ConfigurationError(*(_placed(p, given.origins) for p in problems)) from None
    problems += _contradictions(settings)
    if settings.AGENT_TRACES != "off" and not sdk_is_disabled(os.environ):
        problems += _trace_problems(written)
    if problems:
        raise ConfigurationError(*(_placed(p, given.origins) for p in problems))
    settings = settings.model_copy(update=absent)
    settings._given, settings._left_behind = given, left_behind  # noqa: SLF001 - ours
    return settings


_CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_THEIR_CA_DIR = "/tmp/port-agent/ca-certificates"  # noqa: S108 - nothing is written there
"""Where the official agent's start script puts the bundle that it makes, of what its image and mounts hold."""


def _is_left_behind(path: str) -> bool:
    """Whether it names what the official agent's start script makes, and nobody else: a copied environment does."""
    return Path(path).is_relative_to(_THEIR_CA_DIR) and not Path(path).exists()


def _placed(problem: Problem, origins: Mapping[str, Origin]) -> Problem:
    origin = origins.get(problem.where, _ENVIRONMENT)
    return problem if origin == _ENVIRONMENT else replace(problem, where=str(origin), path=problem.where)


def _lines_of(env_file: Path, written: Mapping[str, str]) -> dict[str, Origin]:
    """By the name of each variable that says anything, the line that counts: its last one."""
    origins: dict[str, Origin] = {}
    if not written:
        return origins
    for found in parse_stream(StringIO(env_file.read_text(encoding="utf-8"))):
        if found.key is not None and written.get(found.key):
            text = found.original.string  # with the blank lines before it
            line = found.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            origins[found.key] = Origin(str(env_file), line)
    return origins


def misspelt(given: Mapping[str, str]) -> list[Problem]:
    """Variables that look like a setting of ours and are none: what they were meant to say is not in force.

    Others that begin with ``AGENT_`` are none of our business: Kubernetes makes some for services of that name.
    """
    known = [*Settings.model_fields, *(f"{name}_FILE" for name in Settings.model_fields)]
    return [
        Problem(name, "is not a setting and has no effect", hint=f"did you mean {near[0]}?")
        for name in sorted(given)
        if name.startswith(("AGENT_", "PORT_", "KAFKA_", "POLLING_")) and name not in known
        if (near := get_close_matches(name, known, n=1, cutoff=0.85))
    ]


def _read_env_file(path: Path) -> tuple[dict[str, str], list[Problem]]:
    """What stands in a ``.env`` file; one that is not there is empty."""
    try:
        return {n: v for n, v in dotenv_values(path, encoding="utf-8").items() if v is not None}, []
    except UnicodeDecodeError:
        return {}, [Problem(str(path), "is not UTF-8 text")]
    except OSError as error:
        return {}, [Problem(str(path), f"cannot be read: {error.strerror}")]


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    text: str


def _read_named_files(given: Mapping[str, str]) -> tuple[dict[str, _Found], list[Problem]]:
    """The settings that come as ``NAME_FILE``."""
    values: dict[str, _Found] = {}
    problems: list[Problem] = []
    for name in Settings.model_fields:
        path = given.get(f"{name}_FILE")
        if not path:
            continue
        try:
            values[name] = _Found(Path(path), read_value(Path(path)))
        except UnreadableFileError as error:
            problems.append(Problem(f"{name}_FILE", str(error)))
    return values, problems


class UnreadableFileError(AgentError):
    """A mounted file gives no value; the text names it and says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}")


def read_value(path: Path) -> str:
    """The value of a setting in a mounted file; trailing newlines do not count. Raises `UnreadableFileError`."""
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UnreadableFileError(path, "it is not UTF-8 text") from None
    except OSError as error:
        raise UnreadableFileError(path, error.strerror or "") from error


_NO_ORGANISATION: Mapping[str, Any] = {
    "PORT_ORG_ID": "",
    "PORT_CLIENT_ID": "",
    "PORT_CLIENT_SECRET": SecretStr(""),
}


def defaults(given: Mapping[str, str] | None = None) -> Settings:
    """Settings without an organisation: for looking at routes where there are no credentials, as in a CI job.

    Of what is ``given`` only what routes depend on counts.
    """
    given = given or {}
    return Settings.model_construct(
        **_NO_ORGANISATION,
        AGENT_ROUTES_PATH=_optional_path(given.get("AGENT_ROUTES_PATH")),
        CONTROL_THE_PAYLOAD_CONFIG_PATH=_optional_path(given.get("CONTROL_THE_PAYLOAD_CONFIG_PATH")),
        AGENT_PYTHONPATH=given.get("AGENT_PYTHONPATH", ""),
    )


def _optional_path(text: str | None) -> Path | None:
    return Path(text) if text else None


def environment(env_file: Path = Path(".env")) -> Mapping[str, str]:
    """The process's environment, and below it what stands in ``env_file``: routes pick variables from it by name.

    A copy: nothing of the file gets into the process's own environment, which libraries and children see. A file
    that cannot be read adds nothing; `load` says so.
    """
    written, _ = _read_env_file(env_file)
    return {**written, **os.environ}


def _contradictions(settings: Settings) -> list[Problem]:
    problems = []
    if settings.CONTROL_THE_PAYLOAD_CONFIG_PATH is not None and settings.AGENT_ROUTES_PATH is not None:
        problems.append(
            Problem(
                "CONTROL_THE_PAYLOAD_CONFIG_PATH",
                "is set, and AGENT_ROUTES_PATH as well: only one of them can say what becomes of a message",
                hint="unset one; `action-agent migrate` writes the mapping file's routes",
            )
        )
    if (
        not settings.polls
        and settings.security_protocol in _SASL
        and settings.KAFKA_CONSUMER_AUTHENTICATION_MECHANISM == "NONE"
    ):
        problems.append(
            Problem(
                "KAFKA_CONSUMER_AUTHENTICATION_MECHANISM",
                f"is none, but KAFKA_CONSUMER_SECURITY_PROTOCOL is {settings.security_protocol}",
                hint="Port's brokers want SCRAM-SHA-512; leave both empty for that",
            )
        )
    grace_s = settings.AGENT_TERMINATION_GRACE_S
    if grace_s is not None and grace_s < settings.timeline.grace_s:
        problems.append(
            Problem(
                "AGENT_TERMINATION_GRACE_S",
                f"is {grace_s:g}, but a stop can take {settings.timeline.total_s:g} s, and one second is to spare",
                hint="lengthen the pod's terminationGracePeriodSeconds, or shorten AGENT_DRAIN_TIMEOUT_S, "
                "AGENT_KILL_GRACE_S or AGENT_REPORT_TIMEOUT_S",
            )
        )
    for name in ("AGENT_KAFKA_CA_FILE", *_CA_BUNDLES):
        path = getattr(settings, name)
        if path is None:
            continue
        if not path.is_file():
            problems.append(Problem(name, f"{path} is not a file", hint=_MOUNTED))
            continue
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (ssl.SSLError, OSError) as error:
            problems.append(Problem(name, f"{path} holds no certificates in PEM form ({error})"))
    return problems


def sdk_is_disabled(given: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's own switch turns traces off, whatever AGENT_TRACES says."""
    return given.get(SDK_SWITCH, "").strip().lower() == "true"


def _trace_problems(written: Mapping[str, str]) -> list[Problem]:
    """The OpenTelemetry SDK looks for its variables in the environment alone."""
    problems = [
        Problem(name, "stands in the .env file, where the OpenTelemetry SDK does not look", hint=_EXPORT_IT)
        for name in sorted(written)
        if name.startswith("OTEL_") and name not in os.environ
    ]
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        protocol = os.environ.get(name, "").strip()
        if protocol:
            if protocol != _OTLP_PROTOCOL:
                hint = f"set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL={_OTLP_PROTOCOL}, and an endpoint that takes it"
                problem = f"is {protocol!r}, but traces are sent as {_OTLP_PROTOCOL} only"
                problems.append(Problem(name, problem, hint=hint))
            break  # the more special one wins
    problems += _collector_problems()
    return problems


def _collector_problems() -> list[Problem]:
    """What the SDK would find out with the first spans only. No value of an endpoint is quoted: see `_http_url`."""
    problems = [
        Problem(name, "must be an http(s) URL such as http://collector.observability.svc:4318")
        for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
        if (value := os.environ.get(name, "").strip()) and not _is_http_url(value)
    ]
    for what in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        for name in (f"OTEL_EXPORTER_OTLP_TRACES_{what}", f"OTEL_EXPORTER_OTLP_{what}"):
            path = os.environ.get(name, "").strip()
            if path and not Path(path).is_file():
                problems.append(Problem(name, f"{path} is not a file", hint=_MOUNTED))
    return problems


_MOUNTED = "is the secret or config map mounted?"
_EXPORT_IT = "set it in the process's own environment"
_OTLP_PROTOCOL = "http/protobuf"

_HINTS = {
    "PORT_ORG_ID": "in Port: … menu > Organization",
    "PORT_CLIENT_ID": "in Port: … menu > Credentials",
    "PORT_CLIENT_SECRET": "in Port: … menu > Credentials; or PORT_CLIENT_SECRET_FILE",
}


_PLAINER = {
    "float_parsing": "must be a number, in the unit that .env.example names, such as 30",
    "int_parsing": "must be a whole number",
    "bool_parsing": "must be true or false",
}


def _problem(error: Any, empty_files: Mapping[str, Path]) -> Problem:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    if error["type"] == "missing":
        why = f": {empty_files[name]} is empty" if name in empty_files else ""
        return Problem(name, f"is not set{why}", hint=_HINTS.get(name, ""))
    message = _PLAINER.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    declared = Settings.model_fields.get(name)
    is_secret = declared is not None and declared.annotation is SecretStr
    holds_password = isinstance(given, str) and "@" in given
    shown = "" if is_secret or holds_password or given is None else f" (given: {given!r})"
    return Problem(name, f"{message}{shown}", hint=_HINTS.get(name, ""))
