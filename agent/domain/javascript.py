"""JSON as JavaScript's ``JSON.stringify`` prints it, which is the text that Port signs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.domain.json import Json, compact

_EXACT_UP_TO = 2**53
"""Up to here JavaScript's numbers hold every integer."""


def stringify(value: Json, *, exact: bool = False) -> str:
    """``value`` without spaces, non-ASCII as it is, lone surrogates escaped, numbers as JavaScript prints them.

    Keys keep their order. ``value`` must hold no NaN and no infinity. ``exact``: integers that JavaScript cannot
    hold are printed digit by digit all the same, for whoever can.
    """
    if _may_differ(value):
        return _printed(value, exact=exact)
    return compact(value)  # ten times faster than printing it ourselves


def number_text(value: float) -> str:
    """A finite number as JavaScript prints it: ``100``, ``0.000001``, ``1e-7``, ``1e+21``.

    Integers that JavaScript cannot hold are rounded as it rounds them, beyond its range to ``null``.
    """
    if isinstance(value, int) and abs(value) <= _EXACT_UP_TO:
        return str(value)
    try:
        number = float(value)
    except OverflowError:
        return "null"
    if number == 0:
        return "0"
    return ("-" if number < 0 else "") + _positive_text(abs(number))


def _may_differ(value: Json) -> bool:
    """Whether Python may print a number in ``value`` in another way than JavaScript."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str) or part is None:
            continue
        if isinstance(part, dict):  # nearly always, and quicker to ask than the abstract class
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)
        elif isinstance(part, float) or (isinstance(part, int) and abs(part) > _EXACT_UP_TO):
            return True
        elif isinstance(part, Mapping):
            pending.extend(part.values())
        elif isinstance(part, Sequence):
            pending.extend(part)
    return False


def _printed(value: Json, *, exact: bool) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value) if exact and isinstance(value, int) else number_text(value)
    if isinstance(value, Mapping):
        members = (f"{compact(key)}:{_printed(item, exact=exact)}" for key, item in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_printed(item, exact=exact) for item in value) + "]"
    return compact(value)


def _positive_text(number: float) -> str:
    """By ECMAScript's Number::toString; Python's shortest digits are the same, only written differently."""
    mantissa, _, exponent = repr(number).partition("e")
    whole, _, fraction = mantissa.partition(".")
    padded = whole + fraction
    significant = padded.lstrip("0")
    point = len(whole) + int(exponent or "0") - (len(padded) - len(significant))
    digits = significant.rstrip("0")
    if not -6 < point <= 21:
        return digits[0] + ("." + digits[1:] if len(digits) > 1 else "") + f"e{point - 1:+d}"
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"
