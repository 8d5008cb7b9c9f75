"""Templates of a mapping file: every text in it is a jq expression over the message, as in Port's own agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from agent.domain.errors import ConfigurationError, Problem, TemplateError, UnevaluatedError
from agent.domain.invocation import View
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.route import Template
from agent.ports import Encode
from agent.routing.places import item, member
from agent.routing.templates import Constant, Items, Members

_FIRST_ERROR = 400

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
    """

    template: Template

    def render(self, view: View) -> Json:
        """The expression's result, or null. Raises `UnevaluatedError`."""
        try:
            return self.template.render(view)
        except UnevaluatedError:
            raise
        except TemplateError as error:
            view.notes.append(f"{error}; null is sent instead")
            return None


@dataclass(frozen=True, slots=True)
class Broken:
    """An expression that jq cannot compile: it fails for every message."""

    why: str

    def render(self, view: View) -> Json:  # noqa: ARG002 - the same for every message
        """Raises `TemplateError`."""
        raise TemplateError(self.why)


@dataclass(frozen=True, slots=True)
class ObjectOrNothing:
    """A query that is one expression: null adds nothing."""

    template: Template

    def render(self, view: View) -> Json:
        """The expression's result, an empty object for null. Raises `TemplateError`."""
        value = self.template.render(view)
        return {} if value is None else value


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
        """``value`` with its texts as expressions; keys are what they are."""
        match value:
            case str():
                template = self.expression(value, path)
                return ObjectOrNothing(template) if path == member(self.place, "query") else template
            case Mapping():
                pairs = ((Constant(name), self.template(part, member(path, name))) for name, part in value.items())
                return Members(tuple(pairs), path)
            case list():
                return Items(tuple(self.template(part, item(path, index)) for index, part in enumerate(value)))
            case _:
                return Constant(value)

    def beginning(self, text: str) -> tuple[str, bool]:  # noqa: ARG002 - a text is an expression from its beginning
        """Nothing is fixed."""
        return "", False

    def expression(self, source: str, path: str) -> Template:
        """One jq expression."""
        template: Template
        try:
            template = Seen(self.compile(source, path), self.lens)
        except ConfigurationError as error:
            for problem in error.problems:
                self.warn(problem)
            first = error.problems[0]
            template = Broken(f"{first.path or first.where}: {first.message}")
        return Forgiven(template) if self.forgives else template
