"""Where the official agent loses runs, shows secrets or can be stopped by an expression, and this one does not.

One agent with one mapping file stands for all: each scene is a mapping and the run that it takes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from agent.domain.json import Json, JsonObject
from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.drop_in.internet import IMPOSTOR, SILENT, Answer
from tests.drop_in.stage import Stage, Standing
from tests.whole.world import CLIENT_SECRET

SECRET = "plain-text-of-a-secret-input"
TOKEN = "value-of-the-variable-API_TOKEN"
TOKEN_IN_BASE64 = b64encode(f"me:{TOKEN}".encode()).decode()
FAILS = Answer(500, '{"error": "disk full"}')


@dataclass(frozen=True)
class Scene:
    """One mapping, and the click that it takes. ``secret`` names the inputs that Port has encrypted."""

    mapping: JsonObject = field(default_factory=dict)
    url: str = ""
    inputs: JsonObject = field(default_factory=dict)
    secret: tuple[str, ...] = ()
    answer: Answer = field(default_factory=Answer)
    changed: Callable[[dict[str, Any]], JsonObject] = lambda document: document

    def url_of(self, name: str) -> str:
        return self.url or f"https://{name.replace('_', '-')}.example/hook"

    def message(self, name: str) -> str:
        click = Click(f"r_{name}", name, self.inputs).with_secret_inputs(CLIENT_SECRET, *self.secret)
        document = messages.webhook(click, self.url_of(name))
        return messages.signed_message(self.changed(document), CLIENT_SECRET)


def _wrapped(document: dict[str, Any]) -> JsonObject:
    """The shape of the tutorial: all of it under one more ``payload``."""
    headers = document.pop("headers")
    return {"payload": document, "headers": headers}


EVIL = {
    "input": "input",
    "inputs": "[inputs]",
    "halt": "halt",
    "halt_error": '"x" | halt_error',
    "endless_gsub": '"aaa" | gsub(""; "a")',
    "endless_loop": "[repeat(.)]",
    "much_memory": '[limit(1000000000; repeat("x"))]',
    "deep_recursion": "def f: 1 + f; f",
    "location": "$__loc__",
    "debug": ".action | debug",
    "file": "input_filename",
}

SCENES: Mapping[str, Scene] = {
    "refused": Scene(url="https://127.0.0.1:1/hook"),
    "untrusted": Scene(url=f"https://{IMPOSTOR}/hook"),
    "timed_out": Scene(url=f"https://{SILENT}/hook"),
    "null_url": Scene({"url": ".payload.action.url"}),
    "failing_url": Scene({"url": 'error("no url")'}),
    "null_method": Scene({"method": ".payload.method"}),
    "split_header": Scene({"headers": {"X-Note": '"one\\ntwo"'}}),
    "null_headers": Scene({"headers": ".payload.headers"}),
    "report_fails": Scene(
        {"report": {"status": 'error("no")', "summary": "1 + {}", "link": ".response."}}, answer=FAILS
    ),
    "report_null": Scene({"report": {"status": ".x", "summary": ".response.json.x", "link": ".x"}}, answer=FAILS),
    "wrong_path": Scene(
        {"body": {"key": ".payload.properties.key"}, "fieldsToDecryptPaths": ["payload.properties.kye"]},
        inputs={"key": SECRET},
        secret=("key",),
    ),
    "undecryptable": Scene(
        {"fieldsToDecryptPaths": ["payload.properties.key"]}, inputs={"key": "bm90IGVuY3J5cHRlZA=="}
    ),
    "secret": Scene(
        {
            "headers": {"X-Token": '"Token " + env.API_TOKEN'},
            "body": {"key": ".payload.properties.key"},
            "fieldsToDecryptPaths": ["payload.properties.key"],
            "report": {"summary": '"sent " + .body.payload.properties.key + " with " + env.API_TOKEN'},
        },
        inputs={"key": SECRET},
        secret=("key",),
        answer=Answer(500, f"who sends {SECRET} with {TOKEN}?", {"Content-Type": "text/plain"}),
    ),
    "computed_secret": Scene(
        {
            "headers": {"X-Basic": '"Basic " + ("me:" + env["API" + "_TOKEN"] | @base64)'},
            "report": {"summary": '.request.headers["X-Basic"]', "link": '"https://x.example/" + .response.text'},
        },
        answer=Answer(500, TOKEN_IN_BASE64, {"Content-Type": "text/plain"}),
    ),
    "failing_condition": Scene({"enabled": '.action == "failing_condition" and (1 + {})'}),
    "lists": Scene(
        {
            "body": [".action", {"n": [".payload.properties.n", 7]}],
            "report": {"link": ['"https://one.example"', ".response.json.url"]},
        },
        inputs={"n": 5},
        answer=Answer(body='{"url": "https://two.example"}'),
    ),
    "numbers": Scene(
        {
            "report": {
                "status": '"SUCCESS"',
                "link": ".response.json.n",
                "summary": ".response.json",
                "externalRunId": ".response.json.n",
            }
        },
        answer=Answer(body='{"n": 4711}'),
    ),
    "wrapped": Scene({"body": {"name": ".payload.properties.name"}}, inputs={"name": "a"}, changed=_wrapped),
    **{f"evil_{name}": Scene({"body": {"b": source}}) for name, source in EVIL.items()},
    **{f"evil_report_{name}": Scene({"report": {"summary": source}}) for name, source in EVIL.items()},
    "zz_after_all_that": Scene(),
}


@pytest.fixture(scope="module")
def agent(stage: Stage) -> Standing:
    """The agent, once all scenes are over; in the end one was played that can only succeed."""
    mapping: Json = [{"enabled": f'.action == "{name}"', **scene.mapping} for name, scene in SCENES.items()]
    agent = stage.begin("deviations", mapping, {"API_TOKEN": TOKEN}, WEBHOOK_INVOKER_TIMEOUT="1")
    for name, scene in SCENES.items():
        agent.internet.answers[scene.url_of(name).removeprefix("https://")] = scene.answer
        agent.deliver(scene.message(name))
    agent.finish()
    return agent


def failure(agent: Standing, name: str) -> str:
    """The reason with which the run ended as a failure."""
    report = agent.report(f"r_{name}")
    assert report["status"] == "FAILURE"
    return str(report["summary"])


def sent(agent: Standing, name: str) -> Json:
    """The body of the scene's only request."""
    (request,) = agent.internet.to(SCENES[name].url_of(name))
    return request.json


