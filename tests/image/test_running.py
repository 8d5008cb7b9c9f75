"""The agent as the image runs it, from its first record to SIGTERM, against a broker and a stand-in for Port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.broker.waiting import wait_until
from tests.image.contained_agent import ContainedAgent
from tests.image.container import ANY_USER, podman
from tests.whole.one_agent import at_work_together
from tests.whole.world import World

pytestmark = pytest.mark.image

ROUTES = """\
routes:
  - name: request
    match: {action: request}
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/gate/{{ .inputs.gate }}"}
  - name: command
    match: {action: command}
    env: [TARGET]
    process:
      command:
        - python3
        - -c
        - |
          import pathlib, sys, urllib.request
          pathlib.Path("a-file-of-the-run").write_text("written")
          urllib.request.urlopen(sys.argv[1])
          print("passed the gate")
        - "{{ env.TARGET }}/gate/{{ .inputs.gate }}"
  - name: careless
    match: {action: careless}
    process: {command: [sh, -c, "setsid sleep 600 > /dev/null 2>&1 & echo gone"]}
"""


@dataclass
class Stop:
    """An agent that was stopped with a request and a command in flight."""

    agent: ContainedAgent
    runs: list[str]
    readiness_while_draining: int
    exit_code: int


@pytest.fixture(scope="module")
def agents(world: World) -> Iterator[dict[str, ContainedAgent]]:
    """One that will be busy and one that will be idle, of any user; started together."""
    agents = {
        "busy": ContainedAgent(world, "busy", ROUTES),
        "idle": ContainedAgent(world, "idle", ROUTES, ANY_USER),
    }
    with at_work_together(agents.values()):
        yield agents


@pytest.fixture(scope="module")
def busy(agents: dict[str, ContainedAgent]) -> ContainedAgent:
    agents["busy"].wait_ready()
    return agents["busy"]


@pytest.fixture(scope="module")
def stop(busy: ContainedAgent, world: World) -> Stop:
    runs = [busy.invoke(action, {"gate": "image"}) for action in ("request", "command")]
    world.target.wait_at_gate("image", 2)
    with busy.stop():
        wait_until(lambda: busy.get("/readyz")[0] == 503, timeout_s=30, what="the drain's begin", pause_s=0.01)
        readiness = busy.get("/readyz")[0]
        world.target.open_gate("image")
        code = busy.wait_end()
    return Stop(busy, runs, readiness, code)


def test_what_a_command_leaves_behind_is_ended_and_reaped_by_process_1(busy: ContainedAgent) -> None:
    """There is no init in the image that would do it."""
    run = busy.result_of("careless")
    assert run.terminal_statuses == ["SUCCESS"]

    def commands() -> list[str]:
        return podman("top", busy.container, "comm").stdout.split()[1:]

    busy.wait_until(lambda: commands() == ["action-agent"], "nothing but the agent to be left")


def test_a_stop_lets_runs_in_flight_end_and_exits_with_0(stop: Stop, world: World) -> None:
    assert stop.readiness_while_draining == 503
    assert stop.exit_code == 0, stop.agent.process.last_words()
    assert stop.agent.lines("stopped", exit_code=0)
    for run_id in stop.runs:
        assert world.ledger.runs[run_id].terminal_statuses == ["SUCCESS"]
    assert "passed the gate" in world.ledger.runs[stop.runs[1]].log_text


def test_what_ended_in_the_drain_is_committed(stop: Stop) -> None:
    stop.agent.wait_committed()


def test_an_idle_agent_of_any_user_stops_at_once(agents: dict[str, ContainedAgent]) -> None:
    idle = agents["idle"]
    idle.wait_ready()
    with idle.stop():
        assert idle.wait_end() == 0, idle.process.last_words()
    assert idle.lines("stopped", exit_code=0)
