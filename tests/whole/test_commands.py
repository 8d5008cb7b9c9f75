"""The other commands: what they print, and how they end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agent import __version__
from agent.sandbox import messages
from agent.sandbox.messages import Click, encrypted
from tests.whole.commands import Commands, command
from tests.whole.one_agent import port_message
from tests.whole.world import CLIENT_SECRET, World

BROKEN_ROUTES = """\
routes:
  - name: one
    match: {action: a}
    process: {comand: [echo]}
  - name: two
    match: {action: b}
    process: {command: [echo, "{{ .inputs.name | }}"]}
  - name: three
    match: {action: c}
    python: {callable: "no_such_module:function"}
  - name: four
    match: {action: d}
    http: {url: "{{ env.HOME }}/x", timeout: soon}
"""


MISSING_VALUES = """\
routes:
  - name: one
    match: {action: a}
    key: "k-{{ .inputs.x }}"
    http: {url: "http://ops/{{ .inputs.x }}"}
    entities:
      - {blueprint: b, identifier: "svc-{{ .inputs.x }}"}
      - {blueprint: b, identifier: "{{ .response.json.id }}-x"}
"""


@pytest.fixture
def commands(world: World, tmp_path: Path) -> Commands:
    return Commands(world, tmp_path)


def test_version(tmp_path: Path) -> None:
    ended = command("--version", env={}, cwd=tmp_path)
    assert (ended.returncode, ended.stdout.strip()) == (0, __version__)


def test_check_of_what_is_in_order_names_the_routes(commands: Commands) -> None:
    ended = commands("check")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "3 routes" in ended.stdout
    assert "greet: process, action greet" in ended.stdout


def test_check_notes_what_a_route_says_to_no_effect(world: World, tmp_path: Path) -> None:
    route = "match: {action: a}\n    process: {command: [echo]}\n"
    one = f"  - name: one\n    {route}    max_attempts: 3\n"
    two = f"  - name: two\n    {route.replace('a}', 'b}')}    on_interrupted: rerun\n    max_attempts: 3\n"
    commands = Commands(world, tmp_path, f"routes:\n{one}{two}")
    ended = commands("check")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = "route one: max_attempts: 3 counts only with on_interrupted: rerun"
    assert f"note: {commands.routes}:2: {said}" in ended.stdout
    assert ended.stdout.count("note: ") == 1


def test_check_notes_what_this_machine_lacks_and_is_content(world: World, tmp_path: Path) -> None:
    one = "  - name: one\n    match: {action: a}\n    process: {command: [./none.sh, bill]}\n"
    two = "  - name: two\n    match: {action: b}\n    process: {command: [echo], cwd: /no/such/place}\n"
    commands = Commands(world, tmp_path, f"routes:\n{one}{two}")
    ended = commands("check")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.startswith("note: ")] == [
        f"note: {commands.routes}:2: route one: its program {tmp_path}/none.sh does not exist here",
        f"note: {commands.routes}:5: route two: its directory /no/such/place does not exist here",
    ]


def test_check_lists_every_error_with_file_line_path_and_hint(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path, BROKEN_ROUTES)
    ended = commands("check", AGENT_MAX_CONCURRENT_RUNS="none")
    assert ended.returncode == 1
    for line, path, part in (
        (4, "routes[0].process", "comand"),
        (7, "routes[1].process.command[1]", ""),
        (10, "routes[2].python.callable", "AGENT_PYTHONPATH"),
        (13, "routes[3].http", "soon"),
    ):
        place = re.escape(f"{commands.routes}:{line}: {path}")
        assert re.search(rf"^{place}.*{part}", ended.stdout, re.MULTILINE), (place, ended.stdout)
    assert "AGENT_MAX_CONCURRENT_RUNS: " in ended.stdout
    assert "did you mean command?" in ended.stdout


def test_check_says_what_the_sdk_of_traces_does_not_take_and_never_what_is_secret(commands: Commands) -> None:
    ended = commands(
        "check",
        AGENT_TRACES="otlp",
        OTEL_EXPORTER_OTLP_HEADERS="Authorization: Bearer topsecret123",
        OTEL_TRACES_SAMPLER="nonsense",
        OTEL_EXPORTER_OTLP_TIMEOUT="abc",
    )
    assert ended.returncode == 1
    said = [line for line in ended.stdout.splitlines() if line.startswith("AGENT_TRACES: OpenTelemetry says: ")]
    for part in ("Header format invalid", "nonsense", "abc"):
        assert any(part in line for line in said), (part, ended.stdout)
    assert "topsecret123" not in ended.stdout + ended.stderr
    assert ended.stderr == ""


def test_check_warns_where_the_sdks_own_switch_turns_traces_off(commands: Commands) -> None:
    ended = commands("check", AGENT_TRACES="otlp", OTEL_SDK_DISABLED="true")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "warning: AGENT_TRACES: has no effect: OTEL_SDK_DISABLED is true" in ended.stdout


def test_check_names_in_one_line_what_only_the_official_agent_has_a_use_for(commands: Commands) -> None:
    bundle = "/tmp/port-agent/ca-certificates/ca-certificates.crt"
    ended = commands("check", DETAILED_LOGGING="true", USING_LOCAL_PORT_INSTANCE="True", REQUESTS_CA_BUNDLE=bundle)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("note: "))
    for name in ("DETAILED_LOGGING", "USING_LOCAL_PORT_INSTANCE", "REQUESTS_CA_BUNDLE"):
        assert name in line
    assert "no effect here" not in commands("check", DETAILED_LOGGING="false").stdout


def test_check_needs_no_credentials_to_look_at_routes(world: World, tmp_path: Path) -> None:
    """As in the CI job of whoever keeps the routes: what is missing is said, and the routes are read."""
    commands = Commands(world, tmp_path, BROKEN_ROUTES)
    ended = command("check", env={"AGENT_ROUTES_PATH": str(commands.routes)}, cwd=tmp_path)
    assert ended.returncode == 1
    assert "PORT_ORG_ID: is not set" in ended.stdout
    assert "routes[0].process" in ended.stdout


def test_explain_shows_each_rules_verdict_and_what_would_be_done_and_does_nothing(
    world: World, commands: Commands
) -> None:
    requests = world.asked()
    click = Click("r_explained", "call", {"name": "billing"})
    ended = commands.explain(messages.wire_text(messages.kafka_v1(click)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = ended.stdout.splitlines()
    assert any("r_explained" in line for line in lines)
    assert any(re.match(r"route +greet: action is 'call', not 'greet'", line) for line in lines)
    assert any(re.match(r"route +call: MATCHES", line) for line in lines)
    assert not any("vm-changed" in line for line in lines), "after the first match none is asked"
    assert '"url": "https://ops.example/billing"' in ended.stdout
    assert '"method": "PUT"' in ended.stdout
    assert world.asked() == requests


def test_explain_shows_command_key_entity_and_report(commands: Commands) -> None:
    click = Click("r_explained", "greet", {"name": "billing", "region": "eu"}, "service")
    ended = commands.explain(messages.wire_text(messages.kafka_v1(click)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for part in ('"hello billing"', '"REGION": "eu"', 'key: "billing"', "entities[0] (upsert)", "report.link"):
        assert part in ended.stdout


def test_explain_takes_the_tutorial_and_reads_standard_input(commands: Commands) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "agent", "explain", "-"],
        input=port_message("tutorial_create"),
        env={"PATH": "/usr/bin:/bin", **commands.settings},
        cwd=commands.home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "r_QOz6WoOB1Q2lmhZZ" in ended.stdout
    assert "no route matched" in ended.stdout


def test_explain_of_a_forged_message_says_so_and_fails(commands: Commands) -> None:
    click = Click("r_forged", "call", {"name": "n"})
    message = messages.signed_message(messages.webhook(click, "http://x.example/"), "another organisation's secret")
    ended = commands.explain(message)
    assert ended.returncode == 1
    assert "REFUSED (signature): the message was not signed with this PORT_CLIENT_SECRET;" in ended.stdout
    assert re.search(r"route +call: MATCHES", ended.stdout), "what it would do is shown all the same"


def test_explain_of_a_message_for_agents_without_a_route_fails(commands: Commands) -> None:
    click = Click("r_unrouted", "grete", {"name": "n"}, "service")
    message = messages.signed_message(messages.webhook(click, "http://x.example/"), CLIENT_SECRET)
    ended = commands.explain(message)
    assert ended.returncode == 1
    assert "no route matched" in ended.stdout
    assert "greet" in ended.stdout
    ignoring = commands.explain(message, AGENT_UNROUTED="ignore")
    assert ignoring.returncode == 0
    assert "left to other agents" in ignoring.stdout


def test_explain_of_a_condition_that_does_not_end(world: World, tmp_path: Path) -> None:
    endless = "match: {action: greet, when: '[range(1e12)] | length > 0'}"
    routes = f"routes:\n  - name: one\n    {endless}\n    process: {{command: [echo]}}\n"
    commands = Commands(world, tmp_path, f"{routes}  - {{name: two, match: {{action: greet}}, http: {{}}}}\n")
    click = Click("r_endless", "greet", {})
    for message, code, would in (
        (messages.signed_message(messages.webhook(click, "http://x.example/"), CLIENT_SECRET), 1, "FAILURE"),
        (messages.wire_text(messages.kafka_v1(click)), 0, "whether it is for that route is not known"),
    ):
        ended = commands.explain(message, AGENT_JQ_TIMEOUT_S="0.2")
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert re.search(r"^route +one: `when` was not evaluated: .*took longer than", ended.stdout, re.MULTILINE)
        assert "two" not in ended.stdout
        assert would in ended.stdout


def test_explain_needs_no_credentials_and_says_what_it_does_not_verify(commands: Commands) -> None:
    commands.settings = {"AGENT_ROUTES_PATH": str(commands.routes)}
    click = Click("r_explained", "call", {"name": "billing"})
    for message in (
        messages.wire_text(messages.kafka_v1(click)),
        messages.signed_message(messages.webhook(click, "http://x.example/"), "another secret"),
    ):
        ended = commands.explain(message)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stdout.startswith("signature    not verified: PORT_CLIENT_SECRET is not set")
        assert '"url": "https://ops.example/billing"' in ended.stdout
    wrong = commands.explain(message, AGENT_UNROUTED="maybe")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("the message cannot be explained; what is wrong:\n  AGENT_UNROUTED: ")
    assert "PORT_" not in wrong.stderr


def test_explain_shows_where_a_missing_value_fails_the_run(world: World, tmp_path: Path) -> None:
    commands = Commands(world, tmp_path, MISSING_VALUES)
    ended = commands.explain(messages.wire_text(messages.kafka_v1(Click("r_explained", "a", {}))))
    assert ended.returncode == 1
    for line in (
        "  FAILS: routes[0].http.url: `.inputs.x` gave null inside of text;",
        "key: FAILS: routes[0].key: `.inputs.x` gave null inside of text;",
        "entities[0] (upsert): FAILS: routes[0].entities[0].identifier: `.inputs.x` gave null",
        "entities[1] (upsert): before the work is done: routes[0].entities[1].identifier: `.response.json.id` gave",
    ):
        assert f"\n{line}" in ended.stdout, ended.stdout


@pytest.mark.parametrize("failing", ["key", "entities"])
def test_explain_fails_where_a_rule_fails_the_run(world: World, tmp_path: Path, failing: str) -> None:
    rule = {"key": '"k-{{ .inputs.x }}"', "entities": '[{blueprint: b, identifier: "k-{{ .inputs.x }}"}]'}[failing]
    route = f"{{name: one, match: {{action: a}}, process: {{command: [echo]}}, {failing}: {rule}}}"
    commands = Commands(world, tmp_path, f"routes: [{route}]")
    assert commands.explain(messages.wire_text(messages.kafka_v1(Click("r_1", "a", {})))).returncode == 1
    assert commands.explain(messages.wire_text(messages.kafka_v1(Click("r_1", "a", {"x": "y"})))).returncode == 0


def test_variables_of_the_env_file_count_for_routes_and_reach_no_child_by_themselves(
    world: World, tmp_path: Path
) -> None:
    process = '{command: [echo, "{{ env.PLACE }}"], pass_env: [PASSED]}'
    route = f"{{name: one, match: {{action: a}}, env: [PLACE], secrets: [TOKEN], process: {process}}}"
    commands = Commands(world, tmp_path, f"routes: [{route}]")
    (tmp_path / ".env").write_text(
        "PLACE=the place\nTOKEN=t0ken-t0ken\nPASSED=on\nHTTPS_PROXY=socks5://nowhere:1\n"
    )
    ended = commands.explain(messages.wire_text(messages.kafka_v1(Click("r_1", "a", {}))))
    assert "HTTPS_PROXY: socks5:// proxies cannot be used" in ended.stderr
    (tmp_path / ".env").write_text("PLACE=the place\nTOKEN=t0ken-t0ken\nPASSED=on\n")
    ended = commands.explain(messages.wire_text(messages.kafka_v1(Click("r_1", "a", {}))))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert '"the place"' in ended.stdout
    shown = json.loads(ended.stdout[ended.stdout.index("  {") : ended.stdout.rindex("}") + 1])
    assert shown["env"] == {"PASSED": "(from the agent's environment)"}


def test_sandbox_of_routes_that_are_not_there(tmp_path: Path) -> None:
    ended = command("sandbox", "--routes", "nothere.yaml", env={}, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (2, "--routes nothere.yaml: there is no such file here.\n")


def test_explain_of_a_change_event(commands: Commands) -> None:
    ended = commands.explain(port_message("entity_changed"), "--change-log")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"route +vm-changed: MATCHES", ended.stdout)


def test_explain_keeps_encrypted_inputs_closed(commands: Commands) -> None:
    closed = encrypted("the plain words", CLIENT_SECRET)
    click = Click("r_closed", "call", {"name": closed}, encrypted=("name",))
    ended = commands.explain(messages.wire_text(messages.kafka_v1(click)))
    assert "the plain words" not in ended.stdout + ended.stderr
    assert re.search(r"encrypted +name", ended.stdout)


def test_explain_of_what_is_no_message_or_no_file(commands: Commands) -> None:
    assert commands.explain("not JSON").returncode == 1
    missing = commands("explain", "no-such-file.json")
    assert missing.returncode == 2
    assert "no-such-file.json" in missing.stderr


def test_schema_is_one_that_editors_can_use(tmp_path: Path) -> None:
    ended = command("schema", env={}, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    schema = json.loads(ended.stdout)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    route = {"name": "r", "match": {"action": "a"}}
    assert validator.is_valid({"routes": [{**route, "process": {"command": ["echo"]}}]})
    assert not validator.is_valid({"routes": [route]})
    assert not validator.is_valid({"routes": [{**route, "process": {"comand": ["echo"]}}]})
