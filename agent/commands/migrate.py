"""``action-agent migrate``: what settings, values and mapping file of Port's own agent mean here; writes ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.clock import SystemClock
from agent.commands.mapping_file import MappingFile
from agent.commands.mapping_routes import Converted, convert
from agent.commands.migration_words import Write, listed, say_mappings, say_settings, write_wrapped
from agent.commands.new_files import write_new_files
from agent.commands.official_settings import MAPPING_PATH, hides, is_kept, refusals
from agent.commands.official_values import NewValues
from agent.commands.old_agent import OldAgent, read_old_agent
from agent.commands.routes_text import routes_text
from agent.commands.yaml_text import comment, yaml_text
from agent.composition import Silent, open_registry
from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import as_object
from agent.routing.file import RoutesReader
from agent.settings import defaults

ROUTES, ENV, VALUES = "routes.yaml", ".env", "values.yaml"
"""The files that are written."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line names. Without ``env`` and ``values`` the command's own environment counts."""

    env: Path | None = None
    values: Path | None = None
    mapping: Path | None = None
    out: Path | None = None
    force: bool = False


def migrate(given: Given, environment: Mapping[str, str], write: Write) -> int:
    """Reads what is given, says what changes, and writes files into ``given.out`` if that is named.

    Nothing secret is shown, and of secrets only those are written that the mapping file has in clear text. 0 when
    all is said and written, 1 where something cannot be carried over as it is or a file is in the way, and where a
    route that was written fails every message. Raises `ConfigurationError` for what cannot be read.
    """
    return asyncio.run(_migrate(given, environment, write))


async def _migrate(given: Given, environment: Mapping[str, str], write: Write) -> int:
    old = read_old_agent(given.env, given.values, given.mapping, environment)
    say_settings(
        old, [path for path in (given.values, given.env) if path], write, writes_mapping=given.out is not None
    )
    problems = list(refusals(old.variables, old.where))
    hopeless: Sequence[Problem] = ()
    routes: str | None = None
    converted: Sequence[Converted] | None = None
    if old.mapping is None and old.variables.get(MAPPING_PATH):
        write("")
        write(
            f"mapping file: {MAPPING_PATH} names one that is not on this machine: give a copy of it with --mapping."
        )
        write("  Without that the variable is kept, and the new agent does not start where the file is missing")
    elif old.mapping is None:
        write("")
        write(
            "mapping file: none is given. Without one this agent forwards webhooks and triggers GitLab's pipelines"
        )
        write("  as the old one does with the file that comes with it")
    else:
        name, content = old.mapping
        mapping = MappingFile.parse(content, name, defaults(), old.variables)
        try:
            converted = convert(mapping.document, mapping.expressions, old.known)
            hopeless = list(_hopeless(converted))
            say_mappings(mapping, converted, old, write)
            routes = routes_text(converted, name)
        finally:
            await mapping.close()
        problems += await _refused_routes(routes, _with_the_absent(old.variables, converted))
    masked = old.tokens if converted is None else {name for one in converted for name in _masked(one)}
    has_routes = any(one.route is not None for one in converted or ())
    files = dict(_files(old, routes, old.secret | masked, write, has_routes=has_routes))
    return max(_finish(given, files, problems, write), _tell(hopeless, write))


def _hopeless(converted: Sequence[Converted]) -> Iterator[Problem]:
    """The routes that fail every message. They are written all the same, since the mapping did no better."""
    for one in converted:
        if one.route is not None and one.hopeless:
            parts = " and ".join(one.hopeless)
            yield Problem(
                one.line,
                f"the route {one.route['name']} fails every message that it takes: its {parts} can only be null",
                one.place,
                hint='write a fixed text in quotes of its own, as in "\\"POST\\"", or correct the route',
            )


def _tell(problems: Sequence[Problem], write: Write) -> int:
    """Says problems that keep nothing from being written; 1 where there are some."""
    for problem in problems:
        write(str(problem))
    return 1 if problems else 0


