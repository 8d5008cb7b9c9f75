"""``action-agent migrate``: what settings, values and mapping file of Port's own agent mean here; writes ours."""

from __future__ import annotations

import asyncio
import logging
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from agent.clock import SystemClock
from agent.commands.mapping_file import MappingFile
from agent.commands.mapping_routes import Converted, Known, convert
from agent.commands.new_files import write_new_files
from agent.commands.official_settings import MAPPING_PATH, assessed, hides, is_kept, is_official, refusals
from agent.commands.official_values import NewValues, mapping_in, secret_names, variables_of
from agent.commands.routes_text import routes_text
from agent.commands.yaml_text import comment, yaml_text
from agent.composition import Silent, open_registry
from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import JsonObject, as_object
from agent.routing.document import Document, parse, read_file
from agent.routing.environment_secrets import is_secret
from agent.routing.expressions import environment_reads
from agent.routing.file import RoutesReader
from agent.routing.jq_tokens import tokenize
from agent.routing.mapping import mappings_in
from agent.routing.mapping_lint import expressions_of
from agent.settings import defaults

Write = Callable[[str], None]

ROUTES, ENV, VALUES = "routes.yaml", ".env", "values.yaml"
"""The files that are written."""
_WIDTH = 100
_LOOK = "look at the options --values and --mapping"
"""What to do where one of their files is missing."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the command line names. Without ``env`` and ``values`` the command's own environment counts."""

    env: Path | None = None
    values: Path | None = None
    mapping: Path | None = None
    out: Path | None = None
    force: bool = False


@dataclass
class _Old:
    """What is known of the old agent: its variables with the place of each, its values, its mapping file.

    ``secret`` are the variables that its values have under ``env.secret``.
    """

    variables: dict[str, str] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    secret: frozenset[str] = frozenset()
    values: Document | None = None
    mapping: tuple[str, bytes] | None = None
    is_own_environment: bool = False
    has_env_file: bool = False
    unread: Sequence[Problem] = ()

    @property
    def known(self) -> Known:
        """The variables that the mapping file may read.

        Of the command's own environment, which has many others, those that look like tokens of GitLab's projects.
        """
        plain = frozenset(name for name, value in self.variables.items() if not hides(name, value)) | {"GITLAB_URL"}
        names = [name for name in self.variables if not is_official(name) or name == "GITLAB_URL"]
        if self.is_own_environment:
            names = [name for name in names if name == "GITLAB_URL" or self._may_be_a_token(name)]
        return Known(names, plain - self.secret, self.secret)

    @property
    def tokens(self) -> frozenset[str]:
        """The variables that may be tokens of GitLab's projects, whatever those are called."""
        return frozenset(filter(self._may_be_a_token, self.variables))

    def _may_be_a_token(self, name: str) -> bool:
        return not is_official(name) and name != name.upper() and is_secret("", self.variables[name])


def migrate(given: Given, environment: Mapping[str, str], write: Write) -> int:
    """Reads what is given, says what changes, and writes files into ``given.out`` if that is named.

    Nothing secret is shown, and of secrets only those are written that the mapping file has in clear text. 0 when
    all is said and written, 1 where something cannot be carried over as it is or a file is in the way, and where a
    route that was written fails every message. Raises `ConfigurationError` for what cannot be read.
    """
    return asyncio.run(_migrate(given, environment, write))


async def _migrate(given: Given, environment: Mapping[str, str], write: Write) -> int:
    old = _read(given, environment)
    _say_settings(old, given, write)
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
            _say_mappings(mapping, converted, old, write)
            routes = routes_text(converted, name)
        finally:
            await mapping.close()
        problems += await _refused_routes(routes, _with_the_absent(old.variables, converted))
    masked = old.tokens if converted is None else {name for one in converted for name in _masked(one)}
    has_routes = any(one.route is not None for one in converted or ())
    files = dict(_files(old, routes, old.secret | masked, write, has_routes=has_routes))
    return max(_finish(given, files, problems, write), _tell(hopeless, write))


def _read(given: Given, environment: Mapping[str, str]) -> _Old:
    old = _Old()
    if given.values is not None:
        old.values = parse(read_file(given.values, _LOOK), str(given.values))
        if not isinstance(old.values.value, Mapping):
            raise ConfigurationError(old.values.problem("", "holds no values; an object was expected"))
        old.variables, old.where = variables_of(old.values)
        old.secret = secret_names(old.values)
        text = None if given.mapping else mapping_in(old.values)
        if text is not None:
            old.mapping = (f"{given.values}: controlThePayloadConfig", text.encode())
    if given.env is not None:
        old.has_env_file = True
        variables, where, old.unread = _env_file(given.env)
        old.variables |= variables
        old.where |= where
    if given.env is None and given.values is None:
        old.is_own_environment = True
        old.variables = dict(environment)
        old.where = dict.fromkeys(environment, "the environment")
    path = given.mapping or _mapping_beside(given.env, old.variables.get(MAPPING_PATH))
    if path is not None:
        old.mapping = (str(path), read_file(path, _LOOK))
    return old


