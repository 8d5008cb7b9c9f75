"""Mapping files of any content give requests, or reasons that a run can end with, and never anything else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.domain.errors import ConfigurationError, TemplateError
from agent.domain.invocation import View
from agent.domain.json import Json, JsonObject
from agent.executors.http_request import RequestTemplate
from agent.executors.http_url import UnsendableError
from agent.ports import Executor, TemplateCompiler
from agent.routing.expressions import Expressions
from agent.routing.mapping import MappingReader


class OnlyRequests:
    """Executors of which there is one, and it is its request's template."""

    names = ("http",)

    def options_schema(self, name: str) -> JsonObject:  # noqa: ARG002 - there is one
        return {}

    def prepare(self, name: str, options: JsonObject, path: str, templates: TemplateCompiler) -> Executor:  # noqa: ARG002
        return cast("Executor", RequestTemplate(options, path, templates))


SOURCES = st.sampled_from(
    [
        *(".", "null", "true", "1", "1e1000", "nan", "-0", "[1]", "{}", "empty", "error", ".a.b.c", ".[]", ".a |"),
        *('"http://h/" + .a', '"http://[::1"', '"http://h/%zz?|^"', '"http:x@"', '"http://xn--/<ü"', '"//x"'),
        *('"a\\nb"', '"\\ud800"', '"\ufdd0"', "[.]", '[["a", "b"]]', '"a=1&b=2"', "{(.a): .a}", "input", "$ENV"),
        *('{"a b": 1}', '{"x": " lead"}', '{"Content-Length": "1"}', '"CONNECT"', "env.TOKEN | @base64"),
    ]
) | st.text(max_size=8)
LEAVES = SOURCES | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.sampled_from(["Content-Type", "Host", "x"]) | st.text(max_size=6)
ANYTHING = st.recursive(
    LEAVES, lambda part: st.lists(part, max_size=3) | st.dictionaries(NAMES, part, max_size=3), max_leaves=6
)
MAPPINGS = st.fixed_dictionaries(
    {},
    optional={
        "enabled": SOURCES | st.booleans(),
        "method": SOURCES,
        "url": SOURCES,
        "headers": SOURCES | st.dictionaries(NAMES, ANYTHING, max_size=3),
        "query": SOURCES | st.dictionaries(NAMES, ANYTHING, max_size=3),
        "body": ANYTHING,
        "report": st.dictionaries(st.sampled_from(["status", "link", "summary", "externalRunId"]), ANYTHING),
    },
)
MESSAGES = st.sampled_from([{}, {"a": "text"}, {"a": {"b": {"c": 1}}}, {"a": "\ud800\x00\ufdd0"}])


@pytest.fixture(scope="module")
def reader() -> Iterator[MappingReader]:
    engine = Expressions({"TOKEN": "a-t0ken"}, limit_s=20)
    yield MappingReader(OnlyRequests(), engine)
    engine.close()


@settings(max_examples=200, deadline=None)
@given(mapping=MAPPINGS, document=MESSAGES)
def test_a_mapping_gives_a_request_or_a_reason(reader: MappingReader, mapping: Json, document: JsonObject) -> None:
    try:
        routes = reader.parse(json.dumps([mapping]).encode(), "mapping.json")
    except ConfigurationError:
        return
    [route] = routes.routes
    view = View({"message": document, "action": {"invocationMethod": {"url": "http://h/x"}}, "run": {"id": "r_1"}})
    try:
        request = cast("RequestTemplate", routes.executor(route.name)).render(view)
    except (TemplateError, UnsendableError):
        return
    assert request.url.scheme in ("http", "https")
    assert isinstance(json.dumps(request.as_json()), str)
