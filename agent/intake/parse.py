"""Bytes to JSON, strictly: what is accepted here can be printed, signed and read by any other JSON parser."""

from __future__ import annotations

import json
import math
from typing import Never

from agent.domain.errors import AgentError
from agent.domain.json import Json

DEFAULT_MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 128
"""Levels of nesting; far above any real message, far below what recursive readers further on can bear."""


class UndecodableError(AgentError):
    """The bytes are not a message; the text says why and quotes nothing of them."""


def parse(body: bytes, max_bytes: int = DEFAULT_MAX_BYTES) -> tuple[str, Json]:
    """The text of ``body`` and the object or array that it holds.

    Of equal keys the last wins. Raises `UndecodableError` for everything else: not UTF-8, not JSON, a bare
    scalar, numbers that JSON cannot print again, nesting below `MAX_DEPTH`, more than ``max_bytes``.
    """
    if len(body) > max_bytes:
        raise UndecodableError(f"the message has {len(body)} bytes, more than the {max_bytes} that are read")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise UndecodableError(f"the message is not UTF-8 at byte {error.start}") from None
    document = _document(text)
    if not isinstance(document, dict | list):
        raise UndecodableError("the message is a bare JSON scalar, not an object or array")
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_deep(document):
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


def _is_deep(document: Json) -> bool:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _containers(node)]
        if not level:
            return False
    return True


def _containers(node: Json) -> list[Json]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [child for child in children if isinstance(child, dict | list)]


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise UndecodableError("the message holds a number that is too large")
    return number


def _refuse_constant(name: str) -> Never:
    raise UndecodableError(f"the message holds {name}, which is not JSON")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse_constant)