def log(agent: Standing, name: str) -> str:
    """What Port shows of the run's log."""
    return agent.run_log(f"r_{name}")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refused", "127.0.0.1:1"),
        ("untrusted", "certificate"),
        ("timed_out", "did not"),
        ("null_url", "url"),
        ("failing_url", "url"),
        ("null_method", "method"),
        ("split_header", "X-Note"),
        ("null_headers", "headers"),
    ],
)
def test_every_sending_error_ends_the_run_with_its_reason(agent: Standing, name: str, reason: str) -> None:
    assert reason in failure(agent, name)


@pytest.mark.parametrize("name", ["null_url", "failing_url", "null_method", "split_header", "null_headers"])
def test_what_is_no_request_is_not_sent(agent: Standing, name: str) -> None:
    assert agent.internet.to(SCENES[name].url_of(name)) == []


@pytest.mark.parametrize("name", ["report_fails", "report_null"])
def test_report_expressions_without_a_value_leave_the_default_and_say_so(agent: Standing, name: str) -> None:
    assert "500" in failure(agent, name)
    for part in ("status", "summary", "link"):
        assert f"report.{part}" in log(agent, name)


def test_a_wrong_decryption_path_is_told_with_the_path(agent: Standing) -> None:
    assert "payload.properties.kye" in log(agent, "wrong_path")
    assert sent(agent, "wrong_path") != {"key": SECRET}


def test_what_cannot_be_decrypted_fails_the_run_and_is_not_sent(agent: Standing) -> None:
    assert "payload.properties.key" in failure(agent, "undecryptable")
    assert agent.internet.to(SCENES["undecryptable"].url_of("undecryptable")) == []


def test_secrets_reach_their_target_and_nobody_else(agent: Standing) -> None:
    (request,) = agent.internet.to(SCENES["secret"].url_of("secret"))

    assert request.json == {"key": SECRET}
    assert request.header("X-Token") == f"Token {TOKEN}"
    assert "sent " in failure(agent, "secret")
    for secret in (SECRET, TOKEN):
        assert secret not in agent.everything_port_was_told()
        assert secret not in agent.output()


def test_a_secret_of_a_variable_whose_name_is_made_up_is_masked_in_any_coding(agent: Standing) -> None:
    (request,) = agent.internet.to(SCENES["computed_secret"].url_of("computed_secret"))

    assert request.header("X-Basic") == f"Basic {TOKEN_IN_BASE64}"
    assert failure(agent, "computed_secret").startswith("Basic ")
    for half in (TOKEN_IN_BASE64[:20], TOKEN_IN_BASE64[20:]):
        assert half not in agent.everything_port_was_told()
        assert half not in agent.output()


def test_a_condition_that_fails_takes_nothing_and_is_told_in_the_agents_log(agent: Standing) -> None:
    assert agent.internet.to(SCENES["failing_condition"].url_of("failing_condition")) == []
    assert agent.told("r_failing_condition") == []
    (line,) = [line for line in agent.output().splitlines() if "a condition failed" in line]
    told = json.loads(line)
    assert (told["level"], told["run_id"]) == ("warning", "r_failing_condition")
    assert "cannot be added" in told["reason"]


def test_bodies_and_links_may_be_json_lists(agent: Standing) -> None:
    assert sent(agent, "lists") == ["lists", {"n": [5, 7]}]
    assert agent.report("r_lists")["link"] == ["https://one.example", "https://two.example"]


def test_numbers_and_objects_are_reported_as_texts(agent: Standing) -> None:
    report = agent.report("r_numbers")

    assert report["status"] == "SUCCESS"
    assert report["link"] in ("4711", ["4711"])
    assert report["externalRunId"] == "4711"
    assert json.loads(report["summary"]) == {"n": 4711}


def test_the_wrapped_shape_is_read_as_the_plain_one(agent: Standing) -> None:
    assert sent(agent, "wrapped") == {"name": "a"}


@pytest.mark.parametrize("name", EVIL)
def test_no_expression_stops_or_hangs_the_agent(agent: Standing, name: str) -> None:
    for scene in (f"evil_{name}", f"evil_report_{name}"):
        requests = agent.internet.to(SCENES[scene].url_of(scene))
        assert len(requests) == 1 or failure(agent, scene)
    assert sent(agent, "zz_after_all_that")
