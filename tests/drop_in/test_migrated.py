"""What `action-agent migrate` writes for a mapping sends and reports the same as the mapping itself."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.commands.mapping_routes import Known, convert
from agent.commands.routes_text import routes_text
from agent.domain.errors import TemplateError
from agent.domain.invocation import Invocation
from agent.domain.json import Json, as_text
from agent.executors.registry import ExecutorRegistry
from agent.intake.reader import MessageIntake
from agent.ports import ExecutorSettings, Routed
from agent.routing.document import parse
from agent.routing.file import RoutesReader
from agent.routing.route_set import RouteSet
from agent.testing import fake_services
from tests.drop_in.mapping_rig import CASES, SECRET, Case, reader


def outcome(routes: RouteSet, invocation: Invocation, response: Mapping[str, Json]) -> Any:
    """What is sent and reported, in one value; a text where no route matches, or nothing can be sent."""
    routed = routes.resolve(invocation)
    if not isinstance(routed, Routed):
        return "no route"
    intake = MessageIntake(lambda: [SECRET], SystemClock())
    opened, _ = intake.unlock(invocation, routed.route.decrypt, listed=routed.route.decrypts_listed)
    try:
        sent: dict[str, Any] = dict(asyncio.run(routed.executor.preview(opened.view)))
    except TemplateError:
        return "not sent"
    view = opened.view.extended(request=sent, response=response, outputs={})
    report = {}
    for name, template in reported_templates(routed):
        try:
            value = template.render(view)
        except TemplateError:
            continue
        if value is not None:
            report[name] = value
    options = routed.route.options
    sent["query"] = list(pairs(sent["query"]))
    return sent, report, options["mode"], options["body_format"], options["follow_redirects"]


def pairs(query: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """What is sent of a query."""
    for name, value in query.items():
        yield from (
            (name, as_text(one)) for one in (value if isinstance(value, list) else [value]) if one is not None
        )


def reported_templates(routed: Routed) -> list[tuple[str, Any]]:
    rule = routed.route.report
    parts = {"status": rule.status, "link": rule.link, "summary": rule.summary, "id": rule.external_run_id}
    return [(name, template) for name, template in parts.items() if template is not None]


Both = Callable[[bytes, Invocation, Mapping[str, Json]], tuple[Any, Any, str]]
"""Of a mapping: the outcome by it, that by the routes written for it, and their text."""


@contextmanager
def both_in(environment: Mapping[str, str]) -> Iterator[Both]:
    """Judges mappings, one after another, by the same two readers."""
    settings = ExecutorSettings(client_secret=lambda: SECRET)
    registry = ExecutorRegistry.load(fake_services(settings, environment=environment))
    routes = RoutesReader(registry, environment, jq_timeout_s=20)
    try:
        with reader(environment) as mappings:

            def both(mapping: bytes, invocation: Invocation, response: Mapping[str, Json]) -> tuple[Any, Any, str]:
                by_mapping = outcome(mappings.parse(mapping, "mapping.json"), invocation, response)
                never_set = frozenset(re.findall(r"\w+", mapping.decode())) - environment.keys()
                known = Known(tuple(environment), plain=never_set)
                converted = convert(parse(mapping, "mapping.json"), mappings.expressions, known)
                text = routes_text(converted, "mapping.json")
                return by_mapping, outcome(routes.parse(text.encode(), "routes.yaml"), invocation, response), text

            yield both
    finally:
        routes.close()
        asyncio.run(registry.close())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_recorded_cases(path: Path) -> None:
    case = Case(json.loads(path.read_text(encoding="utf-8")))
    invocation = case.invocation()
    if invocation is None:
        return
    with both_in(case.raw["env"]) as both:
        by_mapping, by_routes, text = both(case.mapping, invocation, case.response())
    assert by_routes == by_mapping, text
    assert by_routes != "not sent"
