"""Bytes to JSON, strictly: what is accepted here can be printed, signed and read by any other JSON parser."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Never

from agent.domain.errors import AgentError
from agent.domain.json import Json

DEFAULT_MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 128
"""Levels of nesting; far above any real message, far below what recursive readers further on can bear."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]


class UndecodableError(AgentError):
    """The bytes are not a message; the text says why and quotes nothing of them."""


def parse(body: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> tuple[str, Json]:
    """The text of ``body`` and the object or array that it holds.

    Of equal keys the last wins. Raises `UndecodableError` for everything else: not UTF-8, not JSON, a bare
    scalar, numbers that JSON cannot print again, nesting below `MAX_DEPTH`, more than ``max_bytes``.
    """
    if len(body) > max_bytes:
        raise UndecodableError(f"the message has {len(body)} bytes, more than AGENT_MAX_MESSAGE_BYTES={max_bytes}")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UndecodableError(f"the message is not UTF-8 at byte {error.start}") from None
    document = _document(text)
    if not isinstance(document, dict | list):
        raise UndecodableError("the message is a bare JSON scalar, not an object or array")
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        raise UndecodableError(f"the message is nested deeper than {MAX_DEPTH} levels")
    return text, document


def _document(text: str) -> Json:
    try:
        document: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise UndecodableError(f"the message is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError:  # Python's own bound on the digits of an integer
        raise UndecodableError("the message holds an integer with too many digits") from None
    except RecursionError:
        raise UndecodableError(f"the message is nested deeper than {MAX_DEPTH} levels") from None
    return document


def _depth(body: bytes) -> int:
    """How deep the JSON in ``body`` is nested; counts its brackets, for to walk millions of lists takes seconds."""
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    return max(accumulate(_STEPS[bracket] for bracket in brackets))


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise UndecodableError("the message holds a number that is too large")
    return number


def _refuse_constant(name: str) -> Never:
    raise UndecodableError(f"the message holds {name}, which is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)
