"""Encrypted inputs are opened for the executor, and are seen nowhere else, neither open nor closed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.sandbox import messages
from agent.sandbox.messages import Click, encrypted
from tests.whole.one_agent import OneAgent, Results
from tests.whole.world import CLIENT_SECRET, World

ROUTES = """
- name: secret-to-process
  match: {action: secret_to_process}
  process:
    command:
      - sh
      - -c
      - |
        echo "length ${#1}"; echo "it is $1"; printf "%s" "$1" | base64
        echo "summary=set to $1" >>"$AGENT_OUTPUT"
      - sh
      - "{{ .inputs.password }}"
- name: secret-to-http
  match: {action: secret_to_http}
  env: [TARGET]
  http:
    url: "{{ env.TARGET }}/secret/{{ .run.id }}"
    body: {name: "{{ .inputs.name }}", user: "{{ .inputs.creds.user }}", pw: "{{ .inputs.creds.pw }}"}
- name: secret-to-python
  match: {action: secret_to_python}
  python: {callable: "whole_actions:telling_secrets"}
- name: secret-to-agents-log
  match: {action: secret_to_agents_log}
  secrets: [DECLARED_SECRET]
  python: {callable: "whole_actions:telling_the_agents_log"}
- name: secret-by-path
  match: {when: '.message.wanted == "secret-by-path"'}
  decrypt: [vault.keys.0.value]
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/secret-by-path", body: "{{ .message.vault.keys[0].value }}"}
- name: declared-secret
  match: {action: declared_secret}
  secrets: [DECLARED_SECRET]
  process: {command: [sh, -c, 'echo "have $DECLARED_SECRET"'], pass_env: [DECLARED_SECRET]}
