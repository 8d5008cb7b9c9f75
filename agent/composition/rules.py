"""The routes with all that they stand on, built from the settings; for the agent and for every command."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from agent.composition.credentials import Credentials
from agent.dispatch.reception import IsForOthers
from agent.domain.errors import ConfigurationError
from agent.domain.invocation import InvocationKind, View
from agent.domain.json import Json, JsonObject
from agent.executors.registry import ExecutorRegistry
from agent.intake.reader import MessageIntake
from agent.intake.signature import SignatureMode
from agent.ports import Clock, ExecutorServices, ExecutorSettings, Observer
from agent.routing.file import RoutesReader
from agent.routing.reload import LiveRoutes
from agent.routing.route_set import RouteSet
from agent.settings import Settings


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
        try:
            await self.registry.close()
        finally:
            self.reader.close()


def open_registry(
    settings: Settings,
    environment: Mapping[str, str],
    observer: Observer,
    clock: Clock,
    credentials: Credentials | None = None,
) -> ExecutorRegistry:
    """Every installed executor. Raises `ConfigurationError` for one that is broken."""
    executor_settings = ExecutorSettings(
        port_api_base_url=settings.PORT_API_BASE_URL,
        client_secret=(credentials or Credentials.of(settings)).client_secret.current,
        kill_grace_s=settings.AGENT_KILL_GRACE_S,
        state_dir=settings.AGENT_STATE_DIR,
        python_path=tuple(filter(None, settings.AGENT_PYTHONPATH.split(os.pathsep))),
        http_timeout_s=settings.WEBHOOK_INVOKER_TIMEOUT,
        http_verify_ssl=settings.WEBHOOK_VERIFY_SSL,
        http_ca_file=settings.ca_file,
        http_allow_link_local=settings.AGENT_HTTP_ALLOW_LINK_LOCAL,
        http_breaker_failures=settings.AGENT_HTTP_BREAKER_FAILURES,
        http_quotes_answers=settings.DETAILED_LOGGING,
        max_concurrent_runs=settings.AGENT_MAX_CONCURRENT_RUNS,
    )
    return ExecutorRegistry.load(ExecutorServices(observer, clock, environment, executor_settings))


def open_rules(
    settings: Settings,
    environment: Mapping[str, str],
    observer: Observer,
    clock: Clock,
    credentials: Credentials | None = None,
) -> Rules:
    """The routes that the settings name, or the built-in one. Raises `ConfigurationError` with every problem."""
    registry = open_registry(settings, environment, observer, clock, credentials)
    reader = RoutesReader(
        registry,
        environment,
        jq_timeout_s=settings.AGENT_JQ_TIMEOUT_S,
        default_timeout_s=settings.AGENT_RUN_TIMEOUT_S,
        quotes_answers=settings.DETAILED_LOGGING,
    )
    try:
        routes = _open_routes(settings, reader, observer)
    except ConfigurationError:
        reader.close()
        raise
    return Rules(registry, reader, routes)


def _open_routes(settings: Settings, reader: RoutesReader, observer: Observer) -> RouteSet | LiveRoutes:
    if settings.AGENT_ROUTES_PATH is not None:
        return LiveRoutes(settings.AGENT_ROUTES_PATH, reader, observer)
    if settings.mapping_file is not None:
        return LiveRoutes(settings.mapping_file, reader.mappings(), observer)
    return reader.builtin()


def open_intake(
    settings: Settings,
    rules: Rules,
    clock: Clock,
    mode: SignatureMode | None = None,
    credentials: Credentials | None = None,
) -> MessageIntake:
    """What reads messages; ``mode`` overrides the setting. Raises `ConfigurationError` for AGENT_RUN_ID_PATH."""
    return MessageIntake(
        (credentials or Credentials.of(settings)).client_secret.known,
        clock,
        mode=mode or SignatureMode(settings.AGENT_SIGNATURES),
        max_age_s=settings.AGENT_SIGNATURE_MAX_AGE_S,
        extra_run_id=_run_id_finder(settings.AGENT_RUN_ID_PATH, rules.reader),
        max_bytes=settings.AGENT_MAX_MESSAGE_BYTES,
    )


def others_rule(settings: Settings) -> IsForOthers:
    """What AGENT_UNROUTED means.

    Where nothing is said a mapping file is a filter, as with Port's own agent: of what it does not take, action
    runs are left to others, workflow nodes fail. A run fails if it is unknown whether the file would take it.
    """
    said = settings.AGENT_UNROUTED
    if said:
        return lambda _invocation, _unrouted: said == "ignore"
    if settings.mapping_file is None:
        return lambda _invocation, _unrouted: False
    return lambda invocation, unrouted: invocation.kind is InvocationKind.ACTION_RUN and not unrouted.undecided


def _run_id_finder(source: str, reader: RoutesReader) -> Callable[[Json], Json] | None:
    if not source:
        return None
    expression = reader.expressions.for_route().expression(source, "AGENT_RUN_ID_PATH")
    # A message may be a list as well; jq takes it as it is.
    return lambda document: expression.render(View(cast("JsonObject", document)))
