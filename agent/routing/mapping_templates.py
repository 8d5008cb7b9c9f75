"""Templates of a mapping file: every text in it is a jq expression over the message, as in Port's own agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl

from agent.domain.errors import ConfigurationError, Problem, TemplateError, UnevaluatedError
from agent.domain.invocation import View
from agent.domain.json import Json, JsonObject, as_object, as_text
from agent.domain.route import Template
from agent.net.headers import CONNECTION_HEADERS
from agent.ports import Encode
from agent.routing.jq_tokens import tokenize
from agent.routing.places import item, member
from agent.routing.templates import Constant, Items, Members, kind

_FIRST_ERROR = 400
_PAIR = 2

Compile: TypeAlias = Callable[[str, str], Template]
"""Compiles one bare jq source that stands at a place; raises `ConfigurationError`."""


def the_message(view: JsonObject) -> JsonObject:
    """What expressions see before the request: the message."""
    return as_object(view.get("message"))


def the_exchange(view: JsonObject) -> JsonObject:
    """What report expressions see: the message as ``body``, what was sent, and what came back."""
    return {"body": view.get("message"), "request": view.get("request"), "response": view.get("response")}


@dataclass(frozen=True, slots=True)
class Seen:
    """An expression that is given another document than the view: ``lens`` makes it."""

    template: Template
    lens: Callable[[JsonObject], JsonObject]

    def render(self, view: View) -> Json:
        """The expression's result. Raises `TemplateError`."""
        return self.template.render(view.seen_through(self.lens))


@dataclass(frozen=True, slots=True)
class Forgiven:
    """An expression that is null where it fails, which the run's log is told: so mapping files are read.

    One that was not evaluated, for time or memory, is not forgiven: nobody knows what it would have said.
    ``instead``: what becomes of the null, in words.
    """

    template: Template
    instead: str

    def render(self, view: View) -> Json:
        """The expression's result, or null. Raises `UnevaluatedError`."""
        try:
            return self.template.render(view)
        except UnevaluatedError:
            raise
        except TemplateError as error:
            view.notes.append(f"{error}; {self.instead}")
            return None


@dataclass(frozen=True, slots=True)
class Broken:
    """An expression that jq cannot compile: it fails for every message."""

    why: str

    def render(self, view: View) -> Json:  # noqa: ARG002 - the same for every message
        """Raises `TemplateError`."""
        raise TemplateError(self.why)


@dataclass(frozen=True, slots=True)
class HeaderTexts:
    """Headers, whose values must be texts; as in Port's own agent, but that the run is told of others.

    Those that belong to the connection are left out, which the run's log is told.
    """

    template: Template
    path: str

    def render(self, view: View) -> Json:
        """The headers. Raises `TemplateError` for one that is no text, or begins with white space."""
        headers = self.template.render(view)
        if not isinstance(headers, Mapping):
            return headers
        given = {name: value for name, value in headers.items() if value is not None}
        for name in [name for name in given if name.lower() in CONNECTION_HEADERS]:
            view.notes.append(f"{self.path}: header {name} is left out, for it is part of the connection")
            del given[name]
        for name, value in given.items():
            if not isinstance(value, str):
                raise TemplateError(f"{self.path}: header {name} came out as {kind(value)}; add `| tostring`")
            if value[:1].isspace():
                raise TemplateError(f"{self.path}: the value of header {name} begins with white space")
        return given


@dataclass(frozen=True, slots=True)
class QueryValues:
    """A query as Port's own agent reads it: also a text ``a=1&b=2``, a list of pairs, and nothing.

    True and false become ``True`` and ``False``, with which receivers have learnt to live.
    """

    template: Template

    def render(self, view: View) -> Json:
        """The query as an object; what can be none as it is. Raises `TemplateError`."""
        value = self.template.render(view)
        if not value:
            return {}
        pairs: Iterable[tuple[str, Json]]
        match value:
            case str():
                pairs = parse_qsl(value, keep_blank_values=True)
            case Mapping():
                pairs = value.items()
            case list() if all(isinstance(pair, list) and len(pair) == _PAIR for pair in value):
                pairs = [(as_text(name), part) for name, part in value]
            case _:
                return value
        query: dict[str, list[Json]] = {}
        for name, part in pairs:
            items = part if isinstance(part, list) else [part]
            query.setdefault(name, []).extend(map(_capital, items))
        return {name: items if len(items) > 1 else items[0] for name, items in query.items() if items}


