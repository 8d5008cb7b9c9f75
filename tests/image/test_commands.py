"""The agent's commands as the image runs them, by the user it names and by one it never heard of."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.image.conftest import USERS
from tests.image.contained_agent import ContainedAgent
from tests.image.container import NO_NETWORK, Ended, run
from tests.whole.world import World

pytestmark = pytest.mark.image

GOOD = """\
routes:
  - name: greet
    match: {action: greet}
    process: {command: [echo, hello]}
"""


def mounted(routes: Path, text: str) -> tuple[str, ...]:
    """Options that put a routes file where the image looks for it."""
    routes.write_text(text)
    return (
        *NO_NETWORK,
        f"--volume={routes}:/etc/action-agent/routes.yaml:ro",
        "--env=AGENT_ROUTES_PATH=routes.yaml",
    )


@pytest.mark.parametrize("user", USERS)
def test_the_whole_sandbox_runs_inside_without_a_network(user: str, sandboxes: dict[str, Future[Ended]]) -> None:
    ended = sandboxes[user].result()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "All 10 runs ended as they should, and the agent stopped cleanly." in ended.stdout


def test_help_lists_the_commands() -> None:
    ended = run("--help")
    assert ended.returncode == 0, ended.stderr
    for command in ("run", "check", "explain", "doctor", "sandbox", "schema"):
        assert f"  {command} " in ended.stdout


def test_schema_is_json() -> None:
    assert json.loads(run("schema").stdout)["type"] == "object"


@pytest.mark.parametrize("user", USERS)
def test_check_finds_mounted_routes_in_order(user: str, tmp_path: Path) -> None:
    credentials = ("PORT_ORG_ID=org", "PORT_CLIENT_ID=id", "PORT_CLIENT_SECRET=secret")
    options = (*mounted(tmp_path / "routes.yaml", GOOD), *USERS[user])
    ended = run("check", options=(*options, *(f"--env={pair}" for pair in credentials)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "settings and routes are in order: 1 route" in ended.stdout


def test_check_says_what_is_wrong_and_where(tmp_path: Path) -> None:
    ended = run("check", options=mounted(tmp_path / "routes.yaml", GOOD.replace("command", "comand")))
    assert ended.returncode == 1
    assert "routes.yaml:4" in ended.stdout + ended.stderr
    assert "PORT_ORG_ID" in ended.stdout + ended.stderr


def test_doctor_finds_all_well(world: World) -> None:
    """With the settings of an agent that is never started."""
    agent = ContainedAgent(world, "doctor", GOOD)
    for topic in (agent.topic, agent.change_log):
        world.broker.create_topic(topic)
    world.port.organization["id"] = agent.org
    ended = run("doctor", options=agent.options)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "all is well" in ended.stdout
