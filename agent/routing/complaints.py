"""Turns violations of a JSON Schema into problems that a person understands, each with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from agent.domain.errors import Problem
from agent.domain.json import Json, as_object, compact
from agent.routing.document import Document
from agent.routing.places import item, member
from agent.routing.templates import kind

Places = Callable[[Sequence[str | int], str], str]
"""Where a key belongs that is unknown at a path inside of the value, as a hint; empty text where nobody knows."""


def _nowhere(path: Sequence[str | int], name: str) -> str:  # noqa: ARG001 - one of `Places`
    return ""


_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object (key: value)",
    "array": "a list",
    "null": "null",
}
_BOOLEAN_WORDS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_SHOWN_CHARS = 60


def complaints(
    document: Document, validator: Draft202012Validator, value: Json, path: str, places: Places = _nowhere
) -> list[Problem]:
    """Every violation of the validator's schema by ``value``, which stands at ``path``."""
    problems = [p for error in validator.iter_errors(value) for p in _translate(document, error, path, places)]
    return list(dict.fromkeys(problems))


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint with the known word that is closest to ``word``, or all of them where none is close."""
    close = get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"known here: {', '.join(known)}" if known else ""


def _translate(document: Document, error: ValidationError, base: str, places: Places) -> Iterator[Problem]:
    path = base
    for step in error.relative_path:
        path = item(path, step) if isinstance(step, int) else member(path, step)
    rule = str(error.validator)
    if rule in ("anyOf", "oneOf") and error.context:
        yield from _alternatives(document, error, path, places)
    elif rule in ("additionalProperties", "unevaluatedProperties"):
        yield from _unknown_keys(document, error, path, places)
    elif rule == "required":
        names: Any = error.validator_value
        missing = [name for name in names if name not in as_object(_value(error))]
        yield from (document.problem(path, f"`{name}` is missing", _described(error, name)) for name in missing)
    else:
        message, hint = _sentence(rule, error)
        yield document.problem(path, message, hint)


def _alternatives(document: Document, error: ValidationError, path: str, places: Places) -> Iterator[Problem]:
    """The complaint about the alternative that was meant, as far as the value's type tells."""
    branches: dict[int, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(int(inner.relative_schema_path[0]), []).append(inner)
    meant = [errors for errors in branches.values() if not any(_is_type_error(e, error) for e in errors)]
    if meant:
        for inner in min(meant, key=len):
            yield from _translate(document, inner, path, places)
        return
    wanted = dict.fromkeys(t for errors in branches.values() for e in errors for t in _types(e))
    yield document.problem(
        path, f"must be {' or '.join(wanted)}, not {_shown(_value(error))}", _boolean_hint(error)
    )


def _unknown_keys(document: Document, error: ValidationError, path: str, places: Places) -> Iterator[Problem]:
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    known = [str(name) for name in schema.get("properties", {})]
    for name in as_object(_value(error)):
        if repr(name) in error.message:  # the only place where the library says which keys it means
            hint = places(list(error.relative_path), name) or did_you_mean(name, known)
            yield document.problem(member(path, name), f"unknown key `{name}`", hint)


def _sentence(rule: str, error: ValidationError) -> tuple[str, str]:
    """What is wrong and a hint, for the rules that concern one value."""
    limit: Any = error.validator_value
    value = _value(error)
    shown = _shown(value)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    match rule:
        case "type":
            return f"must be {' or '.join(_types(error))}, not {shown}", _boolean_hint(error)
        case "enum":
            words = [str(word) for word in limit]
            hint = did_you_mean(value, words) if isinstance(value, str) else ""
            return f"must be {' or '.join(words)}, not {shown}", hint if hint.startswith("did") else ""
        case "const":
            return f"must be {compact(limit)}, not {shown}", ""
        case "pattern" | "format":
            expected = schema.get("x-expected") or f"text that fits {limit}"
            return f"must be {expected}, not {shown}", ""
        case _:
            say = _LIMITS.get(rule)
            return (say(limit), "") if say is not None else (f"does not fit: {error.message[:200]}", "")


_LIMITS: Mapping[str, Callable[[object], str]] = {
    "minimum": lambda limit: f"must be at least {limit}",
    "maximum": lambda limit: f"must be at most {limit}",
    "exclusiveMinimum": lambda limit: f"must be more than {limit}",
    "exclusiveMaximum": lambda limit: f"must be less than {limit}",
    "minLength": lambda limit: "must not be empty" if limit == 1 else f"must have at least {limit} characters",
    "maxLength": lambda limit: f"must have at most {limit} characters",
    "minItems": lambda limit: "must not be empty" if limit == 1 else f"must have at least {limit} items",
    "maxItems": lambda limit: f"must have at most {limit} items",
    "uniqueItems": lambda _: "must not repeat an item",
    "oneOf": lambda _: "fits more than one of the alternatives",
    "minProperties": lambda limit: "must not be empty" if limit == 1 else f"must have at least {limit} keys",
}


def _value(error: ValidationError) -> Json:
    return cast("Json", error.instance)


def _types(error: ValidationError) -> list[str]:
    if error.validator != "type":
        return []
    value: Any = error.validator_value
    return [_TYPES.get(name, name) for name in ([value] if isinstance(value, str) else value)]


def _is_type_error(inner: ValidationError, outer: ValidationError) -> bool:
    return inner.validator == "type" and len(inner.relative_path) == 0 and inner.instance is outer.instance


def _boolean_hint(error: ValidationError) -> str:
    value = _value(error)
    word = _BOOLEAN_WORDS.get(value.lower()) if isinstance(value, str) else None
    return f"write {word}" if word is not None and "true or false" in _types(error) else ""


def _described(error: ValidationError, name: str) -> str:
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    described = schema.get("properties", {}).get(name, {})
    text = str(described.get("description", "")) if isinstance(described, Mapping) else ""
    return text.partition(". ")[0].rstrip(".")


def _shown(value: Json) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return compact(value) if value is None or isinstance(value, bool) else kind(value)
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"
