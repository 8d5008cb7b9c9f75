"""What Port's routes take: JSON Schemas of the request bodies, as its OpenAPI description has them."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from agent.domain.json import Json

Schema = dict[str, Any]

_STRING: Schema = {"type": "string"}
_STRINGS: Schema = {"type": "array", "items": _STRING}
_TERMINAL: Schema = {"type": "string", "enum": ["SUCCESS", "FAILURE"]}
# Port writes \p{L} for letters, which Python's `re` spells as a word character that is no digit and no underscore.
_IDENTIFIER: Schema = {
    "type": "string",
    "pattern": r"^(?!\.{1,2}$)(?:[^\W\d_]|[0-9@_.+:\\/=-])+\Z",
    "maxLength": 1000,
}
_RELATION: Schema = {"anyOf": [_IDENTIFIER, {"type": "array", "items": _IDENTIFIER}, {"type": ["null", "object"]}]}
_NODE_LOGS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"level": {"enum": ["INFO", "WARN", "ERROR", "DEBUG"]}, "message": _STRING},
        "required": ["level", "message"],
        "additionalProperties": False,
    },
}


def _closed(properties: Schema, *required: str) -> Draft202012Validator:
    """An object with these keys and no others."""
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return Draft202012Validator(schema)


ACCESS_TOKEN = _closed({"clientId": _STRING, "clientSecret": _STRING}, "clientId", "clientSecret")

RUN_PATCH = _closed(
    {
        "status": _TERMINAL,
        "statusLabel": _STRING,
        "link": {"oneOf": [_STRING, _STRINGS]},
        "message": {"type": "object"},
        "summary": _STRING,
        "externalRunId": _STRING,
    }
)

RUN_LOG = _closed({"message": _STRING, "terminationStatus": _TERMINAL, "statusLabel": _STRING}, "message")

RUN_RESPONSE = _closed({"response": {"type": ["object", "array", "string"]}}, "response")

_MILLISECONDS: Schema = {"type": "integer", "minimum": 1, "maximum": 600_000}
_CLAIM: Schema = {
    "installationId": {"const": "_PORT_EXEC_AGENT"},
    "limit": {"type": "integer", "minimum": 1},
    "visibilityTimeoutMs": _MILLISECONDS,
}

CLAIM_RUNS = _closed(
    {**_CLAIM, "invocationMethod": {"enum": ["WEBHOOK"]}, "exclude": _STRINGS},
    "installationId",
    "limit",
    "invocationMethod",
)

CLAIM_NODE_RUNS = _closed(_CLAIM, "installationId", "limit")

ACK_RUNS = _closed({"runIds": {**_STRINGS, "minItems": 1}}, "runIds")

ACK_NODE_RUN = _closed({"nodeRunIdentifier": _STRING}, "nodeRunIdentifier")

ENTITY = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "identifier": _IDENTIFIER,
            "title": _STRING,
            "icon": _STRING,
            "team": {"oneOf": [_STRING, _STRINGS, {"type": "object"}]},
            "properties": {"type": "object"},
            "relations": {"type": "object", "additionalProperties": _RELATION},
        },
    }
)

ENTITY_PATCH = _closed(
    {
        "identifier": _IDENTIFIER,
        "title": {"type": ["string", "null"]},
        "icon": {"type": ["string", "null"]},
        "team": {"oneOf": [{"type": ["string", "null"]}, _STRINGS, {"type": "object"}]},
        "properties": {"type": "object", "propertyNames": {"pattern": r"^[A-Za-z0-9@_=\\-]+\Z"}},
        "relations": {"type": "object", "additionalProperties": _RELATION},
    }
)

NODE_RUN_PATCH = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "status": {"enum": ["IN_PROGRESS", "COMPLETED"]},
            "result": {"enum": ["SUCCESS", "FAILED", "CANCELLED"]},
            "output": {"type": "object"},
            "logs": _NODE_LOGS,
            "externalRunId": _STRING,
            "links": _STRINGS,
        },
        "additionalProperties": False,
        "if": {"properties": {"status": {"const": "COMPLETED"}}, "required": ["status"]},
        "then": {"required": ["result"]},
    }
)

NODE_RUN_LOGS = _closed({"logs": _NODE_LOGS}, "logs")

ORGANIZATION = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "name": _STRING,
            "settings": {
                "type": "object",
                "properties": {"portAgentStreamerName": {"enum": ["KAFKA", "POLLING"]}},
            },
        },
        "additionalProperties": False,
    }
)


def first_violation(validator: Draft202012Validator, body: Json) -> str | None:
    """What is wrong with ``body``, worded as Port does (``body/link must …``), or ``None``."""
    for error in validator.iter_errors(body):
        where = "/".join(["body", *map(str, error.absolute_path)])
        return f"{where}: {error.message}"
    return None
