"""What ``helm/values.yaml`` says of itself: each value with its default and the comment above it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

HELM = Path(__file__).parents[2] / "helm"
_BEGIN = "# -- "


class UndocumentedValueError(Exception):
    """A value without a comment that begins with ``# --``."""


@dataclass(frozen=True, slots=True)
class DocumentedValue:
    """One value, or a whole map of them where the comment stands above the map."""

    path: tuple[str, ...]
    default: object
    text: str

    @property
    def name(self) -> str:
        """As one writes it behind ``--set``."""
        return ".".join(self.path)

    @property
    def shown_default(self) -> str:
        """The default as JSON; empty where nothing is set."""
        return "" if self.default in ("", None) else json.dumps(self.default, ensure_ascii=False)


def documented_values() -> list[DocumentedValue]:
    """All of them in the file's order. Raises `UndocumentedValueError`."""
    text = (HELM / "values.yaml").read_text("utf-8")
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return list(_in(root, (), text.splitlines(), yaml.safe_load(text)))


def _in(
    node: yaml.MappingNode, above: tuple[str, ...], lines: list[str], values: dict[str, object]
) -> Iterator[DocumentedValue]:
    for key, value in node.value:
        path = (*above, key.value)
        comment = _comment_above(key.start_mark.line, lines)
        if comment:
            yield DocumentedValue(path, values[key.value], comment)
            continue
        inner = values[key.value]
        if not isinstance(value, yaml.MappingNode) or not isinstance(inner, dict) or not inner:
            raise UndocumentedValueError(".".join(path))
        yield from _in(value, path, lines, inner)


def _comment_above(line: int, lines: list[str]) -> str:
    """The text of the comment that ends above this line, from its ``# --`` on; empty if there is none."""
    found: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        text = lines[line].strip()
        if text.startswith(_BEGIN):
            return " ".join([text.removeprefix(_BEGIN), *reversed(found)])
        found.append(text.removeprefix("#").strip())
    return ""