"""

PLAIN = "correct horse, bättery staple"


def _click(world: World, action: str, inputs: dict[str, Any], *names: str) -> Click:
    run_id = world.begin_run(action)
    return Click(run_id, action, inputs, "service").with_secret_inputs(CLIENT_SECRET, *names)


def _seen_anywhere(text: str, world: World, agent: OneAgent) -> bool:
    requests = "".join(repr(received) for received in world.target.received)
    return any(text in place for place in (world.everything_port_was_told(), agent.output(), requests))


def test_an_encrypted_input_reaches_the_command_and_is_masked_in_all_it_says(world: World, agent: OneAgent) -> None:
    click = _click(world, "secret_to_process", {"password": PLAIN, "name": "n"}, "password")
    agent.deliver(messages.kafka_v1(click))
    run = world.ended(click.run_id)
    # the shell counts bytes or characters, as its locale has it
    assert run.log_text.startswith((f"length {len(PLAIN)}", f"length {len(PLAIN.encode())}"))
    assert "it is [masked]" in run.log_text
    assert run.summary == "set to [masked]"
    assert not _seen_anywhere(PLAIN, world, agent)
    assert not _seen_anywhere("Y29ycmVjdCBob3JzZS", world, agent), "its base64"


def test_what_a_run_makes_the_agents_own_log_say_is_masked(world: World, agent: OneAgent) -> None:
    click = _click(world, "secret_to_agents_log", {"password": PLAIN}, "password")
    agent.deliver(messages.kafka_v1(click))
    assert world.ended(click.run_id).terminal_statuses == ["SUCCESS"]
    agent.wait_settled(click.run_id)
    lines = [line for line in agent.output().splitlines() if "cannot log in with [masked]" in line]
    assert len(lines) == 2
    assert all(click.run_id in line for line in lines)
    agent.wait_line("an error that nobody handled")
    assert not _seen_anywhere(PLAIN, world, agent)
    assert not _seen_anywhere("declared-s3cret-value", world, agent)


def test_the_published_ciphertexts_open(world: World, agent: OneAgent) -> None:
    closed = {
        "name": "AAECAwQFBgcICQoLDA0OD4MFFhLbSfXt5Z3uUgdrRaJHkDxUYs44AMIx96gD",
        "creds": "Dw4NDAsKCQgHBgUEAwIBADsc3Bux6Ao0dIShh+TkStT2v5AYJU72VGmxabhtYYMyXF3SbVM=",
    }
    run_id = world.begin_run("secret_to_http")
    document = messages.kafka_v1(Click(run_id, "secret_to_http", closed, encrypted=("name", "creds")))
    document["payload"]["action"]["userInputs"] = {"properties": {"creds": {"type": "object"}}}
    agent.deliver(document)
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    sent = json.loads(world.target.request(f"/secret/{run_id}").body)
    assert sent == {"name": "pä$$w0rd-✓", "user": "u", "pw": "p"}


def test_an_encrypted_object_is_an_object_again(world: World, agent: OneAgent) -> None:
    click = _click(world, "secret_to_http", {"creds": {"user": "root-user", "pw": PLAIN}}, "creds")
    document = messages.kafka_v1(click)
    document["payload"]["action"]["userInputs"] = {"properties": {"creds": {"type": "object"}}}
    agent.deliver(document)
    assert world.ended(click.run_id).terminal_statuses == ["SUCCESS"]
    sent = json.loads(world.target.request(f"/secret/{click.run_id}").body)
    assert sent == {"name": None, "user": "root-user", "pw": PLAIN}


def test_a_python_action_cannot_tell_a_secret_either(world: World, agent: OneAgent) -> None:
    secret = "s3cret/with+signs&more"
    click = _click(world, "secret_to_python", {"password": secret}, "password")
    agent.deliver(messages.kafka_v1(click))
    run = world.ended(click.run_id)
    assert run.terminal_statuses == ["SUCCESS"]
    told = json.dumps(run.to_json() | {"inputs": None})
    for word in ("the password is", "?password=", "label ", "id ", "title ", "summary "):
        assert word in told
    assert not _seen_anywhere(secret, world, agent)


def test_a_path_that_a_route_names_is_opened_too(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("secret-by-path")
    secret = "only the route knows this"
    agent.deliver(
        {
            "wanted": "secret-by-path",
            "port_context": {"runId": run_id},
            "vault": {"keys": [{"value": encrypted(secret, CLIENT_SECRET)}]},
        }
    )
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert json.loads(world.target.request("/secret-by-path").body) == secret


def _spoiled(text: str) -> str:
    return text[:-6] + ("AAAAA=" if not text.endswith("AAAAA=") else "BBBBB=")


UNDECRYPTABLE = {
    "of another secret": encrypted(PLAIN, "another client secret of 32 characters and more"),
    "cut off": encrypted(PLAIN, CLIENT_SECRET)[:40],
    "changed": _spoiled(encrypted(PLAIN, CLIENT_SECRET)),
    "not encrypted at all": "clear text where ciphertext should be",
}


@pytest.fixture(scope="module")
def undecryptable(world: World, agent: OneAgent) -> Results:
    action = "secret_to_process"
    run_ids = {kind: world.begin_run(action) for kind in UNDECRYPTABLE}
    for kind, run_id in run_ids.items():
        click = Click(run_id, action, {"password": UNDECRYPTABLE[kind]}, encrypted=("password",))
        agent.deliver_signed(messages.webhook(click, world.target.url + "/must-not-be-called"))
    return Results(world, run_ids)


@pytest.mark.parametrize("kind", UNDECRYPTABLE)
def test_an_input_that_does_not_open_fails_its_run_and_is_sent_nowhere(
    kind: str, undecryptable: Results, world: World, agent: OneAgent
) -> None:
    run = undecryptable(kind)
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "'password'" in run.summary
    agent.wait_settled(run.id)
    assert not _seen_anywhere(UNDECRYPTABLE[kind][:24], world, agent)
    assert world.target.requests("/must-not-be-called") == []
    assert len(world.requests_of(run.id)) == 1


def test_a_secret_that_a_route_declares_is_masked(world: World, agent: OneAgent) -> None:
    run = agent.result_of("declared_secret")
    assert run.log_text.startswith("have ")
    assert not _seen_anywhere("declared-s3cret-value", world, agent)
