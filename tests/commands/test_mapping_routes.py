"""Mappings of every kind: their routes send and report the same, and say where they do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.commands.mapping_routes import Converted, Known, convert
from agent.domain.invocation import Channel, Invocation
from agent.domain.json import JsonObject
from agent.intake.reader import MessageIntake
from agent.intake.signature import SignatureMode
from agent.ports import Decoded
from agent.routing.document import parse
from agent.routing.expressions import Expressions
from tests.drop_in.test_migrated import Both, both_in

MESSAGE: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "drop_in" / "cases" / "argo_resubmit_ok.json").read_text(encoding="utf-8")
)["message"]
RESPONSE: JsonObject = {"statusCode": 200, "headers": {"Location": "/x"}, "text": '{"id": 7}', "json": {"id": 7}}
ENVIRONMENT = {"TOKEN": "tok-123456", "my-group_my-project": "glptt-123456", "EMPTY": ""}


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    with both_in(ENVIRONMENT) as judge:
        yield judge


def invocation(**parts: Any) -> Invocation:
    intake = MessageIntake(lambda: ["x" * 32], SystemClock(), mode=SignatureMode.OFF)
    verdict = intake.decode(json.dumps(MESSAGE | parts).encode(), Channel.RUNS)
    assert isinstance(verdict, Decoded)
    return verdict.invocation


BODIES: list[Any] = [
    None,
    ".",
    ".payload.properties",
    '.["payload"]["properties"]',
    '."payload".entity',
    {"a": ".payload.entity.title", "b": [".context.runId", {"c": "1 + 1"}, 3, None, True], "e": {}},
    {"{{k}}": '"{{v}}"', "{{ spreadValue() }}": ".payload.properties", "": ".action"},
    {"fails": ".payload.entity.title.x", "iterates": ".action[]", "error": 'error("no")', "none": "empty"},
    {"later": '("first", error("x"))', "many": ".payload.properties[]"},
    "{a: .action, b: {c: .context.runId}}",
    "{action, context: {runId: .context.runId}}",
    '"run \\(.context.runId) of \\(.payload | .entity | .title)"',
    "if .payload.entity == null then {} else . end",
    ".payload as $p | .context as {runId: $r} | {$r, t: $p.entity.title}",
    "[.payload.properties | to_entries[] | {name: .key, value: (.value | tostring)}]",
    "def up: ascii_upcase; .action | up",
    'reduce (.action, .resourceType) as $x (""; . + $x)',
    "to_entries | length",
    '.action # a comment with }} and "',
    ".action\n| ascii_upcase",
    '.action | debug | debug("x", .) | stderr',
    "[inputs], input_filename, input_line_number",
    "input",
    ".action |",
    '"}}" + .action + "{{"',
    '"\\u00e9\\n"',
    '""',
    "env.TOKEN",
    "env.NO_SUCH",
    'env | keys - ["PATH"] | length > 0',
    'env["my-group" + "_my-project"]',
    '$ENV["my-group_my-project"]',
    "{debug: .action}",
    '.payload.properties.memoized // "none"',
    ".payload.action.invocationMethod.synchronized | not",
    '@base64 "\\(.action)"',
    "@json",
    "[leaf_paths], [recurse_down | numbers], {leaf_paths: 1}",
    {"a": "[.payload.properties | recurse_down]", "b": ".payload | [leaf_paths]"},
    "..|.title?",
    {"sha": '"12e45"', "octal": '"0o7"', "date": '"2024-01-01"', "yes": '"yes"', "null": '"null"', "1e3": '".5"'},
    '"raw\nline"',
    '"\\u0007\\u2028\\ufeff"',
    '"\\ud800"',
    '" a: b # c"',
    "12",
    "error",
    "length",
    ".action.x // 1",
    "[1.50, 100000000000000000001]",
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: json.dumps(body)[:40])
def test_bodies(body: Any, both: Both) -> None:
    by_mapping, by_routes, text = both(json.dumps([{"body": body}]).encode(), invocation(), RESPONSE)
    assert by_routes == by_mapping, text
    assert isinstance(by_routes, tuple), by_routes


@pytest.mark.parametrize(
    "mapping",
    [
        {"method": '"PUT"'},
        {"method": '"put"'},
        {"method": '"PURGE"'},
        {"method": '"BREW"'},
        {"method": '"GET"', "body": ".action"},
        {"method": ".nothing"},
        {"method": '"a b"'},
        {"url": '"https://ci.internal/a/../b"'},
        {"url": '"https://ci.internal/{{x}}"'},
        {"url": '"https://ci.internal/" + .action + "?x=" + (.payload.entity.title | @uri)'},
        {"url": '"no url"'},
        {"url": '"https://a b:x/"'},
        {"url": '""'},
        {"url": "null"},
        {"url": '"  https://ci.internal/x "'},
        {"url": ".payload.entity.title.x"},
        {
            "headers": {
                "A": '"Bearer " + env.TOKEN',
                "B": "null",
                "C": "1",
                "D": ".context",
                "E": '"x"',
                "F": "env.EMPTY",
            }
        },
        {"headers": {"A": ".payload.properties.memoized"}},
        {"headers": {"A": ".payload.properties.nothing", "B": ".action, 5", "C": '"\\(.action) x"', "D": "true"}},
        {"headers": {"A": True, "B": {}, "C": {"D": {}}, "E": ".payload.entity.title.x"}},
        {"headers": {"A": 5}},
        {"headers": {"A": "env"}},
        {"headers": {"A": "$ENV"}},
        {"headers": {"A": ".action | length | tostring", "B": "(.action | length), 1"}},
        {"headers": {"A": "(.action | tostring) as $x | [$x | tostring]"}},
        {"headers": {"A": ".action", "Content-Length": "5", "connection": '"x"'}},
        {"headers": ""},
        {"headers": '{"X-Run": .context.runId}'},
        {"headers": '{"X-Run": .context.runId, "Content-Length": 5}'},
        {"headers": '{"X-Run": .context.runId, A: null, B: true}'},
        {"headers": '{} | .["tE"] = "x" | .a = "b"'},
        {"headers": '{a: "b"} + {TE: "x"}'},
        {"headers": "null"},
        {"headers": ".action"},
        {"headers": {"Content-Type": '"application/x-www-form-urlencoded"'}, "body": {"a": ".action"}},
        {"headers": {"Content-Type": '"text/plain"'}, "body": ".action"},
        {"query": {"a": ".action", "b": "null", "c": "[1, 2]", "d": "true", "e": ".payload.entity.title.x"}},
        {"query": "null"},
        {"query": "empty"},
        {"query": ".action[0]"},
        {"query": '{"a": .action}'},
        {"query": '{a: true, b: [false, 1, null, "x", [true]], c: [], d: null, e: {f: true}}'},
        {"query": '{a: true} + {b: "x"}'},
        {"query": {"a": True, "b": 5, "c": 1.5, "d": [True, ".action == 1", [True]], "e": {}, "f": {"g": "true"}}},
        {"query": {"a": ".payload.properties.memoized", "b": "[true, 1]", "{{c}}": ".action", "d": "[]"}},
        {"query": {"a": "1 == 1", "b": ".payload.properties", "c": "[[true], 1]", "d": "env.TOKEN", "e": '"true"'}},
        {"query": '"a=1&b=&a=x+y%20z&&c&=d&e=f=g&%7B%7Bh=%7B%7Bi"'},
        {"query": '"a=1&b=&a=x+y%20z&&c&=d&e=f=g&%7B%7Bh=%7B%7Bi&j=" + .action'},
        {"query": '[["a", 1], ["b", true], ["a", null], ["c", [true, "x"]], [1, 2], [null, {a: true}], ["d", []]]'},
        {"query": '[["a", 1], ["b"]]'},
        {"query": '["a"]'},
        {"query": "0"},
        {"query": "0.0"},
        {"query": "5"},
        {"query": "true"},
        {"query": "[]"},
        {"query": '""'},
        {"query": '.action | ""'},
        {"query": ""},
        {"query": ".a |"},
        {"enabled": 1.0, "body": "", "method": "#", "report": {"link": ""}},
        {"body": "", "report": {"link": " ", "summary": "#"}},
        {"fieldsToDecryptPaths": [".payload.properties.x"]},
        {"query": "false"},
        {"query": {}},
        {"enabled": "yes", "body": ".action"},
        {"enabled": '.action == "trigger_a_workflow"'},
        {"enabled": '.action | test("trigger")'},
        {"enabled": ".payload.entity.title as $t | ($t | length) > 3, false"},
        {"enabled": 'has("payload")'},
        {"enabled": ".action"},
        {"enabled": ".action[0]"},
        {"enabled": ".action = 1"},
        {"enabled": '# nothing\n.action == "trigger_a_workflow" # here'},
        {"enabled": 'env.TOKEN == "tok-123456"'},
        {"report": {"link": '"https://x/" + (.response.json.id | tostring)', "externalRunId": ".response.json.id"}},
        {"report": {"link": "[.response.headers.Location, .request.url]", "summary": '"plain {{text}}"'}},
        {"report": {"link": '".a"', "summary": '"$x"', "status": '"SUCCESS"'}},
        {
            "report": {
                "link": ".payload.x",
                "summary": "length",
                "externalRunId": ".body.context.runId",
                "status": "null",
            }
        },
        {"report": {"link": ".request.body.action", "summary": ".body | .action", "status": "error"}},
        {"report": {"link": '.response | if .json then .text else "x" end', "summary": "env.TOKEN"}},
        {"report": {"link": ".body |", "summary": "."}},
    ],
    ids=lambda mapping: json.dumps(mapping)[:60],
)
def test_all_else(mapping: dict[str, Any], both: Both) -> None:
    by_mapping, by_routes, text = both(json.dumps([mapping]).encode(), invocation(), RESPONSE)
    assert by_routes == by_mapping, text


@pytest.mark.parametrize(
    "parts",
    [
        {"context": {"runId": None}},
        {"context": {}},
        {"payload": {**MESSAGE["payload"], "action": {"invocationMethod": {"agent": True, "type": "WEBHOOK"}}}},
        {
            "payload": {"action": {"invocationMethod": {"agent": "true", "type": "GITLAB", "url": ""}}},
            "context": {},
        },
        {"payload": {"action": {"invocationMethod": {"agent": "True", "url": "https://x.y", "method": "GET"}}}},
    ],
    ids=str,
)
def test_the_same_messages_are_taken(parts: dict[str, Any], both: Both) -> None:
    mapping = json.dumps([{"enabled": False}, {"enabled": '.action == "other"'}, {"body": ".context"}]).encode()
    by_mapping, by_routes, text = both(mapping, invocation(**parts), RESPONSE)
    assert by_routes == by_mapping, text


def test_a_message_that_is_not_for_agents_is_not_taken(both: Both) -> None:
    """As that of another consumer, which has no method at all."""
    by_mapping, by_routes, _ = both(b"[{}]", invocation(payload={"entity": None}), RESPONSE)
    assert by_mapping == by_routes == "no route"


def converted(*mappings: Any, known: Known | None = None) -> list[Converted]:
    expressions = Expressions(ENVIRONMENT, limit_s=20)
    try:
        return convert(parse(json.dumps(mappings).encode(), "m.json"), expressions, known or Known())
    finally:
        expressions.close()


def remarks(mapping: Any, known: Known | None = None) -> str:
    return "; ".join(converted(mapping, known=known)[0].remarks)


def test_mappings_that_take_nothing_are_left_out_and_it_is_said_why() -> None:
    found = converted(
        {"enabled": "off"},
        {"enabled": ".a |"},
        {"enabled": '.action == "x"'},
        {"enabled": '.action == "x"', "url": '"https://x"'},
        {"enabled": True},
        {"enabled": ".z"},
    )
    assert [one.route is None for one in found] == [True, True, False, True, False, True]
    assert [one.remarks for one in found if one.route is None] == [
        ("off: `enabled` is false",),
        ("takes no message: jq cannot compile its `enabled`",),
        ("never reached: [2] before it has the same `enabled`",),
        ("never reached: [4] before it takes every message",),
    ]


def test_names_are_those_of_actions_where_there_is_one_and_unique() -> None:
    found = converted({"enabled": '.action == "x"'}, {"enabled": ' .action  == "x" '}, {"enabled": ".a"})
    assert [one.route["name"] for one in found if one.route] == ["x", "x-2", "mapping-3"]


def test_variables_that_are_named_are_listed_and_masked_unless_they_are_plain() -> None:
    known = Known(("TOKEN", "OTHER", "BASE"), frozenset({"BASE"}))
    (one,) = converted({"url": 'env.TOKEN + $ENV["REGION"]', "report": {"link": "env.BASE"}}, known=known)
    assert one.route is not None
    assert one.route["env"] == ["TOKEN", "REGION", "BASE"]
    assert one.route["secrets"] == ["TOKEN"]
    assert one.remarks == ()


def test_variables_that_nobody_has_seen_are_masked_but_for_names_that_are_public() -> None:
    (one,) = converted({"url": "env.TOKEN + env.CI_USER"})
    assert one.route is not None
    assert one.route["env"] == ["TOKEN", "CI_USER"]
    assert one.route["secrets"] == ["TOKEN"]


def test_variables_whose_names_are_computed_need_the_whole_list() -> None:
    mapping = {"body": 'env[.a + "_" + .b]'}
    known = Known(("a_b", "c-d_e"), frozenset({"c-d_e"}))
    (one,) = converted(mapping, known=known)
    assert one.route is not None
    assert one.route["env"] == ["a_b", "c-d_e"]
    assert one.route["secrets"] == ["a_b", "c-d_e"], "what looks plain may be a token all the same"
    assert "add those of projects to come" in remarks(mapping, known)
    assert "No more are known: give --env or --values" in remarks(mapping)


def test_variables_that_routes_cannot_have_are_named() -> None:
    assert "is the agent's own and not given to routes" in remarks({"body": "env.PORT_CLIENT_SECRET"})
    assert "the variable '1_2' cannot be listed" in remarks({"body": 'env["1_2"]'})


def test_what_cannot_be_carried_over_is_named() -> None:
    assert "body.a[0]: jq cannot compile it, so it is null for every message" in remarks({"body": {"a": [".b ||"]}})
    assert "decrypt: 'a.*' is left out" in remarks({"fieldsToDecryptPaths": ["a.*", "b.c"]})
    assert "decrypt: '.b.c' is left out: it is no dot path" in remarks({"fieldsToDecryptPaths": [".b.c", "b.c"]})
    assert "header 'a b' is left out" in remarks({"headers": {"a b": "1"}})
    assert "header 'A' is left out: the mapping's requests all fail for it (it is a list)" in remarks(
        {"headers": {"A": ["1"]}}
    )
    assert "header 'TE' is left out, as in the mapping: it is part" in remarks({"headers": {"TE": "1"}})
    assert "with a broken percent-encoding" in remarks({"query": ".a"})
    assert "percent-encoding" not in remarks({"query": "{a: .b}"}) + remarks({"query": '"a=1"'})


def test_headers_and_parameters_that_are_plainly_texts_need_no_more() -> None:
    plain = {
        "A": '"Bearer " + env.TOKEN',
        "B": ".context.runId",
        "C": '"run \\(.context.runId)"',
        "D": '@base64 "a:\\(env.TOKEN)"',
        "E": ".payload.properties.count | tostring",
        "F": "env.TOKEN",
    }
    (one,) = converted({"headers": plain, "query": plain})
    assert one.route is not None
    http: Any = one.route["http"]
    assert http["headers"] == http["query"]
    assert http["headers"] == {
        "A": '{{ "Bearer " + env.TOKEN }}',
        "B": "{{ .message.context.runId }}",
        "C": '{{ ("run \\(.message.context.runId)")? }}',
        "D": '{{ (@base64 "a:\\(env.TOKEN)")? }}',
        "E": "{{ (.message.payload.properties.count | tostring)? }}",
        "F": "{{ env.TOKEN }}",
    }


def test_paths_to_decrypt_are_those_that_open_something() -> None:
    (one,) = converted({"fieldsToDecryptPaths": [".b.c", "b.c", "d.0.e", "b.c"]})
    assert one.route is not None
    assert one.route["decrypt"] == ["b.c", "d.0.e"]
