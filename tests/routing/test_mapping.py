"""The language of mapping files, one rule of it after another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.domain.errors import ConfigurationError, TemplateError, UnevaluatedError
from agent.domain.events import RoutesReloaded
from agent.domain.invocation import Invocation, InvocationKind, InvocationMethod, RunId, Trigger
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.route import Unrouted
from agent.ports import Executor, Routed, TemplateCompiler
from agent.routing.expressions import Expressions
from agent.routing.mapping import MappingReader
from agent.routing.mapping_templates import Refusal
from agent.routing.reload import LiveRoutes
from agent.routing.route_set import RouteSet
from tests.routing.helpers import Idle, Notes

ENVIRONMENT = {"TOKEN": "t0k", "group_sub_project": "glptt", "OTHER": "o"}


@dataclass
class OnlyHttp:
    """Executors of which there is one, and it keeps its options."""

    names: tuple[str, ...] = ("http",)
    prepared: list[JsonObject] = field(default_factory=list)

    def options_schema(self, name: str) -> JsonObject:  # noqa: ARG002 - there is one
        return {}

    def prepare(self, name: str, options: JsonObject, path: str, templates: TemplateCompiler) -> Executor:  # noqa: ARG002
        self.prepared.append(options)
        own = {
            name: value
            for name, value in options.items()
            if name not in {"mode", "body_format", "follow_redirects"}
        }
        return Idle(templates.template(own, path))


@pytest.fixture(scope="module")
def expressions() -> Iterator[Expressions]:
    engine = Expressions(ENVIRONMENT, limit_s=20)
    yield engine
    engine.close()


@pytest.fixture
def reader(expressions: Expressions) -> MappingReader:
    return MappingReader(OnlyHttp(), expressions)


def read(reader: MappingReader, *mappings: Json) -> RouteSet:
    return reader.parse(json.dumps(mappings).encode(), "mapping.json")


def message(**parts: Json) -> Invocation:
    """A webhook for agents with the inputs ``x`` and ``list``."""
    method: dict[str, Json] = {"type": "WEBHOOK", "agent": True, "url": "http://ops/", **parts}
    document: dict[str, Json] = {
        "action": "deploy",
        "context": {"runId": "r_1"},
        "payload": {"action": {"invocationMethod": method}, "properties": {"x": "X", "list": [1, 2]}},
    }
    return invoked(document, InvocationKind.ACTION_RUN)


def invoked(document: JsonObject, kind: InvocationKind) -> Invocation:
    """The invocation that intake makes of a message, as far as mappings look at it."""
    method = as_object(document.get("changelogDestination"))
    if kind is InvocationKind.ACTION_RUN:
        method = as_object(as_object(as_object(document.get("payload")).get("action")).get("invocationMethod"))
    return Invocation(
        kind=kind,
        run_id=RunId("r_1") if kind is InvocationKind.ACTION_RUN else None,
        action="deploy",
        blueprint=None,
        trigger=Trigger(None, None, None, None, None),
        entity=None,
        entity_id=None,
        inputs={},
        method=InvocationMethod("WEBHOOK", raw=method),
        document=document,
    )


def rendered(routes: RouteSet, invocation: Invocation) -> dict[str, Any]:
    routed = routes.resolve(invocation)
    assert isinstance(routed, Routed), routed
    options: Any = asyncio.run(routed.executor.preview(invocation.view))["options"]
    return dict(options)


def taken(routes: RouteSet, invocation: Invocation) -> str | None:
    routed = routes.resolve(invocation)
    return routed.route.name if isinstance(routed, Routed) else None


def test_what_a_mapping_leaves_out_is_the_messages_own_and_the_body_is_the_message(
    reader: MappingReader,
) -> None:
    invocation = message()
    assert rendered(read(reader, {"enabled": True}), invocation) == {"body": invocation.document}


def test_texts_are_jq_and_everything_else_is_itself_at_any_depth(reader: MappingReader) -> None:
    body: Json = {
        "a": ".payload.properties.x",
        "b": [".payload.properties.list[1]", 7, None, {"{{c}}": '"d"'}],
        "e": True,
    }
    found = rendered(read(reader, {"body": body}), message())
    assert found["body"] == {"a": "X", "b": [2, 7, None, {"{{c}}": "d"}], "e": True}


def test_headers_and_query_may_be_one_expression_and_a_query_that_is_null_adds_nothing(
    reader: MappingReader,
) -> None:
    mapping: Json = {"headers": '{"X-A": .action}', "query": ".nothing", "body": {"query": ".nothing"}}
    found = rendered(read(reader, mapping), message())
    assert (found["headers"], found["query"], found["body"]) == ({"X-A": "deploy"}, {}, {"query": None})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("env.TOKEN", "t0k"),
        ('env["TOKEN"]', "t0k"),
        ("$ENV.TOKEN", "t0k"),
        ("env.MISSING", None),
        ('"Bearer " + env.TOKEN', "Bearer t0k"),
        ('env["group_sub" + "_project"]', "glptt"),
        ("env | length", len(ENVIRONMENT)),
        (".action | debug", "deploy"),
        (".action | stderr", "deploy"),
        ("[inputs]", []),
        ("input_filename", None),
        ("first(empty)", None),
        (".action, .context", "deploy"),
    ],
)
def test_an_expression_sees_the_environment_and_cannot_leave_its_message(
    reader: MappingReader, expression: str, value: Json
) -> None:
    routes = read(reader, {"body": {"it": expression}})
    assert routes.warnings == ()
    assert (rendered(routes, message()))["body"] == {"it": value}


@pytest.mark.parametrize("expression", [".action.identifier", "input", ".action | error", ".action + 1"])
def test_an_expression_that_fails_is_null_and_the_runs_log_hears_of_it(
    reader: MappingReader, expression: str
) -> None:
    invocation = message()
    assert (rendered(read(reader, {"body": {"it": expression}}), invocation))["body"] == {"it": None}
    [note] = invocation.view.notes
    assert note.startswith(f"[0].body.it: `{expression}`")
    assert note.endswith("null is sent instead")


def test_an_expression_that_jq_cannot_compile_is_warned_of_and_null_for_each_message(
    reader: MappingReader,
) -> None:
    routes = read(reader, {"method": "POST", "body": ".action"})
    [warning] = routes.warnings
    assert (warning.where, warning.path) == ("mapping.json:1", "[0].method")
    invocation = message()
    assert (rendered(routes, invocation))["method"] is None
    assert len(invocation.view.notes) == 1


def test_an_expression_without_end_is_stopped_and_never_taken_for_null() -> None:
    engine = Expressions({}, limit_s=0.3)
    try:
        routes = read(MappingReader(OnlyHttp(), engine), {"body": {"it": "last(range(1e18))"}})
        with pytest.raises(UnevaluatedError):
            rendered(routes, message())
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("enabled", "takes"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("FALSE", False),
        ("on", True),
        (1, True),
        (0, False),
        ('.action == "deploy"', True),
        ('.action == "other"', False),
        (".action", False),
        (".action.identifier", False),
        ("error", False),
    ],
)
def test_a_mapping_is_enabled_by_true_and_nothing_else(
    reader: MappingReader, enabled: Json, *, takes: bool
) -> None:
    routes = read(reader, {"enabled": enabled})
    assert isinstance(routes.resolve(message()), Routed if takes else Unrouted)


def test_the_first_that_is_enabled_takes_the_message(reader: MappingReader) -> None:
    routes = read(reader, {"enabled": '.action == "x"'}, {"enabled": "true"}, {})
    assert taken(routes, message()) == "mapping-2"


def test_only_what_port_addressed_to_agents_is_taken(reader: MappingReader) -> None:
    routes = read(reader, {})
    change: dict[str, Json] = {"changelogDestination": {"type": "WEBHOOK", "agent": True, "url": "http://ops/"}}
    assert taken(routes, invoked(change, InvocationKind.CHANGE_EVENT)) == "mapping-1"
    for destination in ({"type": "KAFKA"}, {"agent": "false", "url": "http://ops/"}, {"agent": True}):
        assert taken(routes, invoked({"changelogDestination": destination}, InvocationKind.CHANGE_EVENT)) is None
    assert taken(routes, message(agent="false")) is None


def test_a_report_sees_the_exchange_and_says_itself_what_failed(reader: MappingReader) -> None:
    report: Json = {
        "status": 'if .response.statusCode == 201 then "SUCCESS" else "FAILURE" end',
        "link": ["(.request.url)", ".response.json.id | tostring"],
        "externalRunId": ".body.action",
        "summary": ".response.statusCode + {}",
    }
    [route] = read(reader, {"report": report}).routes
    view = message().view.extended(request={"url": "http://ops/"}, response={"statusCode": 201, "json": {"id": 7}})
    rule = route.report
    assert rule.status is not None
    assert rule.link is not None
    assert rule.external_run_id is not None
    assert rule.summary is not None
    assert rule.status_label is None
    assert rule.status.render(view) == "SUCCESS"
    assert rule.link.render(view) == ["http://ops/", "7"]
    assert rule.external_run_id.render(view) == "deploy"
    with pytest.raises(TemplateError):
        rule.summary.render(view)


def test_a_route_says_where_its_mapping_stands_and_what_it_decrypts(reader: MappingReader) -> None:
    [route] = read(reader, {"fieldsToDecryptPaths": ["payload.properties.x"]}).routes
    assert (route.where, route.decrypt, route.options["mode"]) == (
        "mapping.json:1",
        ("payload.properties.x",),
        "message",
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "the file holds null; a list of mappings was expected"),
        ('{"enabled": true}', "the file holds an object; a list of mappings was expected"),
        ("[7]", "is a number; a mapping is an object"),
        ('[{"enabled": []}]', "is a list; expected is true, false or a jq expression"),
        ('[{"url": 7}]', "is a number; expected is a jq expression"),
        ('[{"headers": [1]}]', "is a list; expected is a jq expression, or an object of them"),
        ('[{"report": "SUCCESS"}]', "is text; expected is an object of jq expressions"),
        ('[{"fieldsToDecryptPaths": "a.b"}]', "is text; expected is a list of dot paths"),
    ],
)
def test_what_has_not_the_form_of_a_mapping_file_is_refused(reader: MappingReader, content: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        reader.parse(content.encode(), "mapping.json")
    assert [problem.message for problem in caught.value.problems] == [told]


def test_a_file_that_changes_is_read_again_and_one_that_is_broken_is_refused(
    reader: MappingReader, tmp_path: Path
) -> None:
    path, notes = tmp_path / "mapping.json", Notes()
    path.write_text('[{"enabled": ".action == \\"a\\""}]')
    live = LiveRoutes(path, reader, notes)
    path.write_text('[{"enabled": "true", "url": 7}]')
    assert [live.refresh(), len(live.current.routes)] == [False, 1]
    path.write_text('[{"enabled": ".action == \\"a\\""}, {"url": ".a |"}]')
    assert [live.refresh(), len(live.current.routes)] == [True, 2]
    refused, taken = notes.events
    assert isinstance(refused, RoutesReloaded)
    assert isinstance(taken, RoutesReloaded)
    assert (refused.ok, taken.ok) == (False, True)
    assert "[0].url: is a number; expected is a jq expression" in refused.problems[0]
    assert "[1].url" in taken.problems[0]


def test_secrets_that_a_mapping_names_are_those_of_its_route() -> None:
    environment = {
        "TOKEN": "a-t0ken-of-us",
        "REGION": "eu-west-1",
        "IN_REPORT": "another-t0ken",
        "UNUSED": "unused-t0ken",
    }
    engine = Expressions(environment, limit_s=20)
    try:
        [route] = read(
            MappingReader(OnlyHttp(), engine),
            {
                "url": '"http://ops/" + env.REGION',
                "headers": {"A": '"Bearer " + env.TOKEN', "B": "$ENV.TOKEN"},
                "report": {"link": 'env["IN_REPORT"]'},
            },
        ).routes
    finally:
        engine.close()
    assert route.secrets == ("TOKEN", "IN_REPORT")


@pytest.mark.parametrize(
    ("response", "quotes", "summary"),
    [
        ({"statusCode": 404, "text": "no such job"}, True, "404. Response: no such job"),
        ({"statusCode": 404, "text": "no such job"}, False, "404."),
        ({"statusCode": 399, "text": "moved"}, True, None),
        (None, True, None),
    ],
)
def test_a_target_that_says_no_is_told_in_the_words_of_ports_own_agent(
    expressions: Expressions,
    response: Json,
    quotes: bool,  # noqa: FBT001 - a parameter of the test
    summary: str | None,
) -> None:
    reader = MappingReader(OnlyHttp(), expressions, refusal=Refusal(quotes=quotes))
    [route] = read(reader, {"enabled": True}).routes
    assert route.report.refusal is not None
    told = route.report.refusal.render(message().view.extended(response=response))
    assert told == (summary and f"Failed to invoke the webhook with status code: {summary}")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"a": {}, "b": {"c": {"d": {}}}, "e": "1"}, {"e": 1}),
        ([{}, {"a": {}}], [{}, {}]),
        ({}, {}),
        ({"a": []}, {"a": []}),
    ],
)
def test_members_that_are_empty_objects_are_left_out_of_bodies(
    reader: MappingReader, given: Json, sent: Json
) -> None:
    found = rendered(read(reader, {"body": {"all": given, "more": 1}}), message())
    assert found["body"] == ({"all": sent, "more": 1} if sent else {"more": 1})


@pytest.mark.parametrize("empty", ["", "  ", "# nothing but a remark"])
def test_an_empty_expression_is_the_message(reader: MappingReader, empty: str) -> None:
    invocation = message()
    assert rendered(read(reader, {"body": {"it": empty}}), invocation)["body"] == {"it": invocation.document}


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"X-A": ".payload.properties.list"}, "[0].headers: header X-A came out as a list; add `| tostring`"),
        ({"X-A": 5}, "[0].headers: header X-A came out as a number; add `| tostring`"),
        ('{"X-A": true}', "[0].headers: header X-A came out as true or false; add `| tostring`"),
        ({"X-A": '"\\n"'}, "[0].headers: the value of header X-A begins with white space"),
    ],
)
def test_a_header_that_is_no_text_fails_the_run(reader: MappingReader, headers: Json, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        rendered(read(reader, {"headers": headers}), message())
    assert str(caught.value) == problem


def test_headers_without_a_value_and_those_of_the_connection_are_left_out(reader: MappingReader) -> None:
    invocation = message()
    headers: Json = {"X-A": ".nothing", "content-length": '"5"', "X-B": ".action", "X-C": True}
    assert rendered(read(reader, {"headers": headers}), invocation)["headers"] == {"X-B": "deploy"}
    assert (
        invocation.view.notes[-1]
        == "[0].headers: header content-length is left out, for it is part of the connection"
    )


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ('"a=1&b=&a=x y"', {"a": ["1", "x y"], "b": ""}),
        ('[["a", 1], ["b", true], ["a", null]]', {"a": [1, None], "b": "True"}),
        ('{"a": [true, "x"], "b": false, "c": null}', {"a": ["True", "x"], "b": "False", "c": None}),
        ({"a": "1 == 1", "b": 5}, {"a": "True", "b": 5}),
        ("0", {}),
        ("[]", {}),
        ('""', {}),
        ('["a"]', ["a"]),
        ("5", 5),
    ],
)
def test_a_query_is_read_as_ports_own_agent_reads_it(reader: MappingReader, query: Json, pairs: Json) -> None:
    assert rendered(read(reader, {"query": query}), message())["query"] == pairs


@pytest.mark.parametrize(
    ("expression", "value"),
    [("[leaf_paths] | length", 8), ("[recurse_down] | length", 15)],
)
def test_what_jq_had_once_is_still_there(reader: MappingReader, expression: str, value: Json) -> None:
    found = rendered(read(reader, {"body": {"it": expression}}), message())
    assert found["body"] == {"it": value}


SECRET = "s3cret"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("Bearer s3cret", "is no jq: syntax error, unexpected a name, expecting end of file (column 8)"),
        ("s3cret", "is no jq: jq knows no such name (column 1)"),
        (".context.s3cret-s3cret", "is no jq: jq knows no such name (column 17)"),
        ("payload.s3cret", "is no jq: jq knows no such name (column 1)"),
        ("$s3cret", "is no jq: jq knows no such name (column 1)"),
        ("'s3cret'", "is no jq: syntax error, unexpected character (column 1)"),
        ('"s3cret\\s3cret"', "is no jq: jq refuses it (column 8)"),
        ("Token @s3cret", "there is a format in it that jq has not"),
        ("halt.s3cret", "`halt` is not available: an expression cannot stop the agent; use `error` or `empty`"),
    ],
)
def test_of_a_text_without_quotes_nothing_is_told_for_it_may_be_a_secret(
    reader: MappingReader, source: str, told: str
) -> None:
    report: Json = {"summary": source}
    routes = read(
        reader, {"headers": {"A": source}, "enabled": source, "report": report}, {"headers": {"A": source}}
    )
    assert [warning.path for warning in routes.warnings] == [
        "[0].enabled",
        "[0].report.summary",
        "[0].headers.A",
        "[1].headers.A",
    ]
    assert all(warning.message == told for warning in routes.warnings)
    assert SECRET not in "".join(map(str, routes.warnings))
    invocation = message()
    assert rendered(routes, invocation)["headers"] == {}
    assert invocation.view.notes == [f"[1].headers.A: {told}; it is left out"]
    rule = routes.routes[0].report.summary
    assert rule is not None
    with pytest.raises(TemplateError) as caught:
        rule.render(invocation.view)
    assert SECRET not in str(caught.value)
    assert SECRET not in str(routes.explain(invocation))