def _capital(value: Json) -> Json:
    return str(value) if isinstance(value, bool) else value


@dataclass(frozen=True, slots=True)
class Refusal:
    """The summary of a run whose target answered with an error, in the words of Port's own agent.

    They stand in automations and searches. ``quotes``: whether the answer's text may be shown.
    """

    quotes: bool = True

    def render(self, view: View) -> str | None:
        """The summary; ``None`` where there was no such answer."""
        response = as_object(view.value.get("response"))
        status = response.get("statusCode")
        if not isinstance(status, int) or status < _FIRST_ERROR:
            return None
        quoted = f" Response: {response.get('text')}" if self.quotes else ""
        return f"Failed to invoke the webhook with status code: {status}.{quoted}"


@dataclass(frozen=True, slots=True)
class MappingTemplates:
    """Implements `agent.ports.TemplateCompiler` for one mapping, so that the http executor can take it for a route.

    A file that Port's own agent reads must not keep this one from starting: an expression that cannot be compiled
    is told to ``warn`` and fails for each message. ``place`` is where the mapping stands; ``forgives``: failing
    means null.
    """

    compile: Compile
    warn: Callable[[Problem], None]
    place: str
    lens: Callable[[JsonObject], JsonObject] = the_message
    forgives: bool = True

    def template(
        self,
        value: Json,
        path: str,
        *,
        encode: Encode | None = None,  # noqa: ARG002 - an expression's result is taken as it is
        is_name: bool = False,  # noqa: ARG002 - there is no text around an expression
    ) -> Template:
        """``value`` with its texts as expressions; keys are what they are.

        Members that are objects with nothing in them are left out, as Port's own agent does.
        """
        template: Template
        if isinstance(value, Mapping) and path in (member(self.place, "headers"), member(self.place, "query")):
            value = {name: as_source(part) for name, part in value.items()}
        match value:
            case str():
                template = self.expression(value, path)
            case Mapping():
                pairs = (
                    (Constant(name), self.template(part, member(path, name)))
                    for name, part in value.items()
                    if not is_hollow(part)
                )
                template = Members(tuple(pairs), path)
            case list():
                template = Items(tuple(self.template(part, item(path, index)) for index, part in enumerate(value)))
            case _:
                template = Constant(value)
        if path == member(self.place, "headers"):
            return HeaderTexts(template, path)
        return QueryValues(template) if path == member(self.place, "query") else template

    def beginning(self, text: str) -> tuple[str, bool]:  # noqa: ARG002 - a text is an expression from its beginning
        """Nothing is fixed."""
        return "", False

    def expression(self, source: str, path: str) -> Template:
        """One jq expression; before the request an empty one is jq's ``.``."""
        template: Template
        if self.forgives and not any(tokenize(source)):
            source = "."
        try:
            template = Seen(self.compile(source, path), self.lens)
        except ConfigurationError as error:
            for problem in error.problems:
                self.warn(problem)
            first = error.problems[0]
            template = Broken(f"{first.path or first.where}: {first.message}")
        return Forgiven(template, self._instead(path)) if self.forgives else template

    def _instead(self, path: str) -> str:
        """What becomes of a null at ``path``."""
        if path.startswith((member(self.place, "headers"), member(self.place, "query"))):
            return "it is left out"
        is_needed = path in (member(self.place, "method"), member(self.place, "url"))
        return "it counts as null" if is_needed else "null is sent instead"


def as_source(part: Json) -> Json:
    """Headers and parameters are expressions even where the file has a number, or true, which jq does not know."""
    return str(part) if isinstance(part, int | float) else part


def is_hollow(value: Json) -> bool:
    """Whether it is an object with nothing in it but such objects; these are left out of what is sent."""
    return isinstance(value, Mapping) and all(map(is_hollow, value.values()))
