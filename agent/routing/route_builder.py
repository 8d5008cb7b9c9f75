"""Builds one route of the file: compiles its templates, prepares its executor, collects what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.domain.duration import parse_duration_s
from agent.domain.errors import ConfigurationError, Problem
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.route import (
    DEFAULT_ATTEMPTS,
    EntityRule,
    EntityVerb,
    Match,
    OnInterrupted,
    ReportRule,
    Route,
    Template,
)
from agent.ports import Executor, Executors, Routed
from agent.routing.complaints import did_you_mean
from agent.routing.document import Document
from agent.routing.expressions import Expressions, RouteTemplates
from agent.routing.jq_names import AFTER_THE_WORK, BEFORE_THE_WORK
from agent.routing.jq_paths import parse_path
from agent.routing.places import item, member
from agent.routing.schema import takes_route_timeout
from agent.routing.templates import Constant, Members

_OWN_SECRET = "PORT_CLIENT_SECRET"  # noqa: S105 - the variable's name
_ENTITY_BODY = ("blueprint", "identifier", "title", "properties", "relations", "team", "icon")
_NAMES = frozenset({"blueprint", "identifier"})
_REPORT_KEYS = ("link", "summary", "status_label", "external_run_id", "status")
_FREE_TEXT = frozenset({"summary", "status_label"})


@dataclass
class RouteBuilder:
    """One route on its way from the file; ``problems`` begins with the violations of the schema."""

    document: Document
    raw: JsonObject
    path: str
    executors: Executors
    expressions: Expressions
    environment: Mapping[str, str]
    default_timeout_s: float
    problems: list[Problem]

    def build(self) -> Routed | None:
        """The route with its executor; ``None`` if there are problems. To be called once."""
        executor_name = self._executor_name()
        if self.problems or executor_name is None:
            return None
        templates = self.expressions.for_route(self._names("env"), BEFORE_THE_WORK)
        self._check_variables()
        options, timeout_s = self._options(executor_name)
        route = self._route(executor_name, options, timeout_s, templates)
        executor = self._prepare(executor_name, options, templates)
        return None if self.problems or executor is None else Routed(route, executor)

    def _executor_name(self) -> str | None:
        """The one executor that the route names, or ``None`` and a problem."""
        known = self.executors.names
        named = [name for name in known if name in self.raw]
        if len(named) == 1:
            return named[0]
        if named:
            self._problem(self.path, f"names {len(named)} executors ({', '.join(named)}); exactly one is expected")
        elif self.raw and not any("unknown key" in problem.message for problem in self.problems):
            self._problem(self.path, f"names no executor; one of {', '.join(known)} is expected")
        return None

    def _route(self, executor_name: str, options: JsonObject, timeout_s: float, templates: RouteTemplates) -> Route:
        raw = self.raw
        afterwards = self.expressions.for_route(self._names("env"), AFTER_THE_WORK)
        limit, attempts = raw.get("max_concurrent"), raw.get("max_attempts")
        return Route(
            name=str(raw["name"]),
            match=self._match(templates),
            executor=executor_name,
            options=options,
            timeout_s=timeout_s,
            max_concurrent=limit if isinstance(limit, int) else None,
            key=self._template(templates, raw, self.path, "key", reads_paths=True, is_name=True),
            decrypt=self._names("decrypt"),
            secrets=self._names("secrets"),
            entities=self._entities(afterwards),
            report=self._report(afterwards),
            on_interrupted=OnInterrupted(str(raw.get("on_interrupted", OnInterrupted.FAIL))),
            max_attempts=attempts if isinstance(attempts, int) else DEFAULT_ATTEMPTS,
            traceback=raw.get("traceback") is True,
            where=self.document.at(self.path),
        )

    def _match(self, templates: RouteTemplates) -> Match:
        raw, path = as_object(self.raw["match"]), member(self.path, "match")
        return Match(
            actions=_texts(raw.get("action")),
            blueprints=_texts(raw.get("blueprint")),
            types=tuple(text.upper() for text in _texts(raw.get("type"))),
            kinds=_texts(raw.get("kind")),
            when=self._condition(templates, raw, path),
        )

    def _entities(self, templates: RouteTemplates) -> tuple[EntityRule, ...]:
        entities = self.raw.get("entities")
        path = member(self.path, "entities")
        return tuple(
            self._entity(templates, as_object(raw), item(path, index))
            for index, raw in enumerate(entities if isinstance(entities, list) else [])
        )

    def _entity(self, templates: RouteTemplates, raw: JsonObject, path: str) -> EntityRule:
        parts = {
            name: self._template(
                templates, raw, path, name, reads_paths=name in _NAMES, is_name=name == "identifier"
            )
            for name in _ENTITY_BODY
        }
        body = Members(tuple((Constant(name), part) for name, part in parts.items() if part is not None), path)
        when = self._condition(templates, raw, path)
        verb = EntityVerb(str(raw.get("verb", EntityVerb.UPSERT)))
        return EntityRule(body, verb, when, on=frozenset(_texts(raw.get("on", "success"))))

    def _report(self, templates: RouteTemplates) -> ReportRule:
        raw, path = as_object(self.raw.get("report")), member(self.path, "report")
        return ReportRule(
            **{
                name: self._template(templates, raw, path, name, reads_paths=name not in _FREE_TEXT)
                for name in _REPORT_KEYS
            }
        )

    def _options(self, executor_name: str) -> tuple[JsonObject, float]:
        """The executor's own options, and how long a run may take in seconds."""
        options = dict(as_object(self.raw[executor_name]))
        places = {self.path: self.raw.get("timeout")}
        if takes_route_timeout(self.executors.options_schema(executor_name)):
            places[member(self.path, executor_name)] = options.pop("timeout", None)
        given = {member(path, "timeout"): value for path, value in places.items() if value is not None}
        if len(given) > 1:
            first, second = given
            self._problem(second, f"the run's timeout is given twice, here and as {first}", "leave one of them out")
        timeout_s = self.default_timeout_s
        for path, value in given.items():
            timeout_s = parse_duration_s(value) if isinstance(value, str | int | float) else timeout_s
            if timeout_s <= 0:
                self._problem(path, "must be more than 0")
        return options, timeout_s

    def _prepare(self, name: str, options: JsonObject, templates: RouteTemplates) -> Executor | None:
        path = member(self.path, name)
        try:
            return self.executors.prepare(name, options, path, templates)
        except ConfigurationError as error:
            self._take(error, path)
        except Exception as error:  # noqa: BLE001 - a stranger's executor must not take the other routes along
            self._problem(path, f"the executor {name!r} cannot be prepared: {type(error).__name__}: {error}")
        return None

    def _check_variables(self) -> None:
        for index, name in enumerate(self._names("secrets")):
            if name not in self.environment:
                path = item(member(self.path, "secrets"), index)
                close = did_you_mean(name, sorted(self.environment))
                hint = close if close.startswith("did") else "a secret that is not there cannot be masked"
                self._problem(path, f"the environment has no variable {name}", hint)
        for index, name in enumerate(self._names("env")):
            if name == _OWN_SECRET:
                path = item(member(self.path, "env"), index)
                self._problem(path, f"{name} is the agent's own and not given to routes")

    def _condition(self, templates: RouteTemplates, raw: JsonObject, path: str) -> Template | None:
        source = raw.get("when")
        if not isinstance(source, str):
            return None
        place = member(path, "when")
        return self._compiled(place, lambda: templates.expression(source, place))

    def _template(
        self,
        templates: RouteTemplates,
        raw: JsonObject,
        path: str,
        name: str,
        *,
        reads_paths: bool,
        is_name: bool = False,
    ) -> Template | None:
        if raw.get(name) is None:
            return None
        if reads_paths:
            self._warn_of_bare_path(raw, path, name)
        place = member(path, name)
        return self._compiled(place, lambda: templates.template(raw[name], place, is_name=is_name))

    def _warn_of_bare_path(self, raw: JsonObject, path: str, name: str) -> None:
        """A jq path without its braces would be taken for text, and nobody would notice."""
        value = raw.get(name)
        if isinstance(value, str) and value.startswith(".") and parse_path(value):
            message = f"{value!r} is text here, not an expression"
            self._problem(member(path, name), message, f'write "{{{{ {value} }}}}"')

    def _compiled(self, path: str, compile_it: Callable[[], Template]) -> Template | None:
        try:
            return compile_it()
        except ConfigurationError as error:
            self._take(error, path)
            return None

    def _take(self, error: ConfigurationError, path: str) -> None:
        """Adopts problems that know their place in the document, but not their file and line."""
        for problem in error.problems:
            place = problem.path or problem.where
            if place.startswith(self.path):
                self._problem(place, problem.message, problem.hint)
            else:
                self._problem(path, f"{place}: {problem.message}" if place else problem.message, problem.hint)

    def _problem(self, path: str, message: str, hint: str = "") -> None:
        self.problems.append(self.document.problem(path, message, hint))

    def _names(self, key: str) -> tuple[str, ...]:
        return _texts(self.raw.get(key))


def _texts(value: Json) -> tuple[str, ...]:
    """One text, or a list of them, as the schema allows both; nothing for anything else."""
    if isinstance(value, str):
        return (value,)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()
