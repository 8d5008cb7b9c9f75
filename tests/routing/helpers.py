"""What the tests of this room share: executors that do nothing, messages, and an observer that remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.domain.errors import ConfigurationError
from agent.domain.events import Event
from agent.domain.invocation import Invocation, InvocationKind, InvocationMethod, RunId, Trigger, View
from agent.domain.json import Json, JsonObject
from agent.domain.outcome import Outcome, Succeeded
from agent.domain.route import Template
from agent.ports import Executor, RunContext, TemplateCompiler
from agent.routing.file import RoutesReader
from agent.routing.route_set import RouteSet

SCHEMAS: dict[str, JsonObject] = {
    "http": {
        "type": "object",
        "properties": {
            "method": {"enum": ["GET", "POST"]},
            "url": {"type": "string"},
            "timeout": {"$ref": "#/$defs/duration"},
            "retry": {"type": "integer", "maximum": 10},
            "body": {},
        },
        "additionalProperties": False,
        "$defs": {"duration": {"type": ["number", "string"]}},
    },
    "python": {"type": "object"},
    "process": {
        "type": "object",
        "properties": {
            "command": {"description": "The program.", "type": "array", "items": {"type": "string"}, "minItems": 1},
            "env": {"type": "object", "additionalProperties": {"type": "string"}},
            "shell": {"type": "boolean"},
        },
        "additionalProperties": False,
        "required": ["command"],
    },
}


@dataclass(frozen=True)
class Idle:
    """An executor that does nothing; ``options`` is what it was prepared with."""

    options: Template

    async def execute(self, run: RunContext) -> Outcome:  # noqa: ARG002 - it does nothing
        return Succeeded()

    async def preview(self, view: View) -> JsonObject:
        return {"options": self.options.render(view)}


@dataclass
class FakeExecutors:
    """Two executors: ``http`` has a timeout of its own, ``process`` has none."""

    names: tuple[str, ...] = ("http", "process")
    failure: Exception | None = None
    prepared: list[tuple[str, JsonObject]] = field(default_factory=list)

    def options_schema(self, name: str) -> JsonObject:
        return SCHEMAS[name]

    def prepare(self, name: str, options: JsonObject, path: str, templates: TemplateCompiler) -> Executor:
        if self.failure is not None:
            raise self.failure
        self.prepared.append((name, options))
        return Idle(templates.template(options, path))


@dataclass
class Notes:
    """An observer that remembers."""

    events: list[Event] = field(default_factory=list)

    def notify(self, event: Event) -> None:
        self.events.append(event)


def read(text: str | bytes, environment: dict[str, str] | None = None) -> RouteSet:
    """The routes in ``text``."""
    reader = RoutesReader(FakeExecutors(), environment or {}, jq_timeout_s=10)
    try:
        return reader.parse(text if isinstance(text, bytes) else text.encode(), "routes.yaml")
    finally:
        reader.close()


def problems(text: str | bytes, environment: dict[str, str] | None = None) -> list[str]:
    """What is wrong with ``text``, one line each."""
    try:
        read(text, environment)
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


def invocation(
    action: str | None = "deploy",
    *,
    blueprint: str | None = "service",
    kind: InvocationKind = InvocationKind.ACTION_RUN,
    method: InvocationMethod | None = None,
    inputs: dict[str, Json] | None = None,
) -> Invocation:
    """A message, decoded."""
    return Invocation(
        kind=kind,
        run_id=RunId("r_1"),
        action=action,
        blueprint=blueprint,
        trigger=Trigger(),
        entity=None,
        entity_id=None,
        inputs=inputs or {},
        method=method or InvocationMethod(type="KAFKA"),
        document={},
    )
