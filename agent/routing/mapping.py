"""Reads the mapping file of Port's own agent into routes of the http executor.

The file is a list; the first mapping whose ``enabled`` is true takes the message. Its language is that of
``port-labs/port-agent`` 0.8, whose results are kept wherever they are no defect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.invocation import InvocationKind, View
from agent.domain.json import Json, JsonObject, as_flag, as_object, texts_in
from agent.domain.route import Match, ReportRule, Route, Template
from agent.ports import Executors, Routed
from agent.routing.document import Document, parse
from agent.routing.expressions import Expressions
from agent.routing.mapping_templates import MappingTemplates, Refusal, the_exchange
from agent.routing.places import item, member
from agent.routing.route_set import RouteSet
from agent.routing.templates import Constant, kind

REQUEST_KEYS = ("method", "url", "headers", "query", "body")
"""What a mapping may say of its request."""
REPORT_KEYS = {"status": "status", "link": "link", "summary": "summary", "externalRunId": "external_run_id"}
"""What its ``report`` may say, each by what a route calls it."""
TRUE_WORDS = frozenset({"true", "on", "yes", "y", "t", "1"})
FALSE_WORDS = frozenset({"false", "off", "no", "n", "f", "0"})
"""Words that Port's own agent takes for a boolean before it thinks of jq; in any case."""
ANY_KIND = tuple(map(str, InvocationKind))
"""For a route that takes change events as well."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """A condition: the message is for agents, and has a target or a run; and ``enabled`` gives exactly true."""

    enabled: Template

    def render(self, view: View) -> bool:
        """Whether the mapping takes the message. Raises `TemplateError`."""
        method = as_object(as_object(view.value.get("action")).get("invocationMethod"))
        has_run = as_object(view.value.get("run")).get("id") is not None
        if not as_flag(method.get("agent")) or not (has_run or method.get("url")):
            return False
        return self.enabled.render(view) is True


@dataclass(frozen=True, slots=True)
class MappingReader:
    """Makes route sets of mapping files; what is odd in one, and does not keep it from being used, it warns of.

    ``refusal`` gives the summary of runs whose target says no.
    """

    executors: Executors
    expressions: Expressions
    default_timeout_s: float = 3600.0
    refusal: Refusal = field(default_factory=Refusal)

    def parse(self, content: bytes, where: str) -> RouteSet:
        """The routes in ``content``; ``where`` is the name of its file.

        Raises `ConfigurationError` where it has not the form of a mapping file.
        """
        document = parse(content, where)
        if not isinstance(document.value, list):
            message = f"the file holds {kind(document.value)}; a list of mappings was expected"
            raise ConfigurationError(document.problem("", message))
        problems: list[Problem] = []
        warnings: list[Problem] = []
        routes: list[Routed] = []
        for index, raw in enumerate(document.value):
            path = item("", index)
            wrong = list(_malformed(document, raw, path))
            problems += wrong
            if not wrong:
                name = f"mapping-{index + 1}"
                routes.append(_Reading(self, document, as_object(raw), path, warnings).routed(name))
        if problems:
            raise ConfigurationError(*problems)
        return RouteSet(routes, warnings)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One mapping's way to a route; ``warnings`` grows on the way."""

    reader: MappingReader
    document: Document
    raw: JsonObject
    path: str
    warnings: list[Problem]

    def routed(self, name: str) -> Routed:
        before = MappingTemplates(self.reader.expressions.for_mapping, self._warn, self.path)
        after = replace(before, lens=the_exchange, forgives=False)
        route = Route(
            name=name,
            match=Match(kinds=ANY_KIND, when=self._enabled(before)),
            executor="http",
            options=_options(self.raw),
            timeout_s=self.reader.default_timeout_s,
            decrypts_listed=False,
            decrypt=tuple(str(one) for one in _items(self.raw.get("fieldsToDecryptPaths"))),
            secrets=tuple(dict.fromkeys(self._secrets())),
            report=replace(_report(after, self.raw, member(self.path, "report")), refusal=self.reader.refusal),
            where=self.document.at(self.path),
        )
        return Routed(route, self.reader.executors.prepare("http", route.options, self.path, before))

    def _enabled(self, templates: MappingTemplates) -> Template:
        value = self.raw.get("enabled", True)
        if is_expression(value):
            strict = replace(templates, forgives=False)
            return Addressed(strict.expression(value, member(self.path, "enabled")))
        return Addressed(Constant(is_true_word(value)))

    def _secrets(self) -> Iterator[str]:
        """The variables that its expressions name and whose values are to be masked."""
        parts = {**_options(self.raw), "report": self.raw.get("report")}
        for name in (*REQUEST_KEYS, "report"):
            for source in texts_in(parts.get(name)):
                yield from self.reader.expressions.secrets_named(source)

    def _warn(self, problem: Problem) -> None:
        place = problem.path or problem.where
        self.warnings.append(self.document.problem(place, problem.message, problem.hint))


def mappings_in(document: Document) -> Iterator[tuple[str, JsonObject]]:
    """The mappings of a file, each with the place where it stands; what is no mapping is passed over."""
    for index, raw in enumerate(_items(document.value)):
        if isinstance(raw, Mapping):
            yield item("", index), raw


def is_expression(enabled: Json) -> TypeGuard[str]:
    """Whether ``enabled`` is jq, and not true or false as it stands."""
    return isinstance(enabled, str) and enabled.lower() not in TRUE_WORDS | FALSE_WORDS


def is_true_word(enabled: Json) -> bool:
    """Whether ``enabled`` is true as it stands, without jq: also ``1``, ``1.0``, ``yes``."""
    return enabled == 1 or str(enabled).lower() in TRUE_WORDS


def _options(raw: JsonObject) -> JsonObject:
    """What the http executor is to do; texts are expressions still."""
    options: dict[str, Json] = {
        "headers": {},
        "body": ".",
        "body_format": "json",
        "mode": "message",
        "follow_redirects": True,
    }
    options.update({name: raw[name] for name in REQUEST_KEYS if raw.get(name) is not None})
    return options


def _report(templates: MappingTemplates, raw: JsonObject, path: str) -> ReportRule:
    report = as_object(raw.get("report"))
    return ReportRule(
        **{
            ours: templates.template(report[theirs], member(path, theirs))
            for theirs, ours in REPORT_KEYS.items()
            if report.get(theirs) is not None
        }
    )


def _malformed(document: Document, raw: Json, path: str) -> Iterator[Problem]:
    if not isinstance(raw, Mapping):
        yield document.problem(path, f"is {kind(raw)}; a mapping is an object")
        return
    for name, fits, expected in (
        ("enabled", (bool, str, int, float), "true, false or a jq expression"),
        ("method", (str,), "a jq expression"),
        ("url", (str,), "a jq expression"),
        ("headers", (str, Mapping), "a jq expression, or an object of them"),
        ("query", (str, Mapping), "a jq expression, or an object of them"),
        ("report", (Mapping,), "an object of jq expressions"),
        ("fieldsToDecryptPaths", (list,), "a list of dot paths"),
    ):
        value = raw.get(name)
        if value is not None and not isinstance(value, fits):
            yield document.problem(member(path, name), f"is {kind(value)}; expected is {expected}")


def _items(value: Json) -> list[Json]:
    return list(value) if isinstance(value, list) else []