def _env_file(path: Path) -> tuple[dict[str, str], dict[str, str], Sequence[Problem]]:
    """The variables of a dotenv file, the line of each, and the lines that set none.

    Raises `ConfigurationError`.
    """
    logging.getLogger("dotenv").setLevel(logging.ERROR)  # it warns of these lines as well, but names no file
    try:
        with path.open(encoding="utf-8") as lines:
            read = list(parse_stream(lines))
        texts = dotenv_values(path, interpolate=False)  # what it names is of another machine
        variables = {name: value for name, value in texts.items() if value is not None}
    except UnicodeDecodeError:
        raise ConfigurationError(Problem(str(path), "is not UTF-8 text")) from None
    except OSError as error:
        raise ConfigurationError(Problem(str(path), f"cannot be read: {error.strerror}")) from None
    where = {one.key: f"{path}:{one.original.line}" for one in read if one.key is not None}
    broken = [f"{path}:{one.original.line}" for one in read if one.error]
    return variables, where, [Problem(place, "is passed over", hint="write NAME=value") for place in broken]


def _mapping_beside(env: Path | None, named: str | None) -> Path | None:
    """The mapping file that the variable names, if it is on this machine: as it stands, or beside the env file."""
    if not named:
        return None
    beside = [Path(named)] if env is None else [Path(named), env.parent / Path(named).name]
    return next((path for path in beside if path.is_file()), None)


def _say_settings(old: _Old, given: Given, write: Write) -> None:
    if old.is_own_environment:
        read = _variables_read(old)
        shown = {name: v for name, v in old.variables.items() if is_official(name) or name in read}
    else:
        shown = old.variables
    sources = ", ".join(str(path) for path in (given.values, given.env) if path)
    write(f"settings ({sources or 'of the environment'}):")
    settings = list(assessed(shown, mapping_is_written=old.mapping is not None and given.out is not None))
    width = max((len(setting.name) for setting in settings), default=0)
    for setting in settings:
        _write_wrapped(f"{setting.name:<{width}}  {setting}", 2, write)
    for problem in old.unread:
        write(f"  warning: {problem}")


def _variables_read(old: _Old) -> set[str]:
    """The variables that the mapping file names."""
    if old.mapping is None:
        return set()
    mappings = mappings_in(parse(old.mapping[1], old.mapping[0]))
    sources = (expression.source for place, raw in mappings for expression in expressions_of(raw, place))
    return {name for source in sources for name in environment_reads(list(tokenize(source))) if name is not None}


def _say_mappings(mapping: MappingFile, converted: Sequence[Converted], old: _Old, write: Write) -> None:
    raws = [raw for _, raw in mappings_in(mapping.document)]
    write("")
    write(f"mapping file ({mapping.document.where}): it can stay as it is; as routes it is")
    used = [raw for one, raw in zip(converted, raws, strict=True) if one.route is not None]
    if any(raw.get(name) is not None for raw in used for name in ("url", "method")):
        _write_wrapped(
            "of all: a url or method that comes out null ends the run as FAILURE with the reason; it was left in "
            "progress",
            2,
            write,
        )
    for one, raw in zip(converted, raws, strict=True):
        if one.route is None:
            write(f"  {one.place} ({one.line}): left out, for it is {'; '.join(one.remarks)}")
            continue
        write(f"  {one.place} ({one.line}): route {one.route['name']}")
        for said in (*_deviations(raw), *one.remarks, *_missing(one.route, old)):
            _write_wrapped(said, 6, write)
    if not used:
        write("  no mapping is left: as before, the agent takes no message")
    for warning in mapping.warnings:
        write(f"  warning: {warning}")
    for note in mapping.notes:
        write(f"  note: {note}")


def _write_wrapped(said: str, indent: int, write: Write) -> None:
    """Writes it in lines that a terminal takes. Findings, which begin with a file and line, are never wrapped."""
    for line in textwrap.wrap(
        said,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    ):
        write(line)


def _deviations(raw: JsonObject) -> Iterator[str]:
    """What this agent does otherwise than the old one, of what the mapping uses; the same for file and route."""
    if raw.get("report"):
        yield "a report expression that gives null leaves what is reported without it; it cancelled that as well"
    if raw.get("fieldsToDecryptPaths"):
        yield "a value that cannot be decrypted ends the run as FAILURE; it was sent as it came"


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


def _missing(route: JsonObject, old: _Old) -> Iterator[str]:
    missing = [name for name in _listed(route, "env") if name not in old.variables]
    if missing:
        yield f"not among the variables that are given: {', '.join(missing)}"
    if masked := [name for name in missing if name in _listed(route, "secrets")]:
        yield (
            f"taken for secrets, and needed at start, therefore: {', '.join(masked)}; what is none, or never set, "
            "take out of `secrets`"
        )


def _listed(route: JsonObject, key: str) -> list[str]:
    names = route.get(key)
    return list(map(str, names)) if isinstance(names, list) else []


def _masked(one: Converted) -> list[str]:
    return [] if one.route is None else _listed(one.route, "secrets")


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
    old: _Old, routes: str | None, masked: frozenset[str], write: Write, *, has_routes: bool
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
        _write_wrapped(remark, 2, write)
    begins = [f"Written by `action-agent migrate` from {old.values.where}, for the chart of the action agent."]
    yield VALUES, comment([*begins, *values.remarks]) + yaml_text(made)


def _env_text(old: _Old, masked: frozenset[str], has_routes: bool) -> str:  # noqa: FBT001 - of one caller
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
