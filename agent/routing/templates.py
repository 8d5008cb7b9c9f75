"""Templates: plain JSON whose strings, and keys, may hold ``{{ jq }}``.

The language is that of Port's own payload templates. A string that is one expression and nothing else but blanks
around it takes the result with its type; inside text, strings go in as they are and everything else as compact
JSON (so null reads ``null``; write ``{{ .x // "" }}`` where nothing is meant). In a text that is a name null fails
instead: ``svc-null`` is somebody else. A key whose expression gives null or an empty text drops its pair; the key
``{{ spreadValue() }}`` puts the members of its value in its place. A literal ``{{`` is written ``{{ "{{" }}``. What
expressions give is never searched for expressions again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from agent.domain.errors import ConfigurationError, Problem, TemplateError
from agent.domain.invocation import View
from agent.domain.json import Json, as_text
from agent.domain.route import Template
from agent.ports import Encode
from agent.routing.jq_errors import shown
from agent.routing.jq_tokens import tokenize
from agent.routing.places import item, member

CompileExpression = Callable[[str, str], Template]
"""Compiles one jq source that stands at a place; raises `ConfigurationError`."""

_SPREAD = re.compile(r"\s*\{\{\s*spreadValue\(\s*\)\s*\}\}\s*")
_VARIABLE = re.compile(r"\s*(?:env|\$ENV)\.[A-Za-z_][A-Za-z0-9_]*\s*")
"""Reads the environment, which is the operator's, and nothing of the message."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value without expressions."""

    value: Json

    def render(self, view: View) -> Json:  # noqa: ARG002 - the same for every message
        """The value itself."""
        return self.value


@dataclass(frozen=True, slots=True)
class Text:
    """Text with expressions in it."""

    parts: tuple[Template, ...]

    def render(self, view: View) -> str:
        """The text with every expression's result put in."""
        return "".join(as_text(part.render(view)) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Given:
    """An expression inside of text that is a name: ``source`` stands at ``path``."""

    template: Template
    source: str
    path: str

    def render(self, view: View) -> Json:
        """The expression's result. Raises `TemplateError`, also for null, which would read like a name."""
        value = self.template.render(view)
        if value is None:
            hint = 'where it may be missing, end the expression with // "…"'
            raise TemplateError(f"{self.path}: `{shown(self.source)}` gave null inside of text; {hint}")
        return value


@dataclass(frozen=True, slots=True)
class Encoded:
    """An expression inside of text that means something, e.g. a url: its result must stay a value there."""

    template: Template
    encode: Encode

    def render(self, view: View) -> str:
        """The expression's result as text, encoded."""
        return self.encode(as_text(self.template.render(view)))


@dataclass(frozen=True, slots=True)
class Items:
    """A list, each item a template of its own."""

    items: tuple[Template, ...]

    def render(self, view: View) -> list[Json]:
        """The list of results."""
        return [template.render(view) for template in self.items]


@dataclass(frozen=True, slots=True)
class Members:
    """An object; keys are templates too. A ``None`` key spreads its value."""

    pairs: tuple[tuple[Template | None, Template], ...]
    path: str

    def render(self, view: View) -> dict[str, Json]:
        """The object of results. Raises `TemplateError` for a key that is not text."""
        result: dict[str, Json] = {}
        for key_template, template in self.pairs:
            if key_template is None:
                result.update(self._spread(template.render(view)))
                continue
            key = key_template.render(view)
            if key is None or (key == "" and not isinstance(key_template, Constant)):
                continue
            if not isinstance(key, str):
                raise TemplateError(f"{self.path}: an expression in a key must give text or null, not {kind(key)}")
            result[key] = template.render(view)
        return result

    def _spread(self, value: Json) -> Mapping[str, Json]:
        if isinstance(value, Mapping):
            return value
        if value is None:
            return {}
        raise TemplateError(f"{self.path}: only an object can be spread, not {kind(value)}")


def compile_template(
    value: Json,
    path: str,
    compile_expression: CompileExpression,
    encode: Encode | None = None,
    *,
    is_name: bool = False,
) -> Template:
    """The template for ``value``, which stands at ``path``. Raises `ConfigurationError` with every problem.

    For ``encode`` and ``is_name`` see `agent.ports.TemplateCompiler`.
    """
    problems: list[Problem] = []
    template = _Compilation(compile_expression, encode, is_name, problems).value(value, path)
    if problems:
        raise ConfigurationError(*problems)
    return template


def sole_expression(text: str) -> str | None:
    """The jq source inside of ``text`` if it is exactly one ``{{ … }}``, else ``None``."""
    parts = _split(text.strip())
    return parts[0][1] if parts is not None and len(parts) == 1 and parts[0][0] else None


def kind(value: Json) -> str:
    """What sort of JSON value this is, for error messages: never the value itself."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case Mapping():
            return "an object"
        case _:
            return "a list"


@dataclass(frozen=True, slots=True)
class _Compilation:
    """One value's way from configuration to template; ``problems`` grows on the way."""

    compile_expression: CompileExpression
    encode: Encode | None
    is_name: bool
    problems: list[Problem]

    def value(self, value: Json, path: str) -> Template:
        match value:
            case str():
                return self.text(value, path)
            case None | bool() | int() | float():
                return Constant(value)
            case Mapping():
                pairs = tuple(
                    (
                        None if _SPREAD.fullmatch(name) else self.text(name, path),
                        self.value(part, member(path, name)),
                    )
                    for name, part in value.items()
                )
                is_constant = all(isinstance(key, Constant) and isinstance(part, Constant) for key, part in pairs)
                return Constant(value) if is_constant else Members(pairs, path)
            case _:
                items = tuple(self.value(part, item(path, index)) for index, part in enumerate(value))
                return Constant(value) if all(isinstance(part, Constant) for part in items) else Items(items)

    def text(self, text: str, path: str) -> Template:
        if "{{" not in text:
            return Constant(text)
        try:
            sole = sole_expression(text)
            if sole is not None:
                return self.compile_expression(sole, path)
            parts = _split(text)
            if parts is not None:
                return Text(tuple(self._part(part, path, begins=part is parts[0]) for part in parts))
            hint = 'a bracket or quote in it may be open; write {{ "{{" }} where two braces are meant'
            self.problems.append(Problem(path, "a `{{` is never closed by `}}`", hint=hint))
        except ConfigurationError as error:
            self.problems.extend(error.problems)
        return Constant(text)

    def _part(self, part: tuple[bool, str], path: str, *, begins: bool) -> Template:
        is_jq, text = part
        if not is_jq:
            return Constant(text)
        template = self.compile_expression(text, path)
        if self.is_name:
            template = Given(template, text, path)
        if self.encode is None or begins or _VARIABLE.fullmatch(text):
            return template
        return Encoded(template, self.encode)


def _split(text: str) -> Sequence[tuple[bool, str]] | None:
    """``text`` as pieces, each with whether it is jq; ``None`` if an expression is never closed."""
    parts: list[tuple[bool, str]] = []
    position = 0
    while (opening := text.find("{{", position)) >= 0:
        closing = _closing(text, opening + 2)
        if closing is None:
            return None
        if opening > position:
            parts.append((False, text[position:opening]))
        parts.append((True, text[opening + 2 : closing]))
        position = closing + 2
    if position < len(text):
        parts.append((False, text[position:]))
    return parts


def _closing(text: str, start: int) -> int | None:
    """Where the ``}}`` stands that ends the expression beginning at ``start``: not in its strings or objects."""
    for token in tokenize(text, start, in_template=True):
        if token.text == "}" and token.enclosing == "" and text.startswith("}}", token.start):
            return token.start
    return None
