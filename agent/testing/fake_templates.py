"""A template compiler that needs no jq."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.domain.errors import TemplateError
from agent.domain.invocation import View
from agent.domain.json import Json, as_text
from agent.domain.route import Template
from agent.ports import Encode


class FakeTemplates:
    """A `TemplateCompiler` for tests: constants, and ``{{ .a.b }}`` paths into the view; no other jq."""

    def template(self, value: Json, path: str, *, encode: Encode | None = None, is_name: bool = False) -> Template:
        """``value`` with paths inside."""
        return _FakeTemplate(value, path, encode, is_name)

    def beginning(self, text: str) -> tuple[str, bool]:
        """What stands before the first ``{{``, and whether there is none."""
        beginning, braces, _ = text.partition("{{")
        return beginning, not braces

    def expression(self, source: str, path: str) -> Template:
        """One bare path."""
        return _FakeTemplate("{{ " + source + " }}", path)


_PATH = re.compile(r"\{\{\s*\.([\w.]*)\s*\}\}")


@dataclass(frozen=True, slots=True)
class _FakeTemplate:
    value: Json
    path: str
    encode: Encode | None = None
    is_name: bool = False

    def render(self, view: View) -> Json:
        return self._render(self.value, view.value)

    def _render(self, value: Json, document: Json) -> Json:
        if isinstance(value, Mapping):
            return {key: self._render(part, document) for key, part in value.items()}
        if isinstance(value, list):
            return [self._render(part, document) for part in value]
        if not isinstance(value, str):
            return value
        if whole := _PATH.fullmatch(value):
            return self._look_up(whole.group(1), document)
        return _PATH.sub(lambda match: self._part(match, document), value)

    def _part(self, match: re.Match[str], document: Json) -> str:
        value = self._look_up(match.group(1), document)
        if value is None and self.is_name:
            raise TemplateError(f"{self.path}: .{match.group(1)} gave null inside of text")
        text = as_text(value)
        return text if self.encode is None or match.start() == 0 else self.encode(text)

    def _look_up(self, dotted: str, document: Json) -> Json:
        for name in filter(None, dotted.split(".")):
            if document is not None and not isinstance(document, Mapping):
                raise TemplateError(f"{self.path}: cannot look up {name!r} in {as_text(document)}")
            document = document.get(name) if document is not None else None
        return document
