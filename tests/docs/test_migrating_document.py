"""docs/migrating.md is true: a mapping and its route make the same request, and so does the route for GitLab."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jq  # type: ignore[import-not-found]  # ships no types
import pytest

from agent.domain.json import JsonObject
from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.docs.test_documents import ROOT, blocks

DOCUMENT = ROOT / "docs" / "migrating.md"
TOKENS = {"DEPLOY_TOKEN": "token-of-deploy", "GITLAB_TRIGGER_TOKEN": "glptt-of-gitlab"}
PORT = {"PORT_ORG_ID": "org", "PORT_CLIENT_ID": "id", "PORT_CLIENT_SECRET": "a secret of the examples, long enough"}
DEPLOY, GITLAB = [text for language, name, text in blocks(DOCUMENT) if language == "yaml" and not name]


def explained(routes: str, message: Any, directory: Path) -> tuple[str, dict[str, Any]]:
    """All that `action-agent explain` says of a message, and the request in it; none is empty."""
    (directory / "routes.yaml").write_text(routes)
    (directory / "message.json").write_text(json.dumps(message))
    done = subprocess.run(
        [Path(sys.executable).with_name("action-agent"), "explain", "message.json"],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "AGENT_ROUTES_PATH": "routes.yaml", **TOKENS},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    request = re.search(r"^  \{\n.*?^  \}$", said, re.MULTILINE | re.DOTALL)
    return said, json.loads(request[0]) if request else {}


def test_the_mapping_and_its_route_make_the_same_request(tmp_path: Path) -> None:
    [mapping] = json.loads(next(text for _, name, text in blocks(DOCUMENT) if name == "mapping.json"))
    entity: JsonObject = {"identifier": "shop", "title": "Shop", "properties": {}}
    click = Click("r_1", "deploy", blueprint="service", inputs={"version": "1.2.3"}, entity=entity)
    message = messages.webhook(click, "https://ci.internal")

    def old(expression: str) -> Any:
        return (
            jq.compile(f"$env as $env | {expression.replace('env.', '$env.')}", args={"env": TOKENS})
            .input_value(message)
            .first()
        )

    said, request = explained(DEPLOY, message, tmp_path)
    assert old(mapping["enabled"]) is True
    assert request["url"] == old(mapping["url"])
    assert request["body"] == {name: old(expression) for name, expression in mapping["body"].items()}
    assert old(mapping["headers"]["Authorization"]) == f"Bearer {TOKENS['DEPLOY_TOKEN']}"
    assert request["headers"]["Authorization"] == "Bearer [masked]"
    assert TOKENS["DEPLOY_TOKEN"] not in said


def test_commands_for_the_mapping_file_say_what_they_are_said_to(tmp_path: Path) -> None:
    commands = [
        line
        for language, _, text in blocks(DOCUMENT)
        if language == "sh"
        for line in text.replace("\\\n", " ").splitlines()
        if "action-agent " in line and "mapping.json" in line
    ]
    (tmp_path / "mapping.json").write_text(
        next(text for _, name, text in blocks(DOCUMENT) if name == "mapping.json")
    )
    entity: JsonObject = {"identifier": "shop", "title": "Shop", "properties": {}}
    click = Click("r_1", "deploy", blueprint="service", inputs={"version": "1.2.3"}, entity=entity)
    signed = messages.signed_message(messages.webhook(click, "https://ci.internal"), PORT["PORT_CLIENT_SECRET"])
    (tmp_path / "message.json").write_text(signed)
    said = {command.split("action-agent ")[1]: typed(command, tmp_path) for command in commands}
    assert said.keys() == {
        "explain message.json",
        "check",
        "check --message message.json",
        "migrate --mapping mapping.json --out new",
    }
    assert "https://ci.internal/deploy/shop" in said["explain message.json"]
    assert "no mapping takes" in said["check"]
    assert "message.json: [0] takes it" in said["check --message message.json"]
    assert "route deploy" in said["migrate --mapping mapping.json --out new"]
    assert "name: deploy" in (tmp_path / "new" / "routes.yaml").read_text()


@pytest.mark.parametrize("text", ["plain", 'it\'s "quoted" \\ ü'])
def test_a_message_is_taken_from_the_old_agent_s_log(tmp_path: Path, text: str) -> None:
    [command] = [one for language, _, one in blocks(DOCUMENT) if language == "sh" and "raw_value" in one]
    message = json.dumps({"text": text}, ensure_ascii=False).encode()
    lines = [
        f"INFO:app.processors.kafka.kafka_to_webhook_processor:Processing message - topic: t, partition: 0, "
        f"offset: {offset}, raw_value: {value!r}\nINFO:app.invokers.webhook_invoker:Finished processing the event\n"
        for offset, value in enumerate((b"{}", message))
    ]
    (tmp_path / "log").write_text("".join(lines))
    typed(f'kubectl() {{ [ "$3" = logs ] && cat log; }}\n{command}', tmp_path)
    assert (tmp_path / "message.json").read_bytes() == message


def typed(command: str, directory: Path) -> str:
    """All that a command says, which ends well, with no variable but those that it sets."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", command],
        cwd=directory,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_route_for_gitlab_asks_for_the_pipeline_that_the_old_agent_asked_for(tmp_path: Path) -> None:
    click = Click("r_1", "deploy", inputs={"version": "1.2.3", "count": 3, "on": True, "list": [1]})
    message = messages.gitlab(click, group="platform", project="deployments", ref="stable")
    said, request = explained(GITLAB, message, tmp_path)
    assert request["method"] == "POST"
    assert request["url"] == "https://gitlab.com/api/v4/projects/platform%2Fdeployments/trigger/pipeline"
    assert request["body"] == {
        "token": "[masked]",
        "ref": "stable",
        "variables": {"version": "1.2.3", "count": "3", "on": "true", "list": "[1]"},
        "port_payload": message,
    }
    assert TOKENS["GITLAB_TRIGGER_TOKEN"] not in said


def test_an_input_chooses_another_ref(tmp_path: Path) -> None:
    click = Click("r_1", "deploy", inputs={"ref": "feature"})
    message = messages.gitlab(click, group="platform", project="deployments")
    assert explained(GITLAB, message, tmp_path)[1]["body"]["ref"] == "feature"


@pytest.mark.parametrize("project", ["another", "deployments-2"])
def test_another_project_is_not_taken(project: str, tmp_path: Path) -> None:
    message = messages.gitlab(Click("r_1", "deploy"), group="platform", project=project)
    said, request = explained(GITLAB, message, tmp_path)
    assert request == {}
    assert "no route matched" in said


def test_without_a_route_a_gitlab_run_fails(tmp_path: Path) -> None:
    message = messages.gitlab(Click("r_1", "deploy"), group="platform", project="deployments")
    said, _ = explained(DEPLOY.replace("action: deploy", "action: other"), message, tmp_path)
    assert "would        end the run as FAILURE" in said
