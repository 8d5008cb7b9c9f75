"""What a mapping file says to no effect is found, with the way to write it; what is right is left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.routing.document import parse
from agent.routing.mapping_lint import dialect_notes, lint


def findings(*mappings: Any) -> list[str]:
    content = json.dumps(list(mappings), indent=1).encode()
    return [str(problem) for problem in lint(parse(content, "mapping.json"))]


CASES = sorted((Path(__file__).parent.parent / "drop_in" / "cases").glob("*.json"))


WORTH_A_WORD = "decrypt_path_with_leading_dot"


@pytest.mark.parametrize("path", [path for path in CASES if path.stem != WORTH_A_WORD], ids=lambda path: path.stem)
def test_nothing_is_found_in_files_that_work(path: Path) -> None:
    assert findings(*json.loads(path.read_text(encoding="utf-8"))["mapping_config"]) == []


def test_a_path_that_decrypts_nothing_is_found() -> None:
    path = next(path for path in CASES if path.stem == WORTH_A_WORD)
    (found,) = findings(*json.loads(path.read_text(encoding="utf-8"))["mapping_config"])
    assert "'.payload.properties.key' is no dot path" in found
    assert found.endswith("(write payload.properties.key)")


@pytest.mark.parametrize(
    ("mapping", "finding"),
    [
        (
            {"fieldsToDecrypt": []},
            (
                "[0].fieldsToDecrypt: unknown key `fieldsToDecrypt`: it has no effect "
                "(did you mean fieldsToDecryptPaths?)"
            ),
        ),
        ({"report": {"externalRunID": ".response.json.id"}}, "(did you mean externalRunId?)"),
        ({"match": {}}, "unknown key `match`: it has no effect (that is a key of the routes file)"),
        (
            {"url": ".payload.action.url"},
            (
                "[0].url: `.payload.action.url`: a message has nothing there "
                "(write .payload.action.invocationMethod.url)"
            ),
        ),
        (
            {"enabled": '.payload.invocationMethod.type == "GITLAB"'},
            "(write .payload.action.invocationMethod.type)",
        ),
        ({"url": ".payload.action.url as $u | $u"}, "(write .payload.action.invocationMethod.url)"),
        (
            {"body": {"a": [".body.payload.entity"]}},
            (
                "[0].body.a[0]: `.body.payload.entity`: `.body` is the message "
                "in `report` alone; here the message is `.` (write .payload.entity)"
            ),
        ),
        ({"body": ".response.json"}, "`.response` is known in `report` alone, after the request"),
        (
            {"report": {"link": ".payload.entity.title"}},
            (
                "[0].report.link: `.payload.entity.title`: `report` sees "
                ".body (the message), .request and .response (write .body.payload.entity.title)"
            ),
        ),
        ({"report": {"link": ".body.payload.action.url"}}, "(write .body.payload.action.invocationMethod.url)"),
        (
            {"report": {"status": 'if .response.status == 200 then "SUCCESS" else "FAILURE" end'}},
            "(write .response.statusCode)",
        ),
        ({"report": {"link": ".response.body.id"}}, "(write .response.json, or .response.text)"),
        ({"report": {"summary": ".request.json"}}, "`.request` has method, url, body, headers, query"),
        ({"report": {"status": '"success"'}}, 'Port knows no status "success"'),
        ({"fieldsToDecryptPaths": [".payload.properties.a"]}, "(write payload.properties.a)"),
        ({"fieldsToDecryptPaths": ["payload.properties[0].a"]}, "(write payload.properties.0.a)"),
        ({"fieldsToDecryptPaths": ['payload["properties"].a']}, "(write payload.properties.a)"),
        ({"fieldsToDecryptPaths": ["payload.*"]}, "(name each value; list indices are numbers)"),
        ({"fieldsToDecryptPaths": [3]}, "[0].fieldsToDecryptPaths[0]: is no text"),
        ({"enabled": "yes"}, "'yes' is taken for true, and not for jq (write true)"),
        ({"enabled": "Off"}, "'Off' is taken for false, and not for jq (write false)"),
        ({"enabled": 1.0}, "1.0 is taken for true, and not for jq (write true)"),
        ({"enabled": 0}, "0 is taken for false, and not for jq (write false)"),
        ({"enabled": 2}, "2 is taken for false, and not for jq (write false)"),
        ({"enabled": 1}, "1 is taken for true, and not for jq (write true)"),
        ({"enabled": '"true"'}, "gives a text and never true: the mapping takes nothing (write true)"),
        ({"enabled": '"deploy"'}, '(write .action == "deploy", if that is the action\'s name)'),
        ({"enabled": '"a" + .action'}, "gives a text and never true"),
        ({"enabled": "2"}, "gives a number and never true"),
        ({"enabled": "null"}, "gives null and never true"),
        ({"enabled": '.action = "deploy"'}, "`=` sets a member and never gives true (compare with `==`)"),
        (
            {"method": "POST"},
            (
                "[0].method: is read as jq, which gives no text here: a fixed text needs quotes of its "
                'own (write "\\"POST\\"")'
            ),
        ),
        ({"url": "https://ci.internal/x"}, 'write "\\"…\\""'),
        ({"headers": {"Authorization": "Bearer abc"}}, 'write "\\"…\\""'),
        ({"headers": {"Authorization": "Bearer env.TOKEN"}}, '(write "\\"Bearer \\" + env.TOKEN")'),
        ({"headers": {"Authorization": "Basic $ENV.TOKEN"}}, '(write "\\"Basic \\" + env.TOKEN")'),
        ({"headers": {"Content-Type": "application/json"}}, 'write "\\"…\\""'),
        ({"fieldsToDecryptPaths": ["payload['key']"]}, "(write payload.key)"),
        ({"fieldsToDecryptPaths": [" payload.key"]}, "(write payload.key)"),
        ({"query": {"dry": "true"}}, "is jq's true, which Port's own agent sends as True"),
    ],
)
def test_each_slip_has_its_place_and_its_remedy(mapping: dict[str, Any], finding: str) -> None:
    found = findings(mapping)
    assert len(found) == 1, found
    assert finding in found[0]
    assert found[0].startswith("mapping.json:")


def test_a_text_without_quotes_may_be_a_secret_and_is_not_shown() -> None:
    found = findings({"url": "https://ci.internal/hook?token=abc", "headers": {"Authorization": "Bearer abc"}})
    assert len(found) == 2
    assert not any("abc" in line for line in found)


def test_the_line_is_the_slips_own() -> None:
    content = b'[\n {"enabled": false},\n {\n  "url": ".payload.action.url"\n }\n]'
    assert str(lint(parse(content, "m.json"))[0]).startswith("m.json:4: [1].url: ")


@pytest.mark.parametrize("enabled", [True, "true", "ON", 1, 1.0, None])
def test_what_stands_behind_a_mapping_that_takes_all_is_never_reached(enabled: Any) -> None:
    first = {} if enabled is None else {"enabled": enabled}
    found = findings({"enabled": ".a"}, first, {"enabled": ".b"}, {})
    reached = [line for line in found if "never reached" in line]
    assert [line.partition(": ")[2].partition(":")[0] for line in reached] == ["[2]", "[3]"]
    assert "[1] before it takes every message" in reached[0]


def test_of_several_that_take_all_the_first_is_named() -> None:
    assert all("[0] before it takes every message" in line for line in findings({}, {}, {"enabled": ".a"}))


@pytest.mark.parametrize(
    "mapping",
    [
        {"enabled": '.action == "a" and .payload.action.invocationMethod.type == "WEBHOOK"'},
        {"enabled": '"a" == .action'},
        {"enabled": '"\\(.action)" | test("x")'},
        {"enabled": "{a: 1} as {a: $x} | $x == 1"},
        {"body": {"payload": ".payload | .action.url"}},
        {"body": "map_values(.body)"},
        {"url": '.payload.properties.url // "https://x"'},
        {"report": {"link": ".response.json.body.status", "summary": ".response.headers.status"}},
        {"report": {"status": '"SUCCESS"'}},
        {"fieldsToDecryptPaths": ["payload.properties.a", "payload.secrets.0.value"]},
        {"headers": '{"Content-Type": "application/json"}'},
        "no object",
    ],
)
def test_what_may_be_meant_is_left_alone(mapping: Any) -> None:
    assert findings(mapping) == []


def test_a_file_that_is_no_list_has_no_findings_of_this_kind() -> None:
    assert lint(parse(b'{"a": 1}', "m.json")) == []


def test_words_that_changed_since_jq_15_are_named_once_with_all_their_places() -> None:
    mappings = [
        {"url": ".a | @uri", "body": {"x": ".b | @uri", "y": ".c | tonumber"}},
        {"report": {"link": "last(.a[])"}},
    ]
    notes = dialect_notes(parse(json.dumps(mappings).encode(), "m.json"))
    assert [note.partition(": ")[2].rpartition(": ")[0] for note in notes] == [
        "`@uri` in [0].url, [0].body.x",
        "`tonumber` in [0].body.y",
        "`last` in [1].report.link",
    ]
