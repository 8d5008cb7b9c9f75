"""``action-agent check``: whether settings and routes are in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.clock import SystemClock
from agent.commands.mapping_file import MappingFile
from agent.commands.variables import unset_variables
from agent.composition import (
    Silent,
    collector_secrets,
    is_silenced,
    open_intake,
    open_rules,
    open_runs_client,
    open_tracing,
)
from agent.domain.errors import ConfigurationError, Problem
from agent.domain.redaction import Redactor
from agent.domain.route import DEFAULT_ATTEMPTS, Match, OnInterrupted, Route, Template
from agent.ports import Clock, Executor, Noting
from agent.routing.mapping import Addressed
from agent.routing.route_set import RouteSet
from agent.routing.templates import Constant
from agent.settings import SDK_SWITCH, Settings, misspelt

Messages = Sequence[tuple[str, bytes]]
"""Recorded messages, each with the name of its file."""


async def check(
    settings: Settings,
    environment: Mapping[str, str],
    show: Callable[[str], None],
    known: Sequence[Problem],
    messages: Messages = (),
) -> int:
    """Reads everything that ``run`` would read at start, and prints every problem. 0 if there is none, else 1.

    ``known``: the problems of the settings themselves. ``messages`` are tried on a mapping file. ``show`` is given
    whole lines, masked.
    """
    clock = SystemClock()
    redactor = Redactor((*settings.secrets, *collector_secrets(settings, environment)))

    def write(line: str) -> None:
        show(redactor.mask_text(line))

    problems = list(known)
    remarks = list(_remarks(settings, environment))
    for remark in remarks:
        write(remark)
    problems.extend(await _trace_problems(settings, environment, clock))
    routes = await _read_routes(settings, environment, clock, problems)
    about = _About() if routes is None else await _looked_over(settings, environment, routes, messages, problems)
    warnings = [f"warning: {warning}" for warning in about.warnings]
    for line in (*warnings, *about.of_messages):
        write(line)
    if routes is None or problems:
        for problem in problems:
            write(str(problem))
        write(f"{_counted(len(problems), 'problem')} found")
        return 1
    warned = sum(line.startswith("warning: ") for line in (*remarks, *warnings))
    for line in (*_summary(settings, environment, routes, warned), *(f"note: {note}" for note in about.notes)):
        write(line)
    return 0


def _summary(settings: Settings, environment: Mapping[str, str], routes: RouteSet, warned: int) -> Iterator[str]:
    """What can be used, with what is no error in it; ``warned``: how many warnings were told before."""
    source = settings.routes_file or "the built-in routes (AGENT_ROUTES_PATH is not set)"
    verdict = f"can be used, with {_counted(warned, 'warning')}" if warned else "are in order"
    yield f"settings and routes {verdict}: {_counted(len(routes.routes), 'route')} from {source}"
    for route in routes.routes:
        yield f"  {route.name}: {route.executor}, {_matches(route.match)}"
    for route in routes.routes:
        for note in _notes(route, routes.executor(route.name), environment):
            yield f"note: {note}"


@dataclass(frozen=True, slots=True)
class _About:
    """What there is to say of a file that is in force."""

    warnings: Sequence[object] = ()
    notes: Sequence[str] = ()
    of_messages: Sequence[str] = ()


_FOR_MAPPINGS = "--message is tried on mapping files alone; for routes there is `action-agent explain FILE`"


async def _looked_over(
    settings: Settings,
    environment: Mapping[str, str],
    routes: RouteSet,
    messages: Messages,
    problems: list[Problem],
) -> _About:
    """What there is to say of the file in force; messages that are none go to ``problems``."""
    path = settings.mapping_file
    if path is None:
        return _About([*routes.warnings, *([_FOR_MAPPINGS] if messages else [])])
    mapping = MappingFile.open(path, settings, environment)
    tried: list[str] = []
    try:
        for name, body in messages:
            try:
                tried += mapping.tried(body, name)
            except ConfigurationError as error:
                problems.extend(error.problems)
    finally:
        await mapping.close()
    return _About(mapping.warnings, mapping.notes, tried)


async def _read_routes(
    settings: Settings, environment: Mapping[str, str], clock: Clock, problems: list[Problem]
) -> RouteSet | None:
    """The routes, and beside them everything else that ``run`` opens; ``None`` where there are none to be had."""
    try:
        rules = open_rules(settings, environment, Silent(), clock)
    except ConfigurationError as error:
        problems.extend(error.problems)
        return None
    try:
        open_intake(settings, rules, clock)
        await open_runs_client(settings, environment, Silent(), clock).close()
    except ConfigurationError as error:
        problems.extend(error.problems)
    finally:
        await rules.close()
    return rules.current


def _remarks(settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    """What has no effect, whoever wrote it; all that only the official agent has a use for in one line."""
    yield from (f"warning: {problem}" for problem in misspelt(environment))
    if is_silenced(settings, environment):
        problem = settings.placed(Problem("AGENT_TRACES", f"has no effect: {SDK_SWITCH} is true"))
        yield f"warning: {problem}"
    if idle := settings.without_effect:
        told = ", ".join(f"{name} ({why})" for name, why in idle.items())
        yield f"note: settings of the official agent that have no effect here: {told}"


async def _trace_problems(settings: Settings, environment: Mapping[str, str], clock: Clock) -> Sequence[Problem]:
    """Also what the SDK makes do with: it says so, and goes on with a value of its own."""
    said: list[str] = []
    try:
        tracing = open_tracing(settings, environment, Silent(), clock, said.append)
    except ConfigurationError as error:
        return error.problems
    if tracing is not None:
        await asyncio.to_thread(tracing.close)
    hint = "look at the OTEL_* variables"
    return [settings.placed(Problem("AGENT_TRACES", f"OpenTelemetry says: {words}", hint=hint)) for words in said]


def _notes(route: Route, executor: Executor, environment: Mapping[str, str]) -> Iterator[str]:
    """What is no error, for it may be otherwise where the agent runs, or does no harm."""
    place = f"{route.where}: route {route.name}"
    if unheeded := _unheeded(route):
        yield f"{place}: {unheeded}"
    for name in unset_variables(route, environment):
        yield f"{place}: env.{name} is not set here"
    if isinstance(executor, Noting):
        yield from (f"{place}: {note}" for note in executor.notes())


def _unheeded(route: Route) -> str:
    """What the route says to no effect."""
    if route.on_interrupted is OnInterrupted.RERUN or route.max_attempts == DEFAULT_ATTEMPTS:
        return ""
    return f"max_attempts: {route.max_attempts} counts only with on_interrupted: rerun"


def _matches(match: Match) -> str:
    """Which messages a route is for."""
    named = "action " + " or ".join(match.actions) if match.actions else ""
    if not named and match.types:
        named = "type " + " or ".join(match.types)
    if isinstance(match.when, Addressed):
        return ", ".join(filter(None, (named, _takes(match.when.enabled))))
    condition = "where its condition holds" if match.when is not None else ""
    return ", ".join(filter(None, (named or "every action", condition)))


def _takes(enabled: Template) -> str:
    """Which messages a mapping is for."""
    if not isinstance(enabled, Constant):
        return "where its `enabled` gives true"
    return "every message for agents" if enabled.value is True else "no message: its `enabled` is false"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def run_check(
    settings: Settings,
    environment: Mapping[str, str],
    write: Callable[[str], None],
    known: Sequence[Problem] = (),
    messages: Messages = (),
) -> int:
    """`check`, with an event loop of its own."""
    return asyncio.run(check(settings, environment, write, known, messages))
