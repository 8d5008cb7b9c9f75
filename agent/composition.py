"""Builds the agent: the only place that names concrete classes, and the one where settings become objects."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import httpx
import structlog

from agent import __version__
from agent.clock import SystemClock
from agent.dispatch.dispatcher import Dispatcher, DispatchSettings
from agent.dispatch.life import LifeSettings, Lives
from agent.dispatch.lifecycle import Lifecycle, Stop, Timeline
from agent.dispatch.workspace import remove_tree
from agent.domain.errors import AgentError, ConfigurationError, Problem
from agent.domain.events import Event
from agent.domain.invocation import View
from agent.domain.json import Json, JsonObject
from agent.domain.redaction import Redactor, is_maskable
from agent.domain.route import Route
from agent.domain.settlement import Refused, Undelivered
from agent.executors.registry import ExecutorRegistry
from agent.intake.reader import MessageIntake
from agent.intake.signature import SignatureMode
from agent.kafka.config import KafkaCredentials, KafkaSettings
from agent.kafka.source import KafkaSource
from agent.net.client import open_client
from agent.net.proxy import ProxyRules
from agent.net.tls import TlsFileError, tls_context
from agent.observability.health import Liveness, Readiness
from agent.observability.log_observer import LogObserver
from agent.observability.metrics import Metrics
from agent.observability.observers import Observers
from agent.observability.server import HttpServer, probe
from agent.observability.status_board import StatusBoard
from agent.observability.status_page import StatusPage
from agent.ports import Clock, ExecutorServices, ExecutorSettings, Observer, Router
from agent.routing.file import RoutesReader
from agent.routing.reload import LiveRoutes
from agent.routing.route_set import RouteSet
from agent.runs_api.client import NotProvisioned, RunsClient
from agent.runs_api.details import ReportLimits
from agent.runs_api.log_buffer import LogLimits
from agent.runs_api.reporter import PortReporter
from agent.runs_api.wire import KafkaCredentials as GivenCredentials
from agent.settings import Settings, misspelt

log = structlog.get_logger(__name__)

_RELOAD_S = 2.0
_REMIND_S = 60.0
_SIGN_IN_S = 2.0
_USER_AGENT = f"port-action-agent/{__version__}"
_API_CONNECTIONS = 64


class Silent:
    """An observer that hears nothing: for commands that print what they find themselves."""

    def notify(self, event: object) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The routes in force, with all that they stand on: executors, and the engine of their expressions."""

    registry: ExecutorRegistry
    reader: RoutesReader
    routes: RouteSet | LiveRoutes

    @property
    def current(self) -> RouteSet:
        """The routes as they are now."""
        return self.routes.current if isinstance(self.routes, LiveRoutes) else self.routes

    async def close(self) -> None:
        """Frees connection pools and jq's worker."""
        await self.registry.close()
        self.reader.close()


def open_registry(
    settings: Settings, environment: Mapping[str, str], observer: Observer, clock: Clock
) -> ExecutorRegistry:
    """Every installed executor. Raises `ConfigurationError` for one that is broken."""
    executor_settings = ExecutorSettings(
        port_api_base_url=settings.PORT_API_BASE_URL,
        client_secret=settings.PORT_CLIENT_SECRET.get_secret_value(),
        kill_grace_s=settings.AGENT_KILL_GRACE_S,
        state_dir=settings.AGENT_STATE_DIR,
        python_path=tuple(filter(None, settings.AGENT_PYTHONPATH.split(os.pathsep))),
        http_timeout_s=settings.WEBHOOK_INVOKER_TIMEOUT,
        http_verify_ssl=settings.WEBHOOK_VERIFY_SSL,
        http_ca_file=settings.ca_file,
        http_allow_link_local=settings.AGENT_HTTP_ALLOW_LINK_LOCAL,
        max_concurrent_runs=settings.AGENT_MAX_CONCURRENT_RUNS,
    )
    return ExecutorRegistry.load(ExecutorServices(observer, clock, environment, executor_settings))


