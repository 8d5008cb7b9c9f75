"""The JSON Schema (draft 2020-12) of the routes file: for editors, and the first check of a file."""

from __future__ import annotations

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from agent.domain.duration import duration_schema
from agent.domain.errors import ConfigurationError, Problem
from agent.domain.invocation import InvocationKind
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.route import EntityVerb, OnInterrupted
from agent.ports import Executors

_TEXT: JsonObject = {"type": "string", "minLength": 1}
_VARIABLE: JsonObject = {
    "type": "string",
    "pattern": "^[A-Za-z_][A-Za-z0-9_.-]*$",  # hyphens: as in the names of GitLab's projects
    "x-expected": "the name of an environment variable",
}
_TEMPLATE = "Text with {{ jq }} inside; a value that is one expression keeps its type."


FILE_SCHEMA: JsonObject = {
    "title": "Routes of the action agent for Port",
    "description": "Which executor takes which action. The first route that matches an invocation wins.",
    "type": "object",
    "properties": {"routes": {"description": "The routes, in the order in which they are tried.", "type": "array"}},
    "patternProperties": {"^x-": {"description": "Ignored: a place for YAML anchors."}},
    "additionalProperties": False,
    "required": ["routes"],
}
"""The file around the routes."""


def routes_schema(executors: Executors) -> JsonObject:
    """The schema of the whole file, with the options of every registered executor."""
    exactly_one: list[Json] = [{"title": name, "required": [name]} for name in executors.names]
    route: JsonObject = {**route_schema(executors), "oneOf": exactly_one}
    routes = {**as_object(as_object(FILE_SCHEMA["properties"])["routes"]), "items": route}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **FILE_SCHEMA,
        "properties": {"routes": routes},
    }


def check_schemas(executors: Executors) -> None:
    """Raises `ConfigurationError` for every executor whose schema of its options is no JSON Schema."""
    problems: list[Problem] = []
    for name in executors.names:
        try:
            Draft202012Validator.check_schema(executors.options_schema(name))
        except SchemaError as error:
            message = f"the schema of its options is not valid: {error.message}"
            problems.append(Problem(f"executor {name!r}", message, hint="a defect of the executor"))
    if problems:
        raise ConfigurationError(*problems)


def route_schema(executors: Executors) -> JsonObject:
    """The schema of one route, but for the rule that it names exactly one executor."""
    options = {name: _options(name, executors.options_schema(name)) for name in executors.names}
    return {
        "title": "Route",
        "type": "object",
        "properties": {**_route_properties(), **options},
        "additionalProperties": False,
        "required": ["name", "match"],
    }


def _options(name: str, schema: JsonObject) -> JsonObject:
    """An executor's own schema, plus the route's ``timeout`` where the executor has none of that name.

    An identifier of its own keeps references inside of it working.
    """
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    if not takes_route_timeout(schema):
        return {"$id": f"urn:action-agent:executor:{name}", **schema}
    return {
        "$id": f"urn:action-agent:executor:{name}",
        **schema,
        "properties": {
            **known,
            "timeout": duration_schema("How long a run may take; the same as the route's timeout."),
        },
    }


def takes_route_timeout(schema: JsonObject) -> bool:
    """Whether ``timeout`` among an executor's options means the route's: not if the executor has its own."""
    properties = schema.get("properties")
    return not (isinstance(properties, dict) and "timeout" in properties)


