"""What a JSON value is, and how one becomes the text that Port's string fields want."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]


_PRINTER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
"""`json.dumps` would make one for each value."""


def compact(value: Json) -> str:
    """The shortest JSON text of ``value``: no spaces, non-ASCII as it is (what ``JSON.stringify`` prints).

    Lone surrogates, which UTF-8 cannot carry, come out escaped; numbers as Python prints them.
    """
    text = _PRINTER.encode(value)
    return text if _is_encodable(text) else _escape_surrogates(text)


def as_text(value: Json) -> str:
    """``value`` as Port's string fields want it: strings stay, everything else becomes compact JSON.

    Port refuses a number or object in ``link``, ``summary`` or ``externalRunId`` with 422.
    """
    return value if isinstance(value, str) else compact(value)


def as_object(value: Json) -> JsonObject:
    """``value`` if it is an object, else an empty one: for reading optional nested keys of strangers' text."""
    if isinstance(value, dict):  # nearly always, and three times quicker to ask than the abstract class
        return value
    return value if value is not None and isinstance(value, Mapping) else {}


def as_flag(value: Json) -> bool:
    """Whether ``value`` means yes: ``true`` or the string "true"; Port templates flags, so both forms arrive."""
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def texts_in(value: Json) -> Iterator[str]:
    """Every text in ``value``, at any depth; not the names of its members."""
    match value:
        case str():
            yield value
        case Mapping():
            for part in value.values():
                yield from texts_in(part)
        case Sequence():
            for part in value:
                yield from texts_in(part)
        case _:
            return


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape_surrogates(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)
