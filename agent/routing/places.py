"""How a place inside a document is written: ``routes[1].process.env["a b"]``."""

from __future__ import annotations

import json
import re

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LAST_STEP = re.compile(r"(?:\.?[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]+\]|\[\"(?:[^\"\\]|\\.)*\"\])$")


def member(path: str, name: str) -> str:
    """The place of the member ``name`` of the object at ``path`` (empty: the document itself)."""
    if not _PLAIN_NAME.fullmatch(name):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name


def item(path: str, index: int) -> str:
    """The place of an item of the list at ``path``."""
    return f"{path}[{index}]"


def parent(path: str) -> str:
    """The place that ``path`` lies in; empty for the outermost, and for what is no place at all."""
    found = _LAST_STEP.search(path)
    return path[: found.start()] if found is not None else ""