def _route_properties() -> dict[str, Json]:
    return {
        "name": {
            "description": "The route's name in logs, metrics and on the status page. Unique.",
            "type": "string",
            "pattern": r"^[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,98}[^\s\x00-\x1f\x7f])?$",
            "x-expected": "a name of 1 to 100 printable characters",
        },
        "match": _match(),
        "timeout": duration_schema("How long a run may take, e.g. 30s, 10m, 1h30m; then it is stopped and fails."),
        "max_concurrent": {
            "description": "How many runs of this route may be under way at once.",
            "type": "integer",
            "minimum": 1,
        },
        "key": {
            "description": "Runs whose keys are equal run one after another, in their order. " + _TEMPLATE,
            "type": "string",
            "minLength": 1,
        },
        "decrypt": {
            "description": "Dot paths, from the message's root, of encrypted values the message does not list.",
            "type": "array",
            "items": {
                "type": "string",
                "pattern": r"^[^.\s*]+(\.[^.\s*]+)*$",
                "x-expected": "a dot path such as payload.properties.token, without a leading dot or wildcards",
            },
        },
        "env": {
            "description": "Environment variables of the agent that this route's expressions may read as env.NAME.",
            "type": "array",
            "items": _VARIABLE,
        },
        "secrets": {
            "description": "Environment variables whose values are masked in everything that runs say.",
            "type": "array",
            "items": _VARIABLE,
        },
        "entities": {
            "description": "Catalogue entities that are written, tied to the run, once the work is done.",
            "type": "array",
            "items": _entity(),
        },
        "report": _report(),
        "on_interrupted": {
            "description": "What becomes of a run that had started when its agent died.",
            "enum": [str(word) for word in OnInterrupted],
        },
        "max_attempts": {
            "description": "With on_interrupted: rerun, how often a run may start in all.",
            "type": "integer",
            "minimum": 1,
            "maximum": 100,
        },
        "traceback": {
            "description": "Put the traceback of an exception in the run's log.",
            "type": "boolean",
        },
    }


def _match() -> JsonObject:
    return {
        "description": "Which invocations the route is for: all of these must hold.",
        "type": "object",
        "properties": {
            "action": _patterns("The action's identifier: exact, a glob such as deploy_*, or a list of these."),
            "blueprint": _patterns("The blueprint's identifier: exact, a glob, or a list of these."),
            "type": _patterns("The invocation method's type, e.g. KAFKA, WEBHOOK, GITLAB; a glob, or a list."),
            "kind": {
                "description": "What Port asks for.",
                "anyOf": [_kind(), {"type": "array", "items": _kind(), "minItems": 1}],
            },
            "when": {"description": "A jq condition; matches where it gives true.", **_TEXT},
        },
        "additionalProperties": False,
        "minProperties": 1,
    }


def _kind() -> JsonObject:
    return {"type": "string", "enum": [str(kind) for kind in InvocationKind]}


def _patterns(description: str) -> JsonObject:
    return {"description": description, "anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}


def _entity() -> JsonObject:
    return {
        "type": "object",
        "properties": {
            "blueprint": {"description": "The entity's blueprint. " + _TEMPLATE, **_TEXT},
            "identifier": {"description": "The entity's identifier. " + _TEMPLATE, **_TEXT},
            "title": {"description": _TEMPLATE, "type": "string"},
            "properties": _values("Properties to set."),
            "relations": _values("Relations to set."),
            "team": {"description": "One team or a list of teams.", "type": ["string", "array", "null"]},
            "icon": {"description": _TEMPLATE, "type": "string"},
            "verb": {
                "description": "upsert creates or merges, patch changes an existing entity, delete removes it.",
                "enum": [str(verb) for verb in EntityVerb],
            },
            "when": {"description": "A jq condition; the entity is written where it gives true.", **_TEXT},
            "on": {
                "description": "After which outcomes the entity is written; without it, after success.",
                "anyOf": [_outcome(), {"type": "array", "items": _outcome(), "minItems": 1}],
            },
        },
        "additionalProperties": False,
        "required": ["blueprint"],
        "if": {"properties": {"verb": {"enum": ["patch", "delete"]}}, "required": ["verb"]},
        "then": {"required": ["identifier"]},
    }


def _outcome() -> JsonObject:
    return {"type": "string", "enum": ["success", "failure", "always"]}


def _values(description: str) -> JsonObject:
    return {
        "description": f"{description} An object, or one {{{{ jq }}}} that gives one.",
        "type": ["object", "string"],
    }


def _report() -> JsonObject:
    texts = {
        "summary": "The run's summary.",
        "status_label": "The text beside the run's status.",
        "external_run_id": "The other side's id of the run.",
        "status": "SUCCESS or FAILURE, where the response decides.",
    }
    link: JsonObject = {"description": "A link, or a list of links. " + _TEMPLATE, "type": ["string", "array"]}
    return {
        "description": "What Port is told afterwards, from .response, .request and .outputs.",
        "type": "object",
        "properties": {
            "link": {**link, "items": {"type": "string"}},
            **{name: {"description": f"{text} {_TEMPLATE}", "type": "string"} for name, text in texts.items()},
        },
        "additionalProperties": False,
    }
