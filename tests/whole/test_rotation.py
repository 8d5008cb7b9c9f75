"""The client's credentials are rotated while the agent runs: Port gets the new ones, messages of both count."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from agent.domain.signature import signature_of
from agent.sandbox import messages
from agent.sandbox.messages import Click
from agent.sandbox.port_api import Credentials, PortApi
from tests.whole.mount import Mount
from tests.whole.one_agent import OneAgent
from tests.whole.world import CLIENT_SECRET, World

NEW_SECRET = "nWq7zR0tatedClientSecret9876543210zyxwvuTSRQ"
STRANGE_SECRET = "sTr4nge0therClientSecret0000000000abcdefghij"

ROUTES_HERE = """\
routes:
  - name: tell
    match: {action: tell}
    process: {command: [sh, -c, 'echo "opened ${#1}"; cat "$2"', sh, "{{ .inputs.password }}", "%s"]}
  - name: forward
    match: {action: forward}
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/rotation/{{ .run.id }}", body: {name: "{{ .inputs.name }}"}}
"""


_KEPT = "a signature does not fit: it is looked at again"


class Rotation:
    """An agent with mounted credentials, and a Port of its own that they are for."""

    def __init__(self, agent: OneAgent, port: PortApi, mount: Mount) -> None:
        self.agent = agent
        self.port = port
        self.mount = mount
        self._world = agent.world
        self.early = ""
        """A run that was ordered with the new secret before the agent had it."""

    def click(self, action: str, secret: str, inputs: dict[str, Any]) -> str:
        """A run that is ordered by a message signed, and its password encrypted, with ``secret``; its id."""
        run_id = self._world.begin_run(action)
        click = Click(run_id, action, inputs, "service", org_id=self.agent.org)
        if "password" in inputs:
            click = click.with_secret_inputs(secret, "password")
        self.agent.deliver(messages.signed_message(messages.webhook(click, "", agent=True), secret))
        return run_id

    def told(self, secret: str) -> str:
        """The log of a run so ordered, once it has succeeded."""
        run = self._world.ended(self.click("tell", secret, {"password": "hunter22"}))
        assert run.terminal_statuses == ["SUCCESS"], run
        return run.log_text


@pytest.fixture(scope="module")
def rotation(world: World) -> Iterator[Rotation]:
    """The credentials were rotated in Port, then in the mounted files, after the agent had worked with the old."""
    kafka = {"brokers": [world.broker.bootstrap_servers], "username": "u", "password": "kafka-passw0rd"}
    credentials = Credentials(client_id="old-client", client_secret=CLIENT_SECRET)
    port = PortApi(credentials=credentials, kafka=kafka, ledger=world.ledger)
    mount = Mount(world.home / "mount", id="old-client\n", secret=f"{CLIENT_SECRET}\n")
    stack = contextlib.AsyncExitStack()
    world.loop.run(stack.enter_async_context(port.listening()))
    settings = {
        "PORT_API_BASE_URL": port.url,
        "PORT_CLIENT_ID": "",
        "PORT_CLIENT_ID_FILE": str(mount.path("id")),
        "PORT_CLIENT_SECRET": "",
        "PORT_CLIENT_SECRET_FILE": str(mount.path("secret")),
        "LOG_LEVEL": "DEBUG",
    }
    agent = OneAgent(world, "rotation", settings, ROUTES_HERE % mount.path("secret"))
    agent.start()
    try:
        agent.wait_ready()
        rotation = Rotation(agent, port, mount)
        assert rotation.told(CLIENT_SECRET) == "opened 8\n[masked]"

        def rotate() -> None:
            port.credentials.client_id, port.credentials.client_secret = "new-client", NEW_SECRET
            port.credentials.expire_tokens()

        world.loop.call(rotate)
        rotation.early = rotation.click("tell", NEW_SECRET, {"password": "hunter22"})
        agent.wait_line(_KEPT, run_id=rotation.early)
        mount.swap(id="new-client\n", secret=f"{NEW_SECRET}\n")
        yield rotation
    finally:
        agent.kill()
        world.loop.run(stack.aclose())


@pytest.mark.parametrize("secret", [CLIENT_SECRET, NEW_SECRET], ids=["old", "new"])
def test_what_either_secret_signed_and_encrypted_is_executed_and_reported(rotation: Rotation, secret: str) -> None:
    assert rotation.told(secret) == "opened 8\n[masked]"


def test_port_is_asked_for_a_token_with_the_new_credentials(rotation: Rotation) -> None:
    rotation.told(NEW_SECRET)
    *_, last = (r for r in rotation.port.ledger.requests if r.path.endswith("/access_token") and _is_of(r.body))
    assert (last.body, last.status) == ({"clientId": "new-client", "clientSecret": NEW_SECRET}, 200)


def _is_of(body: Any) -> bool:
    return body["clientId"] in {"old-client", "new-client"}


def test_what_is_forwarded_is_signed_with_the_new_secret(rotation: Rotation, world: World) -> None:
    run_id = rotation.click("forward", CLIENT_SECRET, {"name": "n"})
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    sent = world.target.request(f"/rotation/{run_id}")
    expected = signature_of(sent.body, sent.headers["x-port-timestamp"], NEW_SECRET)
    assert sent.headers["x-port-signature"] == expected


def test_what_any_other_secret_signed_is_not_acted_on(rotation: Rotation, world: World) -> None:
    run_id = rotation.click("tell", STRANGE_SECRET, {"password": "hunter22"})
    rotation.agent.wait_line(_KEPT, run_id=run_id)
    rotation.told(NEW_SECRET)
    assert world.ledger.runs[run_id].terminal_statuses == []
    assert rotation.agent.lines("run started", run_id=run_id) == []


def test_what_the_new_secret_signed_before_it_was_mounted_is_not_lost(rotation: Rotation, world: World) -> None:
    run = world.ended(rotation.early)
    assert run.terminal_statuses == ["SUCCESS"]
    assert run.log_text == "opened 8\n[masked]"


def test_an_empty_file_changes_nothing_and_is_told(rotation: Rotation) -> None:
    rotation.told(NEW_SECRET)
    rotation.mount.swap(id="new-client\n", secret="")
    assert rotation.told(NEW_SECRET).startswith("opened 8")
    line = rotation.agent.wait_line("a credential cannot be read anew")
    assert line["detail"].endswith("it is empty")
    rotation.mount.swap(id="new-client\n", secret=NEW_SECRET)
    assert rotation.told(NEW_SECRET) == "opened 8\n[masked]"


def test_neither_secret_is_ever_shown(rotation: Rotation, world: World) -> None:
    rotation.told(NEW_SECRET)
    shown = rotation.agent.output() + world.everything_port_was_told()
    assert [secret for secret in (CLIENT_SECRET, NEW_SECRET) if secret in shown] == []