def open_rules(settings: Settings, environment: Mapping[str, str], observer: Observer, clock: Clock) -> Rules:
    """The routes that the settings name, or the built-in one. Raises `ConfigurationError` with every problem."""
    registry = open_registry(settings, environment, observer, clock)
    reader = RoutesReader(
        registry,
        environment,
        jq_timeout_s=settings.AGENT_JQ_TIMEOUT_S,
        default_timeout_s=settings.AGENT_RUN_TIMEOUT_S,
    )
    path = settings.AGENT_ROUTES_PATH
    try:
        routes = reader.builtin() if path is None else LiveRoutes(path, reader, observer)
    except ConfigurationError:
        reader.close()
        raise
    return Rules(registry, reader, routes)


def open_intake(settings: Settings, rules: Rules, clock: Clock, mode: SignatureMode | None = None) -> MessageIntake:
    """What reads messages; ``mode`` overrides the setting. Raises `ConfigurationError` for AGENT_RUN_ID_PATH."""
    return MessageIntake(
        settings.PORT_CLIENT_SECRET.get_secret_value(),
        clock,
        mode=mode or SignatureMode(settings.AGENT_SIGNATURES),
        max_age_s=settings.AGENT_SIGNATURE_MAX_AGE_S,
        extra_run_id=_run_id_finder(settings.AGENT_RUN_ID_PATH, rules.reader),
        max_bytes=settings.AGENT_MAX_MESSAGE_BYTES,
    )


def _run_id_finder(source: str, reader: RoutesReader) -> Callable[[Json], Json] | None:
    if not source:
        return None
    expression = reader.expressions.for_route().expression(source, "AGENT_RUN_ID_PATH")
    # A message may be a list as well; jq takes it as it is.
    return lambda document: expression.render(View(cast("JsonObject", document)))


def open_runs_client(
    settings: Settings, environment: Mapping[str, str], observer: Observer, clock: Clock
) -> RunsClient:
    """The client of Port's API. Raises `ConfigurationError` for a CA file that cannot be used."""
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
    return RunsClient(
        http,
        base_url=settings.PORT_API_BASE_URL,
        client_id=settings.PORT_CLIENT_ID,
        client_secret=settings.PORT_CLIENT_SECRET.get_secret_value,
        observer=observer,
        clock=clock,
    )


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
        ca_file=settings.AGENT_KAFKA_CA_FILE,
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