def _masked(one: Converted) -> list[str]:
    return [] if one.route is None else listed(one.route, "secrets")


def _with_the_absent(variables: Mapping[str, str], converted: Sequence[Converted]) -> Mapping[str, str]:
    """The variables, and some value for each that routes want and nobody has shown: it is told, and no mistake."""
    wanted = [name for one in converted for name in _masked(one)]
    return {**dict.fromkeys(wanted, ""), **variables}


async def _refused_routes(text: str, variables: Mapping[str, str]) -> Sequence[Problem]:
    """What keeps the routes that were written from being read; a defect, or what the remarks name."""
    registry = open_registry(defaults(), variables, Silent(), SystemClock())
    reader = RoutesReader(registry, variables)
    try:
        reader.parse(text.encode(), ROUTES)
    except ConfigurationError as error:
        return error.problems
    finally:
        reader.close()
        await registry.close()
    return ()


def _files(
    old: OldAgent, routes: str | None, masked: frozenset[str], write: Write, *, has_routes: bool
) -> Iterator[tuple[str, str]]:
    """Names and texts of the files; says what is not carried over into them.

    The values of ``masked`` and of what looks like a secret are not in them.
    """
    if routes is not None:
        yield ROUTES, routes
    if old.values is None or old.has_env_file:
        yield ENV, _env_text(old, masked, routes is not None)
    if old.values is None:
        return
    values = NewValues(as_object(old.values.value), routes, masked, has_routes=has_routes)
    made = values.made()
    write("")
    write(f"values ({old.values.where}):")
    for remark in values.remarks:
        write_wrapped(remark, 2, write)
    begins = [f"Written by `action-agent migrate` from {old.values.where}, for the chart of the action agent."]
    yield VALUES, comment([*begins, *values.remarks]) + yaml_text(made)


def _env_text(old: OldAgent, masked: frozenset[str], has_routes: bool) -> str:  # noqa: FBT001 - of one caller
    """The settings and variables without those that are secret, which stay where they are."""
    lines = [
        comment(
            ["Written by `action-agent migrate`. What is secret is not copied; it is named with its old place."]
        )
    ]
    known = set(old.known.names)
    for name, value in old.variables.items():
        if name == MAPPING_PATH and has_routes:
            continue
        if not (is_kept(name) or name in known):
            continue
        if name in masked or hides(name, value):
            lines.append(f"# {name}= (see {old.where[name]})\n")
        elif value:
            lines.append(f"{name}={_quoted(value)}\n")
    if has_routes:
        lines.append(f"AGENT_ROUTES_PATH={ROUTES}\n")
    return "".join(lines)


def _quoted(value: str) -> str:
    """A value as dotenv files have it. Between any quotes ``${`` is filled in, but a default is not."""
    if value.replace("_", "").replace("-", "").replace(".", "").replace("/", "").replace(":", "").isalnum():
        return value
    value = value.replace("\\", "\\\\").replace("'", "\\'").replace("${", "${:-$}{")
    return f"'{value}'"


def _finish(given: Given, files: Mapping[str, str], problems: Sequence[Problem], write: Write) -> int:
    write("")
    problems = [*problems, *_in_the_way(given, files)]
    for problem in problems:
        write(str(problem))
    if problems:
        write(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found; nothing is written")
        return 1
    if given.out is None:
        write(f"nothing is written; with --out DIRECTORY it would be {', '.join(files)}")
        return 0
    try:
        write_new_files(given.out, files)
    except OSError as error:
        write(str(Problem(str(given.out), f"cannot be written into: {error.strerror}")))
        return 1
    for name in files:
        write(f"written: {given.out / name}")
    return 0


def _in_the_way(given: Given, files: Mapping[str, str]) -> Iterator[Problem]:
    if given.out is None or given.force:
        return
    for name in files:
        if (given.out / name).exists():
            yield Problem(str(given.out / name), "exists already", hint="name another directory, or give --force")
