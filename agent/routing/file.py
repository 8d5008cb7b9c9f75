"""Reads the routes file into a `RouteSet`, or says everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jsonschema import Draft202012Validator

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import Json, as_object
from agent.ports import Executors, Routed
from agent.routing.builtin import builtin_routes
from agent.routing.complaints import complaints
from agent.routing.document import Document, parse, read_file
from agent.routing.expressions import Expressions
from agent.routing.mapping import MappingReader
from agent.routing.mapping_templates import Refusal
from agent.routing.misplaced import ProperPlaces
from agent.routing.route_builder import RouteBuilder
from agent.routing.route_set import RouteSet
from agent.routing.schema import FILE_SCHEMA, check_schemas, route_schema
from agent.routing.shadowing import Rule, shadowed
from agent.routing.templates import kind


class RoutesReader:
    """Makes route sets: knows the executors, the environment that routes may read from, and the limits.

    ``jq_timeout_s`` bounds the evaluation of all expressions of one message, ``default_timeout_s`` a run whose
    route says nothing. ``quotes_answers``: whether routes of mappings, and the built-in ones, quote what a target
    said when it refused. Owns jq's worker process: `close` it when no route it made is used any more. The
    constructor raises `ConfigurationError` if an executor's schema is broken.
    """

    def __init__(
        self,
        executors: Executors,
        environment: Mapping[str, str],
        *,
        jq_timeout_s: float = 1.0,
        default_timeout_s: float = 3600.0,
        quotes_answers: bool = True,
    ) -> None:
        check_schemas(executors)
        self._executors = executors
        self._environment = environment
        self._default_timeout_s = default_timeout_s
        self._quotes_answers = quotes_answers
        self._expressions = Expressions(environment, jq_timeout_s)
        self._file_validator = Draft202012Validator(dict(FILE_SCHEMA))
        schema = route_schema(executors)
        self._route_validator = Draft202012Validator(dict(schema))
        self._places = ProperPlaces(schema, executors)

    @property
    def expressions(self) -> Expressions:
        """The engine behind the routes, for expressions that stand elsewhere."""
        return self._expressions

    def load(self, path: Path) -> RouteSet:
        """The routes of the file at ``path``. Raises `ConfigurationError` with every problem."""
        return self.parse(read_file(path), str(path))

    def parse(self, content: bytes, where: str) -> RouteSet:
        """The routes in ``content``; ``where`` is the name of its file. Raises `ConfigurationError`."""
        document = parse(content, where)
        if not isinstance(document.value, Mapping):
            is_empty = document.value is None
            message = "the file is empty" if is_empty else f"the file holds {kind(document.value)}"
            hint = "a file without routes says so: `routes: []`" if is_empty else "begin the file with `routes:`"
            raise ConfigurationError(document.problem("", f"{message}; `routes:` with a list was expected", hint))
        problems = complaints(document, self._file_validator, document.value, "")
        found = document.value.get("routes")
        raws = found if isinstance(found, list) else []
        builders = [self._builder(document, raw, index) for index, raw in enumerate(raws)]
        routes = [routed for builder in builders if (routed := builder.build()) is not None]
        for builder in builders:
            problems.extend(builder.problems)
        problems.extend(_repeated_names(document, raws))
        if not problems:
            problems.extend(_unreachable(document, raws, routes))
        if problems:
            raise ConfigurationError(*sorted(problems, key=_line))
        return RouteSet(routes)

    def builtin(self) -> RouteSet:
        """The routes where there is no file; see `agent.routing.builtin`."""
        return builtin_routes(self.mappings())

    def mappings(self) -> MappingReader:
        """The same for mapping files of Port's own agent; usable until this one is closed."""
        refusal = Refusal(quotes=self._quotes_answers)
        return MappingReader(self._executors, self._expressions, self._default_timeout_s, refusal)

    def close(self) -> None:
        """Ends jq's worker process. Idempotent."""
        self._expressions.close()

    def _builder(self, document: Document, raw: Json, index: int) -> RouteBuilder:
        path = f"routes[{index}]"
        violations = complaints(document, self._route_validator, raw, path, self._places.hint)
        return RouteBuilder(
            document=document,
            raw=as_object(raw),
            path=path,
            executors=self._executors,
            expressions=self._expressions,
            environment=self._environment,
            default_timeout_s=self._default_timeout_s,
            problems=violations,
        )


def _line(problem: Problem) -> int:
    return int(problem.where.rpartition(":")[2])


def _repeated_names(document: Document, raws: list[Json]) -> list[Problem]:
    first: dict[str, str] = {}
    problems: list[Problem] = []
    for index, raw in enumerate(raws):
        name, path = as_object(raw).get("name"), f"routes[{index}].name"
        if not isinstance(name, str):
            continue
        if name in first:
            message = f"the name {name!r} is taken: the route at {first[name]} has it"
            problems.append(document.problem(path, message, "a route's name is unique"))
        first.setdefault(name, document.at(path))
    return problems


def _unreachable(document: Document, raws: list[Json], routes: list[Routed]) -> list[Problem]:
    rules = [Rule(routed.route.match, _condition(raw)) for routed, raw in zip(routes, raws, strict=True)]
    problems: list[Problem] = []
    for later, earlier in shadowed(rules):
        taker = routes[earlier].route
        message = f"is never reached: the route {taker.name!r} before it ({taker.where}) takes all that it matches"
        hint = "put the narrower route first, or give the earlier one a `when`"
        problems.append(document.problem(f"routes[{later}].match", message, hint))
    return problems


def _condition(raw: Json) -> str | None:
    condition = as_object(as_object(raw).get("match")).get("when")
    return condition.strip() if isinstance(condition, str) else None
