"""Port is told where messages come from: once at start, in the background, and whatever it says to that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from agent.sandbox.port_api import Credentials, Effect, Fault, PortApi
from agent.sandbox.records import RequestRecord
from tests.whole.one_agent import OneAgent
from tests.whole.world import CLIENT_SECRET, World

ROUTES_HERE = """\
routes:
  - {name: any, match: {action: any}, process: {command: [echo, "here I am"]}}
"""
PATH = "/v1/organization"


@contextmanager
def _agent_of(world: World, name: str, *faults: Fault) -> Iterator[tuple[OneAgent, PortApi]]:
    """An agent with a Port of its own, which keeps the same runs."""
    port = PortApi(credentials=Credentials(client_secret=CLIENT_SECRET))
    port.script.add(*faults)
    serving = port.listening()
    world.loop.run(serving.__aenter__())
    agent = OneAgent(world, name, {"PORT_API_BASE_URL": f"{port.url}/v1/", "LOG_LEVEL": "DEBUG"}, ROUTES_HERE)
    agent.settings["PORT_CLIENT_ID"] = port.client_id
    agent.start()
    try:
        yield agent, port
    finally:
        agent.kill()
        world.loop.run(serving.__aexit__(None, None, None))


def _told(port: PortApi) -> list[RequestRecord]:
    return port.ledger.requests_to(PATH, "PATCH")


def _works(agent: OneAgent, port: PortApi) -> bool:
    agent.wait_ready()
    run_id = agent.world.loop.call(lambda: port.ledger.create_run("any"))
    agent.deliver({"action": "any", "context": {"runId": run_id}, "payload": {"properties": {}}})
    agent.wait_settled(run_id)
    return port.ledger.runs[run_id].terminal_statuses == ["SUCCESS"]


def test_it_is_told_once_as_the_official_agent_tells_it(world: World) -> None:
    with _agent_of(world, "introduced") as (agent, port):
        agent.wait_line("told Port where messages come from", streamer="KAFKA", level="info")
        assert _works(agent, port)
        assert [request.body for request in _told(port)] == [{"settings": {"portAgentStreamerName": "KAFKA"}}]
        assert port.organization["settings"] == {"portAgentStreamerName": "KAFKA"}


@pytest.mark.parametrize("status", [403, 422])
def test_a_refusal_is_one_warning_and_the_agent_works(status: int, world: World) -> None:
    with _agent_of(world, f"refused_{status}", Fault(PATH, status=status, times=None)) as (agent, port):
        line = agent.wait_line("could not tell Port where messages come from", level="warning")
        assert line["reason"] == f"Port refused it: HTTP {status}: scripted {status}"
        assert "runs are not affected" in line["hint"]
        assert _works(agent, port)
        assert len(_told(port)) == 1


def test_what_port_does_not_answer_keeps_nothing_waiting(world: World) -> None:
    with _agent_of(world, "unanswered", Fault(PATH, effect=Effect.HANG, times=None)) as (agent, port):
        assert _works(agent, port)
        assert len(_told(port)) == 1
        assert not agent.lines("told Port where messages come from")


def test_a_port_that_is_in_trouble_at_first_is_told_later(world: World) -> None:
    away = (Fault("*/access_token", status=503, times=2), Fault(PATH, status=502, times=1))
    with _agent_of(world, "told_later", *away) as (agent, port):
        agent.wait_line("told Port where messages come from")
        assert [request.status for request in _told(port)] == [502, 200]
        assert _works(agent, port)
