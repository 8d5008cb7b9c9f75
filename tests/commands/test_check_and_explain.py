"""What `check` and `explain` say of mapping files, and of routes with conditions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.commands.check import run_check
from agent.commands.explain import explain
from agent.domain.invocation import Channel
from agent.sandbox import messages
from agent.sandbox.messages import Click
from agent.settings import Settings, defaults

ORG_SECRET = "a client secret of thirty-two bytes"
CLICK = Click("r_1", "greet", {"name": "billing"})
MESSAGE = messages.signed_message(messages.webhook(CLICK, "http://x.example/"), ORG_SECRET)


class Said:
    """What the commands say of one file of mappings, or of routes."""

    def __init__(self, path: Path, content: Any, environment: Mapping[str, str] | None = None) -> None:
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        name = "AGENT_ROUTES_PATH" if isinstance(content, str) else "CONTROL_THE_PAYLOAD_CONFIG_PATH"
        base = defaults()
        secret = type(base.PORT_CLIENT_SECRET)(ORG_SECRET)
        self.settings: Settings = base.model_copy(update={name: path, "PORT_CLIENT_SECRET": secret})
        self.environment = environment or {}

    def check(self, bodies: Sequence[tuple[str, bytes]] = (), code: int = 0) -> list[str]:
        lines: list[str] = []
        ended = run_check(self.settings, self.environment, lines.append, (), bodies)
        assert ended == code, lines
        return lines

    def explain(self, message: str = MESSAGE, code: int = 0) -> list[str]:
        lines: list[str] = []
        told = explain(self.settings, self.environment, message.encode(), Channel.RUNS, lines.append)
        ended = asyncio.run(told)
        assert ended == code, lines
        return lines


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.json"


def test_warnings_are_counted_where_what_can_be_used_is_named(file: Path) -> None:
    [verdict] = [line for line in Said(file, [{"enabled": True}]).check() if line.startswith("settings and")]
    assert verdict == f"settings and routes are in order: 1 route from {file}"
    lines = Said(file, [{"enabled": True}, {"bodi": "."}]).check()
    assert sum(line.startswith("warning: ") for line in lines) == 2
    assert f"settings and routes can be used, with 2 warnings: 2 routes from {file}" in lines
    lines = Said(file, [{"enabled": True, "bodi": "."}]).check()
    assert f"settings and routes can be used, with 1 warning: 1 route from {file}" in lines


def test_check_says_which_messages_a_mapping_takes(file: Path) -> None:
    lines = Said(file, [{"enabled": '.action == "x"'}, {"enabled": False}, {}]).check()
    assert lines[-3:] == [
        "  mapping-1: http, where its `enabled` gives true",
        "  mapping-2: http, no message: its `enabled` is false",
        "  mapping-3: http, every message for agents",
    ]


def test_check_says_that_a_route_has_a_condition(file: Path) -> None:
    routes = [
        {"name": "one", "match": {"action": "a", "when": ".inputs.x"}, "http": {}},
        {"name": "two", "match": {"when": ".inputs.x"}, "http": {}},
        {"name": "three", "match": {"type": "GITLAB"}, "http": {}},
    ]
    lines = Said(file, json.dumps({"routes": routes})).check()
    assert lines[-3:] == [
        "  one: http, action a, where its condition holds",
        "  two: http, every action, where its condition holds",
        "  three: http, type GITLAB",
    ]


def test_what_the_answer_decides_is_not_shown_as_if_it_were_known(file: Path) -> None:
    report = {
        "status": 'if .response.statusCode == 200 then "SUCCESS" else "FAILURE" end',
        "externalRunId": ".response.json.id",
        "link": ".request.url",
        "summary": ".body.payload.properties.name",
    }
    lines = Said(file, [{"url": '"http://x.example/"', "report": report}]).explain()
    assert [line for line in lines if line.startswith("report.")] == [
        "report.link: known once the target has answered",
        "report.externalRunId: known once the target has answered",
        "report.status: known once the target has answered",
        'report.summary: "billing"',
    ]


def test_what_the_work_decides_is_not_shown_in_routes_either(file: Path) -> None:
    rule = {"process": {"command": ["echo"]}, "report": {"link": "https://x/{{ .outputs.id }}", "summary": "done"}}
    lines = Said(file, json.dumps({"routes": [{"name": "a", "match": {"action": "greet"}, **rule}]})).explain()
    assert lines[-2:] == ["report.link: known once the work is done", 'report.summary: "done"']


def notes_of(lines: Sequence[str]) -> list[str]:
    return [line.removeprefix("note").lstrip(": ") for line in lines if line.startswith("note")]


def test_a_variable_that_is_not_set_is_noted_by_both(file: Path) -> None:
    mapping = {
        "url": '"http://x.example/"',
        "headers": {"Authorization": '"Bearer " + env.TOKEN', "Region": 'env.REGION // "eu"', "Other": "env.OTHER"},
        "report": {"link": "env.BASE + .response.json.id"},
    }
    said = Said(file, [mapping], {"OTHER": "value"})
    assert notes_of(said.explain())[:2] == ["env.TOKEN is not set here", "env.BASE is not set here"]
    place = f"{file}:2: route mapping-1"
    assert notes_of(said.check()) == [f"{place}: env.TOKEN is not set here", f"{place}: env.BASE is not set here"]


def test_a_variable_that_is_not_set_is_noted_of_routes_as_well(file: Path) -> None:
    rule = {"http": {"url": "http://x.example/", "headers": {"A": "{{ env.TOKEN }} env.PLAIN"}}, "env": ["TOKEN"]}
    content = json.dumps({"routes": [{"name": "a", "match": {"action": "greet"}, **rule}]})
    assert notes_of(Said(file, content).explain()) == ["env.TOKEN is not set here"]
    assert notes_of(Said(file, content, {"TOKEN": "geheim"}).explain()) == []


def test_a_method_without_quotes_fails_with_its_cause(file: Path) -> None:
    lines = Said(file, [{"enabled": False}, {"url": '"http://x.example/"', "method": "POST"}]).explain(code=1)
    [place] = [number for number, line in enumerate(lines) if line.startswith("  FAILS: 'null' is no method")]
    cause = "[1].method: is read as jq, which gives no text here: a fixed text needs quotes of its own"
    assert lines[place + 1] == f'note         {file}:7: {cause} (write "\\"POST\\"")'
    assert lines[place + 2].endswith("; it counts as null")


def test_what_is_to_be_decrypted_and_is_not_there_is_noted(file: Path) -> None:
    paths = ["payload.properties.token", "payload.properties.name"]
    lines = Said(file, [{"url": '"http://x.example/"', "fieldsToDecryptPaths": paths}]).explain()
    assert notes_of(lines) == [
        "nothing would be decrypted at 'payload.properties.token': `.payload.properties` has name"
    ]


def test_headers_and_parameters_that_fail_are_left_out_and_said_to_be(file: Path) -> None:
    mapping = {"url": '"http://x.example/"', "headers": {"A": ".x.y + {}|error"}, "query": {"q": "1 + {}"}}
    notes = notes_of(Said(file, [{**mapping, "body": {"b": "1 + {}"}}]).explain())
    ends = [note.partition(":")[0] + note.rpartition(";")[2] for note in notes]
    assert sorted(ends) == [
        "[0].body.b null is sent instead",
        "[0].headers.A it is left out",
        "[0].query.q it is left out",
    ]


def test_what_is_found_in_a_message_names_its_file(file: Path) -> None:
    said = Said(file, [{"url": '"http://x.example/"', "body": ".payload.nothing"}])
    lines = said.check([("one.json", MESSAGE.encode()), ("two.json", MESSAGE.encode())])
    found = f"{file}:4: [0].body: gives null on this message"
    for name in ("one.json", "two.json"):
        assert sum(line.startswith(f"{name}: {found}; ") for line in lines) == 1
