"""The whole agent, built from the settings."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial

import structlog
from yarl import URL

from agent import __version__
from agent.clock import SystemClock
from agent.composition.clients import (
    fetch_kafka_credentials,
    kafka_settings,
    open_journal_file,
    open_runs_client,
)
from agent.composition.credentials import Credentials
from agent.composition.introduction import introduce
from agent.composition.listeners import AtDrain, Listeners
from agent.composition.quarantine import open_quarantine
from agent.composition.rules import open_intake, open_rules, others_rule
from agent.composition.tracing import collector_secrets, is_silenced, open_tracing
from agent.dispatch.close_watch import CloseWatch
from agent.dispatch.dispatcher import Dispatcher, DispatchSettings
from agent.dispatch.life import LifeSettings, Lives
from agent.dispatch.lifecycle import Lifecycle, Stop
from agent.dispatch.reception import Reception
from agent.dispatch.redelivery import Redelivery, Waits
from agent.dispatch.second_look import SecondLook
from agent.dispatch.workspace import remove_tree
from agent.domain.redaction import Redactor, is_maskable
from agent.domain.route import Route
from agent.domain.timeline import TIDY_S
from agent.kafka.config import CONSUMER, KafkaCredentials
from agent.observability.health import Liveness, Readiness
from agent.observability.log_observer import LogObserver
from agent.observability.loop_watch import LoopWatch
from agent.observability.metrics import Metrics
from agent.observability.server import HttpServer, probe
from agent.observability.server_thread import ServerThread
from agent.observability.status_board import StatusBoard
from agent.observability.status_page import StatusPage
from agent.ports import Clock, Intake, Router, Source
from agent.routing.reload import LiveRoutes
from agent.runs_api.details import ReportLimits
from agent.runs_api.journal import Journal
from agent.runs_api.log_buffer import LogLimits
from agent.runs_api.lookup import PortLookup
from agent.runs_api.reporter import PortReporter
from agent.settings import SDK_SWITCH, Settings, misspelt
from agent.threads import in_thread

log = structlog.get_logger(__name__)

_WAITING_BYTES = 24 * 1024 * 1024
"""Of messages whose runs wait: 12,000 of 2 KiB. A backlog of large ones must not take the memory of a pod."""
_CLAIMED_BYTES = 64 * 1024 * 1024
"""The same of runs that were claimed, which are few: no more are than can be begun soon."""
_RELOAD_S = 2.0
_REMIND_S = 60.0
_SIGN_IN_S = 2.0
_SIGNATURE_PATIENCE_S = 180.0
"""The kubelet brings a renewed secret into its volume within about two minutes."""
_REMOVAL_S = TIDY_S / 3
LAST_TASKS_S = TIDY_S / 3
"""What whoever runs the agent may give to tasks that are left after it, such as those that actions began."""


class Agent:
    """The whole agent, built and ready to `run` once."""

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        redactor: Redactor,
        at_drain: Callable[[], object] = lambda: None,
    ) -> None:
        """Reads routes and files. Raises `ConfigurationError` with every problem.

        ``redactor`` masks the agent's own log; it learns the secrets that come later. ``at_drain`` is called when
        the agent begins to stop, or is bound to, whatever the reason: on any thread, perhaps more than once.
        """
        self._at_drain = AtDrain(at_drain)
        self._redactor = redactor
        clock = SystemClock()
        self._settings = settings
        self._environment = environment
        self._listeners = Listeners()
        observer = self._listeners
        for secret in collector_secrets(settings, environment):
            redactor.add(secret)
        self._tracing = open_tracing(settings, environment, observer, clock)
        credentials = Credentials.of(settings, self._learn)
        self._rules = open_rules(settings, environment, observer, clock, credentials)
        self._timeline = settings.timeline
        self._workspaces = settings.AGENT_STATE_DIR / "workspaces" / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._loop_watch = LoopWatch(clock, observer)
        self._liveness = Liveness(
            clock,
            observer,
            stall_timeout_s=settings.AGENT_STALL_TIMEOUT_S,
            loop_users=lambda: self._loop_watch.python_routes,
        )
        self._quarantine = open_quarantine(settings, observer, clock)
        self._server, self._readiness = self._open_server(clock)
        self._client = client = open_runs_client(settings, environment, observer, clock, credentials)
        journal = Journal(partial(open_journal_file, settings), observer)
        log_limits = LogLimits(batch_bytes=settings.AGENT_LOG_BATCH_BYTES, head_bytes=settings.AGENT_LOG_MAX_BYTES)
        limits = ReportLimits(log=log_limits)
        self._reporter = PortReporter(client, observer, clock, limits, settings.secrets, journal)
        source = self._open_source(clock)
        intake = open_intake(settings, self._rules, clock, credentials=credentials)
        life = LifeSettings(
            workspaces=self._workspaces,
            kill_grace_s=settings.AGENT_KILL_GRACE_S,
            redeliver_when_stopped=settings.AGENT_ON_SHUTDOWN == "redeliver",
            masked=settings.secrets,
            environment=environment,
            learn=redactor.add,
        )
        lookup, lives = PortLookup(client), Lives(intake, self._reporter, observer, clock, life)
        self._close_watch = CloseWatch(lives, lookup, settings.AGENT_CLOSE_CHECK_S)
        dispatcher = Dispatcher(
            source,
            self._open_reception(source, intake, clock),
            lives,
            Redelivery(lookup, clock, _waits(settings)),
            observer,
            DispatchSettings(
                max_concurrent_runs=settings.AGENT_MAX_CONCURRENT_RUNS,
                max_waiting_runs=settings.AGENT_MAX_WAITING_RUNS,
                max_waiting_bytes=_CLAIMED_BYTES if settings.polls else _WAITING_BYTES,
                max_pending_reports=settings.AGENT_MAX_PENDING_REPORTS,
            ),
        )
        services = tuple(self._services())
        self._lifecycle = Lifecycle(source, dispatcher, self._reporter, observer, self._timeline, services)

    async def run(self, stop: Stop) -> int:
        """Runs until ``stop`` is asked; returns the exit code.

        Raises `ConfigurationError` if the HTTP port cannot be had. The loop's default executor becomes the one of
        Python actions (`asyncio.to_thread`); what they still do in there at the end is left to itself.
        """
        slots = self._settings.AGENT_MAX_CONCURRENT_RUNS
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(slots, thread_name_prefix="actions"))
        async with (
            AsyncExitStack() as at_the_end
        ):  # each of them, whatever becomes of the others; the last one first
            at_the_end.push_async_callback(self._put_away)
            at_the_end.push_async_callback(self._rules.close)
            at_the_end.push_async_callback(self._reporter.close)
            at_the_end.push_async_callback(self._server.stop)
            port = await self._server.start()
            log.info(
                "started",
                version=__version__,
                http=str(URL.build(scheme="http", host=self._settings.AGENT_HTTP_HOST, port=port)),
                port=port,
                **self._about_source(),
                routes=[route.name for route in self._routes()],
                drain_s=self._timeline.drain_s,
                kill_grace_s=self._timeline.kill_grace_s,
                report_s=self._timeline.report_s,
                stop_takes_at_most_s=self._timeline.total_s,
                on_shutdown=self._settings.AGENT_ON_SHUTDOWN,
            )
            self._warn()
            return await self._lifecycle.run(stop)

    async def _put_away(self) -> None:
        """Not waited for beyond its time: a disk may hang."""
        removal = in_thread(partial(remove_tree, self._workspaces), "remove workspaces")
        written = in_thread(self._quarantine.close, "close quarantine")
        last = [removal, written]
        if self._tracing is not None:
            last.append(in_thread(self._tracing.close, "send the last spans"))
        await asyncio.wait(last, timeout=_REMOVAL_S)

    def _open_reception(self, source: Source, intake: Intake, clock: Clock) -> Reception:
        """Where the client secret may be renewed while we run, messages may come signed with it before it does."""
        settings = self._settings
        router: Router = self._rules.routes
        may_be_renewed = settings.file_of("PORT_CLIENT_SECRET") is not None
        return Reception(
            source,
            intake,
            router,
            self._listeners,
            self._quarantine,
            SecondLook(_SIGNATURE_PATIENCE_S if may_be_renewed else 0.0, clock),
            is_for_others=others_rule(settings),
            tracer=None if self._tracing is None else self._tracing.tracer,
        )

    def _open_source(self, clock: Clock) -> Source:
        # The other one is not imported: Kafka's client alone takes 7 MiB.
        if self._settings.polls:
            from agent.composition.polling import open_polling_source  # noqa: PLC0415 - see above

            return open_polling_source(self._settings, self._client, self._listeners, clock)
        from agent.kafka.source import KafkaSource  # noqa: PLC0415 - see above

        return KafkaSource(kafka_settings(self._settings), self._kafka_credentials, self._listeners, clock)

    def _about_source(self) -> Mapping[str, object]:
        settings = self._settings
        if settings.polls:
            return {
                "source": "polling",
                "interval_s": settings.POLLING_INTERVAL_SECONDS,
                "batch_size": settings.POLLING_RUNS_BATCH_SIZE,
            }
        return {
            "source": "kafka",
            "group": settings.group_id,
            "group_protocol": settings.AGENT_KAFKA_GROUP_PROTOCOL,
            "topics": self._topics(),
        }

    def _topics(self) -> Sequence[str]:
        settings = self._settings
        return () if settings.polls else (settings.runs_topic, settings.change_log_topic)

    def _learn(self, secret: str) -> None:
        """The client secret was renewed: it is masked from now on, beside the old one."""
        self._redactor.add(secret)
        self._reporter.learn(secret)

    async def _kafka_credentials(self) -> KafkaCredentials:
        credentials = await fetch_kafka_credentials(self._client)
        self._redactor.add(credentials.password)
        return credentials

    def _warn(self) -> None:
        """Says at start what is no reason not to start."""
        for warning in self._rules.current.warnings:
            log.warning("routes warning", problem=str(warning))
        for problem in misspelt(self._environment):
            log.warning("a variable is not a setting", variable=problem.where, hint=problem.hint)
        if idle := self._settings.without_effect:
            log.info("settings of the official agent that have no effect here", settings=dict(idle))
        if is_silenced(self._settings, self._environment):
            log.warning("AGENT_TRACES has no effect", hint=f"{SDK_SWITCH} is true")
        try:
            self._settings.AGENT_STATE_DIR.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            path = str(self._settings.AGENT_STATE_DIR)
            log.warning("the state directory cannot be used: processes will fail", path=path, error=error.strerror)
        explicit = "KAFKA_CONSUMER_SESSION_TIMEOUT_MS" in self._settings.model_fields_set
        if explicit and not self._settings.polls and self._settings.AGENT_KAFKA_GROUP_PROTOCOL == CONSUMER:
            hint = "the brokers' group.consumer.session.timeout.ms is in force"
            log.warning("KAFKA_CONSUMER_SESSION_TIMEOUT_MS has no effect with this group protocol", hint=hint)
        # A secret of a few characters is part of ordinary words: masking it would only hide the log.
        for route in self._routes():
            for name in route.secrets:
                if not is_maskable(self._environment.get(name, "")):
                    log.warning("a secret is too short to be masked", variable=name, route=route.name)

    def _routes(self) -> Iterable[Route]:
        return self._rules.current.routes

    def _open_server(self, clock: Clock) -> tuple[ServerThread, Readiness]:
        """The probes, the metrics and the page, each of them a listener."""
        settings = self._settings
        limit = settings.AGENT_MAX_CONCURRENT_RUNS
        source = "polling" if settings.polls else "kafka"
        log_observer = LogObserver(clock)
        metrics = Metrics(
            clock=clock,
            version=__version__,
            max_concurrent_runs=limit,
            routes=self._routes,
            executors=self._rules.registry.names,
            topics=self._topics(),
            sources=(source,),
        )
        readiness = Readiness(self._listeners, source=source)
        board = StatusBoard(
            clock=clock,
            version=__version__,
            about={
                "organisation": settings.PORT_ORG_ID,
                **({"runs from": "polling Port's API"} if settings.polls else {"group": settings.group_id}),
                "API": settings.PORT_API_BASE_URL,
                "routes": str(settings.routes_file or "built in"),
            },
            max_concurrent_runs=limit,
            routes=self._routes,
            ready=readiness.check,
        )
        spans = () if self._tracing is None else (self._tracing.observer,)
        self._listeners.open(
            self._at_drain, log_observer, metrics, board, readiness, self._liveness, self._loop_watch, *spans
        )
        pages = {
            "/metrics": metrics.page,
            "/livez": probe(self._liveness.check),
            "/readyz": probe(readiness.check),
            "/": StatusPage(board).page,
        }
        # Port's own agent has no port: who comes from it, and runs several on one machine, has not thought of any.
        insists = settings.is_given("AGENT_HTTP_PORT")
        server = HttpServer(settings.AGENT_HTTP_HOST, settings.AGENT_HTTP_PORT, pages, insists=insists)
        return ServerThread(server), readiness

    def _services(self) -> Iterable[Callable[[], Awaitable[None]]]:
        yield self._liveness.keep_beating
        yield self._loop_watch.keep_watching
        yield self._sign_in
        if self._settings.AGENT_CLOSE_CHECK_S:
            yield self._close_watch.keep_watching
        yield self._remind
        if isinstance(self._rules.routes, LiveRoutes):
            live = self._rules.routes
            yield lambda: live.watch(_RELOAD_S)

    async def _sign_in(self) -> None:
        """Asks Port for a token at once: wrong credentials shall show before the first run needs them.

        Then says who is there.
        """
        while (problem := await self._client.sign_in()) is not None:
            self._readiness.explain_port(problem)
            await asyncio.sleep(_SIGN_IN_S)
        await introduce(self._client, self._settings.STREAMER_NAME)

    async def _remind(self) -> None:
        """While the agent is not ready, says so once a minute, with the last thing that went wrong."""
        while True:
            await asyncio.sleep(_REMIND_S)
            health = self._readiness.check()
            if not health.ok:
                log.warning("not ready", reason=health.reason)


def _waits(settings: Settings) -> Waits:
    """At the end of a run's time an agent kills it, lets go, writes its entities, flushes its log."""
    return Waits(margin_s=settings.AGENT_KILL_GRACE_S + 65.0, timeout_s=settings.AGENT_RUN_TIMEOUT_S)
