"""Reads the mapping file of Port's own agent into routes of the http executor.

The file is a list; the first mapping whose ``enabled`` is true takes the message. Its language is that of
``port-labs/port-agent`` 0.8, whose results are kept wherever they are no defect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.invocation import InvocationKind, View
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.route import Match, ReportRule, Route, Template
from agent.ports import Executors, Routed
from agent.routing.builtin import AddressedToAgent
from agent.routing.document import Document, parse
from agent.routing.expressions import Expressions
from agent.routing.mapping_templates import MappingTemplates, the_exchange, the_message
from agent.routing.places import item, member
from agent.routing.route_set import RouteSet
from agent.routing.templates import Constant, kind

_REPORT = {"status": "status", "link": "link", "summary": "summary", "externalRunId": "external_run_id"}
_TRUE = frozenset({"true", "on", "yes", "y", "t", "1"})
_FALSE = frozenset({"false", "off", "no", "n", "f", "0"})
"""Words that Port's own agent takes for a boolean before it thinks of jq; in any case."""
_FOR_AGENTS = AddressedToAgent()


@dataclass(frozen=True, slots=True)
class Addressed:
    """A condition: the message is for agents, and has a target or a run; and ``enabled`` gives exactly true."""

    enabled: Template

    def render(self, view: View) -> bool:
        """Whether the mapping takes the message. Raises `TemplateError`."""
        message = the_message(view.value)
        method = as_object(as_object(view.value.get("action")).get("invocationMethod"))
        has_run = as_object(message.get("context")).get("runId") is not None
        if not _FOR_AGENTS.render(view) or not (has_run or method.get("url")):
            return False
        return self.enabled.render(view) is True


@dataclass
class MappingReader:
    """Makes route sets of mapping files. ``warnings`` of the file read last: it is in force all the same."""

    executors: Executors
    expressions: Expressions
    default_timeout_s: float = 3600.0
    warnings: list[Problem] = field(default_factory=list)

    def parse(self, content: bytes, where: str) -> RouteSet:
        """The routes in ``content``; ``where`` is the name of its file.

        Raises `ConfigurationError` where it has not the form of a mapping file.
        """
        self.warnings = []
        document = parse(content, where)
        if not isinstance(document.value, list):
            message = f"the file holds {kind(document.value)}; a list of mappings was expected"
            raise ConfigurationError(document.problem("", message))
        problems: list[Problem] = []
        routes: list[Routed] = []
        for index, raw in enumerate(document.value):
            wrong = list(_malformed(document, raw, item("", index)))
            problems += wrong
            if not wrong:
                routes.append(self._routed(document, as_object(raw), index))
        if problems:
            raise ConfigurationError(*problems)
        return RouteSet(routes)

    def _routed(self, document: Document, raw: JsonObject, index: int) -> Routed:
        path = item("", index)
        before, after = self._compilers(document, path)
        route = Route(
            name=f"mapping-{index + 1}",
            match=Match(kinds=tuple(map(str, InvocationKind)), when=self._enabled(before, raw, path)),
            executor="http",
            options=_options(raw),
            timeout_s=self.default_timeout_s,
            decrypts_listed=False,
            decrypt=tuple(str(one) for one in _items(raw.get("fieldsToDecryptPaths"))),
            report=_report(after, raw, member(path, "report")),
            where=document.at(path),
        )
        return Routed(route, self.executors.prepare("http", route.options, path, before))

    def _compilers(self, document: Document, path: str) -> tuple[MappingTemplates, MappingTemplates]:
        """For what is rendered before the request, and for the report, which says itself what fails."""

        def warn(problem: Problem) -> None:
            self.warnings.append(document.problem(problem.path or problem.where, problem.message, problem.hint))

        compiler = partial(MappingTemplates, self.expressions.for_mapping, warn, path)
        return compiler(), compiler(the_exchange, forgives=False)

    def _enabled(self, templates: MappingTemplates, raw: JsonObject, path: str) -> Template:
        value = raw.get("enabled", True)
        if isinstance(value, str) and value.lower() not in _TRUE | _FALSE:
            strict = replace(templates, forgives=False)
            return Addressed(strict.expression(value, member(path, "enabled")))
        return Addressed(Constant(str(value).lower() in _TRUE))


def _options(raw: JsonObject) -> JsonObject:
    """What the http executor is to do; texts are expressions still."""
    options: dict[str, Json] = {"headers": {}, "body": ".", "mode": "message"}
    options.update(
        {name: raw[name] for name in ("method", "url", "headers", "query", "body") if raw.get(name) is not None}
    )
    return options


def _report(templates: MappingTemplates, raw: JsonObject, path: str) -> ReportRule:
    report = as_object(raw.get("report"))
    return ReportRule(
        **{
            ours: templates.template(report[theirs], member(path, theirs))
            for theirs, ours in _REPORT.items()
            if report.get(theirs) is not None
        }
    )


def _malformed(document: Document, raw: Json, path: str) -> Iterator[Problem]:
    if not isinstance(raw, Mapping):
        yield document.problem(path, f"is {kind(raw)}; a mapping is an object")
        return
    for name, fits, expected in (
        ("enabled", (bool, str, int), "true, false or a jq expression"),
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