class Agent:
    """The whole agent, built and ready to `run` once."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], redactor: Redactor) -> None:
        """Reads routes and files. Raises `ConfigurationError` with every problem.

        ``redactor`` masks the agent's own log; it learns the secrets that come later.
        """
        self._redactor = redactor
        clock = SystemClock()
        self._settings = settings
        self._environment = environment
        self._listeners = _Listeners()
        observer = self._listeners
        self._rules = open_rules(settings, environment, observer, clock)
        self._timeline = Timeline(
            settings.AGENT_DRAIN_TIMEOUT_S, settings.AGENT_KILL_GRACE_S, settings.AGENT_REPORT_TIMEOUT_S
        )
        self._workspaces = settings.AGENT_STATE_DIR / "workspaces" / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._liveness = Liveness(clock)
        self._server, self._readiness = self._open_server(clock)
        self._client = client = open_runs_client(settings, environment, observer, clock)
        log_limits = LogLimits(batch_bytes=settings.AGENT_LOG_BATCH_BYTES, head_bytes=settings.AGENT_LOG_MAX_BYTES)
        self._reporter = PortReporter(client, observer, clock, ReportLimits(log=log_limits), settings.secrets)
        source = KafkaSource(kafka_settings(settings), lambda: fetch_kafka_credentials(client), observer, clock)
        intake = open_intake(settings, self._rules, clock)
        life = LifeSettings(
            workspaces=self._workspaces,
            kill_grace_s=settings.AGENT_KILL_GRACE_S,
            masked=settings.secrets,
            environment=environment,
        )
        router: Router = self._rules.routes
        self._lifecycle = Lifecycle(
            source,
            Dispatcher(
                source,
                intake,
                router,
                Lives(intake, self._reporter, observer, clock, life),
                observer,
                DispatchSettings(
                    max_concurrent_runs=settings.AGENT_MAX_CONCURRENT_RUNS,
                    max_waiting_runs=settings.AGENT_MAX_WAITING_RUNS,
                    ignore_unrouted=settings.AGENT_UNROUTED == "ignore",
                ),
            ),
            self._reporter,
            observer,
            self._timeline,
            tuple(self._services()),
        )

    async def run(self, stop: Stop) -> int:
        """Runs until ``stop`` is asked; returns the exit code.

        Raises `ConfigurationError` if the HTTP port cannot be had.
        """
        try:
            port = await self._server.start()
            log.info(
                "started",
                version=__version__,
                http=f"http://{self._settings.AGENT_HTTP_HOST}:{port}",
                port=port,
                group=self._settings.group_id,
                topics=[self._settings.runs_topic, self._settings.change_log_topic],
                routes=[route.name for route in self._routes()],
                drain_s=self._timeline.drain_s,
                kill_grace_s=self._timeline.kill_grace_s,
                report_s=self._timeline.report_s,
                stop_takes_at_most_s=self._timeline.total_s,
            )
            self._warn()
            return await self._lifecycle.run(stop)
        finally:
            await self._server.stop()
            await self._reporter.close()
            await self._rules.close()
            await asyncio.to_thread(remove_tree, self._workspaces)

    async def _kafka_credentials(self) -> KafkaCredentials:
        credentials = await fetch_kafka_credentials(self._client)
        self._redactor.add(credentials.password)
        return credentials

    def _warn(self) -> None:
        """Says at start what is no reason not to start."""
        for problem in misspelt(self._environment):
            log.warning("a variable is not a setting", variable=problem.where, hint=problem.hint)
        try:
            self._settings.AGENT_STATE_DIR.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            path = str(self._settings.AGENT_STATE_DIR)
            log.warning("the state directory cannot be used: processes will fail", path=path, error=error.strerror)
        # A secret of a few characters is part of ordinary words: masking it would only hide the log.
        for route in self._routes():
            for name in route.secrets:
                if not is_maskable(self._environment.get(name, "")):
                    log.warning("a secret is too short to be masked", variable=name, route=route.name)

    def _routes(self) -> Iterable[Route]:
        return self._rules.current.routes

    def _open_server(self, clock: Clock) -> tuple[HttpServer, Readiness]:
        """The probes, the metrics and the page, each of them a listener."""
        settings = self._settings
        limit = settings.AGENT_MAX_CONCURRENT_RUNS
        log_observer = LogObserver(clock)
        metrics = Metrics(
            clock=clock,
            version=__version__,
            max_concurrent_runs=limit,
            routes=self._routes,
            executors=self._rules.registry.names,
            topics=(settings.runs_topic, settings.change_log_topic),
        )
        readiness = Readiness(self._listeners)
        board = StatusBoard(
            clock=clock,
            version=__version__,
            about={
                "organisation": settings.PORT_ORG_ID,
                "group": settings.group_id,
                "API": settings.PORT_API_BASE_URL,
                "routes": str(settings.AGENT_ROUTES_PATH or "built in"),
            },
            max_concurrent_runs=limit,
            routes=self._routes,
            ready=readiness.check,
        )
        self._listeners.open(log_observer, metrics, board, readiness, self._liveness)
        pages = {
            "/metrics": metrics.page,
            "/livez": probe(self._liveness.check),
            "/readyz": probe(readiness.check),
            "/": StatusPage(board).page,
        }
        return HttpServer(settings.AGENT_HTTP_HOST, settings.AGENT_HTTP_PORT, pages), readiness

    def _services(self) -> Iterable[Callable[[], Awaitable[None]]]:
        yield self._liveness.keep_beating
        yield self._sign_in
        yield self._remind
        if isinstance(self._rules.routes, LiveRoutes):
            live = self._rules.routes
            yield lambda: live.watch(_RELOAD_S)

    async def _sign_in(self) -> None:
        """Asks Port for a token at once: wrong credentials shall show before the first run needs them."""
        while (problem := await self._client.sign_in()) is not None:
            self._readiness.explain_port(problem)
            await asyncio.sleep(_SIGN_IN_S)

    async def _remind(self) -> None:
        """While the agent is not ready, says so once a minute, with the last thing that went wrong."""
        while True:
            await asyncio.sleep(_REMIND_S)
            health = self._readiness.check()
            if not health.ok:
                log.warning("not ready", reason=health.reason)


class _Listeners:
    """The observers, known to everyone before they exist; what is told before `open` is heard by nobody."""

    def __init__(self) -> None:
        self._observers = Observers()

    def open(self, *observers: Observer) -> None:
        """From now on these hear everything."""
        self._observers = Observers(*observers)

    def notify(self, event: Event) -> None:
        """Passes a fact on."""
        self._observers.notify(event)
