"""A recorded message on a mapping file: names of what leads nowhere, and never a value."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.commands.mapping_file import MappingFile
from agent.commands.mapping_trial import where_it_ends
from agent.domain.errors import ConfigurationError
from agent.domain.json import Json
from agent.settings import defaults
from tests.drop_in.mapping_rig import SECRET

CASES = Path(__file__).parent.parent / "drop_in" / "cases"


def recorded(name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return case


MESSAGE = recorded("argo_resubmit_ok")["message"]


def tried(
    mappings: Any, message: Any = MESSAGE, environment: Mapping[str, str] | None = None, secret: str = SECRET
) -> list[str]:
    settings = defaults().model_copy(update={"PORT_CLIENT_SECRET": type(defaults().PORT_CLIENT_SECRET)(secret)})
    content = json.dumps(mappings, indent=1).encode()
    mapping = MappingFile.parse(content, "m.json", settings, environment or {})
    try:
        body = message if isinstance(message, str) else json.dumps(message)
        return list(mapping.tried(body.encode(), "one.json"))
    finally:
        asyncio.run(mapping.close())


def of(expression: Any, **environment: str) -> str:
    """What is said of an expression in the body."""
    lines = tried([{"body": expression}], environment=environment)
    assert lines[0] == "one.json: [0] takes it (m.json:2)"
    assert all(line.startswith("one.json: ") for line in lines)
    return "\n".join(lines[1:])


@pytest.mark.parametrize("name", ["argo_resubmit_ok", "terraform_cloud_201", "gitlab_subgroups_token_env_name"])
def test_nothing_is_said_of_what_works(name: str) -> None:
    case = recorded(name)
    lines = tried(case["mapping_config"], case["message"], case["env"])
    assert [line for line in lines if not line.startswith("one.json: [0] takes it")] == []


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("a.b", ""),
        ("a.l.1.c", ""),
        ("a.bb", "`.a` has b, l, n"),
        ("a.b.c", "`.a.b` is a number"),
        ("a.n", "`.a.n` is null"),
        ("a.n.x", "`.a.n` is null"),
        ("a.l.x", "`.a.l` is a list"),
        ("a.l.2", "`.a.l` is a list of 2"),
        ("x", "`.` has a, e"),
        ("e.x", "`.e` has no members"),
    ],
)
def test_where_paths_end(steps: str, said: str) -> None:
    document: Json = {"a": {"l": [1, {"c": 2}], "n": None, "b": 1}, "e": {}}
    assert where_it_ends(document, steps.split(".")).replace("l, n, b", "b, l, n") == said.replace(
        "l, n, b", "b, l, n"
    )


def test_the_nearest_names_come_first_and_not_all_of_many() -> None:
    document: Json = {f"member{number}": number for number in range(20)} | {"name": 1}
    assert where_it_ends(document, ["nmae"]).startswith("`.` has name, member0, ")
    assert where_it_ends(document, ["nmae"]).endswith(", member10 and 9 more")


def test_null_and_failure_are_named_with_where_the_paths_end() -> None:
    assert of(".payload.properties.nmespace") == (
        "one.json: m.json:3: [0].body: gives null on this message; `.payload.properties.nmespace`: "
        "`.payload.properties` has namespace, memoized"
    )
    said = of(".payload.entity.title | tonumber")
    assert said == (
        "one.json: m.json:3: [0].body: fails on this message: `.payload.entity.title | tonumber`: string "
        "cannot be parsed as a number"
    )


def test_what_is_given_is_not_told_whatever_its_parts() -> None:
    assert of('.payload.nothing // "x"') == ""
    assert of("null") == ""
    assert of({"a": "1", "b": [".action"]}) == ""
    assert of(".a |") == ""  # said when the file is read


def test_a_default_that_is_null_as_well_is_told_without_paths() -> None:
    assert of(".a // .b") == "one.json: m.json:3: [0].body: gives null on this message"


def test_variables_that_are_not_there_are_named_and_others_not_shown() -> None:
    assert (
        of('"Bearer " + env.TOKEN') == "one.json: m.json:3: [0].body: `env.TOKEN`: there is no such variable here"
    )
    assert of('"Bearer " + env.TOKEN', TOKEN="geheim") == ""
    assert of('env.TOKEN // "none"') == ""


def test_of_a_report_only_what_it_reads_of_the_message_is_told() -> None:
    report = {"link": ".body.payload.entity.titel + .response.json.x", "summary": ".response.text", "status": ".x"}
    lines = tried([{"report": report}])
    assert len(lines) == 2
    assert "[0].report.link: `.body.payload.entity.titel`: `.body.payload.entity` has title, " in lines[1]


def test_mappings_before_the_one_that_takes_it_say_why_not() -> None:
    lines = tried([{"enabled": '.action == "x"'}, {"enabled": ".action | keys"}, {}])
    assert lines[0] == "one.json: [0] does not take it: `enabled` gave false, not true"
    assert lines[1].startswith("one.json: [1] does not take it: `enabled` failed: ")
    assert lines[2].startswith("one.json: [2] takes it")
    assert tried([{"enabled": False}])[-1] == "one.json: no mapping takes it"


def test_encrypted_fields_are_looked_for_and_opened() -> None:
    case = recorded("decrypt_top_and_array_index")
    mapping = [{**case["mapping_config"][0], "body": {"a": ".payload.properties.api_key.x"}}]
    mapping[0]["fieldsToDecryptPaths"] = [*mapping[0]["fieldsToDecryptPaths"][:2], "payload.nothing"]
    lines = tried(mapping, case["message"])
    assert sum("is in one.json" in line for line in lines) == 2
    assert any("fieldsToDecryptPaths[2]: nothing to decrypt in one.json: `.payload` has " in line for line in lines)
    assert not any("goes on with secrets closed" in line for line in lines)
    plain = case["expected_request"]["body"]["p"]["api_key"]
    assert not any(plain in line for line in lines)
    assert any("`.payload.properties.api_key` is text" in line for line in lines)


@pytest.mark.parametrize("secret", ["", "another secret, of thirty-two bytes and more"])
def test_without_the_right_secret_it_goes_on_with_them_closed(secret: str) -> None:
    case = recorded("decrypt_top_and_array_index")
    lines = tried(case["mapping_config"], case["message"], secret=secret)
    assert any(line.startswith("one.json: goes on with secrets closed, for ") for line in lines)
    assert any("takes it" in line for line in lines)


def test_messages_of_the_change_log_and_what_is_none() -> None:
    event = {"action": "UPDATE", "changelogDestination": {"agent": True, "url": "https://x.y"}, "diff": {}}
    lines = tried([{"url": ".changelogDestination.url", "body": ".diff.after"}], event)
    assert lines[0].startswith("one.json: [0] takes it")
    assert "`.diff.after`: `.diff` has no members" in lines[1]
    event["changelogDestination"] = {"agent": False}
    method = {"agent": False, "type": "WEBHOOK"}
    for message in (event, {"payload": {"action": {"invocationMethod": method}}}):
        assert tried([{}], message)[-1].endswith("no mapping takes it")
    with pytest.raises(ConfigurationError, match=r"^one\.json: is no message that can be tried: "):
        tried([{}], "no json")
