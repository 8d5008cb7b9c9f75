"""Fault 17: an action that no route takes ends as FAILURE, with a text that names the nearest route."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.whole.one_agent import OneAgent
from tests.whole.world import World, opened

ROUTES = """
routes:
  - name: restart-service
    match: {action: restart_service, blueprint: service}
    process: {command: [echo, restarted]}
"""
SETTINGS = {"LOG_LEVEL": "DEBUG"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("unmatched")) as world:
        yield world
        world.check_nothing_ended_twice()


@pytest.fixture(scope="module")
def agents(world: World) -> Iterator[dict[str, OneAgent]]:
    agents = {
        "alone": OneAgent(world, "alone", SETTINGS, ROUTES),
        "sharing": OneAgent(world, "sharing", SETTINGS | {"AGENT_UNROUTED": "ignore"}, ROUTES),
    }
    try:
        for agent in agents.values():
            agent.start()
        for agent in agents.values():
            agent.wait_ready()
        yield agents
    finally:
        for agent in agents.values():
            agent.kill()


def invoke(world: World, agent: OneAgent, action: str, blueprint: str = "service") -> str:
    """A run of an action for agents, as Port sends it; its id."""
    run_id = world.begin_run(action)
    agent.deliver_signed(messages.webhook(Click(run_id, action, {}, blueprint), "http://127.0.0.1:9/"))
    return run_id


@pytest.mark.parametrize(
    ("action", "blueprint", "words"),
    [
        ("restart_servise", "service", ["no route matched", "'restart-service'", "'restart_servise'"]),
        ("restart_service", "vm", ["no route matched", "'restart-service'", "'vm', not 'service'"]),
        ("something_else", "service", ["no route matched", "something_else"]),
    ],
)
def test_an_unmatched_action_fails_with_a_text_that_says_why(
    world: World, agents: dict[str, OneAgent], action: str, blueprint: str, words: list[str]
) -> None:
    agent = agents["alone"]
    before = agent.metric("agent_runs_received_total", route="unrouted")

    run = world.ended(invoke(world, agent, action, blueprint))

    assert run.terminal_statuses == ["FAILURE"]
    assert all(word in str(run.summary) for word in words), run.summary
    agent.wait_metric("agent_runs_received_total", before + 1, route="unrouted")


def test_an_unmatched_workflow_node_fails_with_the_text_in_its_log(
    world: World, agents: dict[str, OneAgent]
) -> None:
    run_id = world.begin_run("node", "wfnr_unmatched")
    agents["alone"].deliver_signed(messages.node_run(run_id, "http://127.0.0.1:9/"))
    run = world.ended(run_id)
    assert (run.result, "no route matched" in run.log_text) == ("FAILED", True)


def test_the_next_one_is_executed_and_what_was_not_addressed_to_agents_is_not_touched(
    world: World, agents: dict[str, OneAgent]
) -> None:
    agent = agents["alone"]
    somebody_elses = world.begin_run("restart_servise")
    agent.deliver(messages.kafka_v1(Click(somebody_elses, "restart_servise", {}, "service")), key="one partition")
    run_id = world.begin_run("restart_service")
    agent.deliver(messages.kafka_v1(Click(run_id, "restart_service", {}, "service")), key="one partition")

    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    agent.wait_line("no route takes this message", run_id=somebody_elses)
    assert world.requests_of(somebody_elses) == []


def test_agents_that_share_a_topic_leave_it_to_the_others(world: World, agents: dict[str, OneAgent]) -> None:
    agent = agents["sharing"]
    run_id = invoke(world, agent, "restart_servise")
    agent.wait_line("no route takes this message", run_id=run_id)
    agent.wait_metric("agent_messages_ignored_total", 1, reason="unrouted")
    assert world.requests_of(run_id) == []
