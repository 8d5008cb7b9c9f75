"""What strangers' schemas may demand, said in words."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from agent.domain.duration import duration_schema
from agent.domain.json import Json, JsonObject
from agent.routing.complaints import complaints
from agent.routing.document import Document


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"const": "v1"}, "v2", "must be \"v1\", not 'v2'"),
        ({"enum": ["a", 1]}, None, "must be a or 1, not null"),
        ({"enum": ["a", "b"]}, "zzz", "must be a or b, not 'zzz'"),
        ({"type": ["string", "null"]}, True, "must be text or null, not true"),
        ({"type": "boolean"}, "ON", "must be true or false, not 'ON' (write true)"),
        ({"pattern": "^a"}, "b", "must be text that fits ^a, not 'b'"),
        (
            duration_schema("How long."),
            "x" * 99,
            f"must be a length of time such as 30s, 10m or 1h30m, not '{'x' * 59}…",
        ),
        ({"exclusiveMaximum": 5}, 5, "must be less than 5"),
        ({"maximum": 5}, 6, "must be at most 5"),
        ({"minLength": 2}, "a", "must have at least 2 characters"),
        ({"maxLength": 2}, "abc", "must have at most 2 characters"),
        ({"minItems": 2}, [1], "must have at least 2 items"),
        ({"maxItems": 1}, [1, 2], "must have at most 1 items"),
        ({"uniqueItems": True}, [1, 1], "must not repeat an item"),
        ({"minProperties": 2}, {"a": 1}, "must have at least 2 keys"),
        ({"multipleOf": 2}, 3, "does not fit: 3 is not a multiple of 2"),
        ({"oneOf": [{"minimum": 1}, {"maximum": 9}]}, 5, "fits more than one of the alternatives"),
        ({"anyOf": [{"type": "string"}, {"type": "array"}]}, 5, "must be text or a list, not 5"),
        ({"anyOf": [{"type": "array"}, {"type": "string", "minLength": 1}]}, "", "must not be empty"),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "array"}}}, {}, "must be a list, not an object"),
        ({"allOf": [{"type": "object"}, {"required": ["a"]}]}, {}, "`a` is missing"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "does not fit: 'b' is a dependency of 'a'"),
        ({"if": {"const": 1}, "then": {"const": 2}}, 1, "must be 2, not 1"),
    ],
)
def test_one_rule(schema: JsonObject, value: Json, message: str) -> None:
    document = Document("f.yaml", value, {})
    told = complaints(document, Draft202012Validator(dict(schema)), value, "routes[0].x")
    assert [str(problem) for problem in told] == [f"f.yaml:1: routes[0].x: {message}"]


def test_alternatives_of_a_nested_value_keep_their_place() -> None:
    either: JsonObject = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    schema = {"allOf": [{"properties": {"x": {}}}], "properties": {"notes": either}, "unevaluatedProperties": False}
    value: Json = {"notes": ["a", 5], "note": 1, "x": 1}
    document = Document("f.yaml", value, {"r.notes": 3, "r.notes[1]": 4, "r.note": 5})
    told = complaints(document, Draft202012Validator(schema), value, "r")
    assert sorted(str(problem) for problem in told) == [
        "f.yaml:4: r.notes[1]: must be text, not 5",
        "f.yaml:5: r.note: unknown key `note` (did you mean notes?)",
    ]
