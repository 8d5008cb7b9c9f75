"""Lengths of time as people write them in the routes file: ``30s``, ``10m``, ``1h30m`` or a number of seconds."""

from __future__ import annotations

import re

from agent.domain.json import Json, JsonObject

DURATION_PATTERN = r"^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$"
"""What the text form looks like, for JSON Schemas."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(DURATION_PATTERN)
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_schema(description: str, *, may_be_zero: bool = False) -> JsonObject:
    """The JSON Schema of an option that `parse_duration_s` reads."""
    lower = "minimum" if may_be_zero else "exclusiveMinimum"
    forms: list[Json] = [
        {"type": "number", lower: 0},
        {"type": "string", "pattern": DURATION_PATTERN, "x-expected": "a length of time such as 30s, 10m or 1h30m"},
    ]
    return {"description": description, "anyOf": forms}


def parse_duration_s(value: str | float) -> float:
    """Seconds of ``value``: a number is seconds already. Raises `ValueError` saying what was expected."""
    if isinstance(value, str):
        text = value.strip()
        if not _WHOLE.match(text):
            raise ValueError(f"{value!r} is not a length of time; write 30s, 10m, 1h30m or a number of seconds")
        return sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
    if not 0 <= value < float("inf"):
        raise ValueError(f"{value!r} is not a length of time; it must be a number of seconds from 0 up")
    return float(value)
