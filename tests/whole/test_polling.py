"""The agent that polls Port's API in place of Kafka: real processes, the stand-in over real HTTP."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from agent.domain.json import JsonObject
from agent.sandbox.port_api import Effect, Fault
from tests.whole.one_agent import OneAgent
from tests.whole.world import World, opened

CLAIM = "/v1/actions/runs/claim-pending"
CLAIM_NODES = "/v1/workflows/runs/claim-pending"
IMPATIENT = {"POLLING_MAX_FAILURE_DURATION_SECONDS": "1", "POLLING_MAX_BACKOFF_SECONDS": "0.2"}
ACK = "/v1/actions/runs/ack"

POLLED_ROUTES = """\
routes:
  - name: work
    match: {action: [work, quick]}
    on_interrupted: %(rule)s
    process:
      command:
        - sh
        - -c
        - 'echo "$RUN_ID" >>"$EXECUTIONS"; until [ -e "$GATE" ] || [ "$ACTION" = quick ]; do sleep 0.05; done'
      env: {EXECUTIONS: "%(home)s/executions", GATE: "%(home)s/gate"}
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One of its own: what is pending in Port is for whoever polls."""
    with opened(tmp_path) as world:
        yield world
        world.check_nothing_ended_twice()


class Poller(OneAgent):
    """An agent that polls often. ``routes`` by `POLLED_ROUTES`, or the built-in ones."""

    def __init__(self, world: World, name: str, rule: str = "", **settings: str) -> None:
        needed = {
            "STREAMER_NAME": "polling",
            "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": "",
            "POLLING_INTERVAL_SECONDS": "0.1",
            "POLLING_INITIAL_BACKOFF_SECONDS": "0.1",
            "AGENT_CLOSE_CHECK_S": "0",
            "LOG_LEVEL": "DEBUG",
        }
        routes = POLLED_ROUTES % {"rule": rule, "home": world.home} if rule else None
        super().__init__(world, name, needed | settings, routes)

    def start(self) -> None:
        """Without any topic."""
        self.world.loop.run(self.process.start())

    def kill_9(self) -> None:
        """As if the machine had died under it."""
        self.send(signal.SIGKILL)
        assert self.wait_end() == -signal.SIGKILL


@contextmanager
def at_work(*agents: Poller) -> Iterator[None]:
    try:
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.wait_ready()
        yield
    finally:
        for agent in agents:
            agent.kill()


def pend(world: World, action: str = "quick", run_id: str | None = None, **method: object) -> str:
    """A click in Port, on an action that is invoked through agents that poll."""
    invocation = {
        "type": "WEBHOOK",
        "agent": True,
        "url": f"{world.target.url}/hook",
        "body": {"action": action, "payload": {"properties": {"name": "Grüße"}}},
        **method,
    }
    document: JsonObject = json.loads(json.dumps(invocation))
    return world.loop.call(lambda: world.ledger.create_run(action, run_id=run_id, pending=document))


def executions(world: World) -> list[str]:
    file = world.home / "executions"
    return file.read_text().split() if file.exists() else []


def open_gate(world: World) -> None:
    (world.home / "gate").touch()


def test_runs_and_nodes_of_workflows_are_forwarded_and_reported(world: World) -> None:
    agent = Poller(world, "forwarding", AGENT_SIGNATURES="required")
    with at_work(agent):
        run_id = pend(world, synchronized=True, headers={"X-Team": "infra"})
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        node_id = pend(world, run_id="wfnr_1", synchronized="true", url=f"{world.target.url}/node")
        assert world.ended(node_id).terminal_statuses == ["SUCCESS"]
        told = json.loads(world.target.request("/hook").body)
        method = told["payload"]["action"].pop("invocationMethod")
        assert told == {
            "action": "quick",
            "headers": {"X-Team": "infra"},
            "payload": {"properties": {"name": "Grüße"}, "action": {}},
            "context": {"runId": run_id},
        }
        assert (method["type"], method["method"], method["url"]) == ("WEBHOOK", "POST", f"{world.target.url}/hook")
        node = json.loads(world.target.request("/node").body)
        assert node["context"]["runId"] == node_id
        assert node["context"]["nodeConfig"]["type"] == "WEBHOOK"
        agent.wait_metric("agent_runs_received_total", 2, source="polling")
        assert agent.metric("agent_runs_received_total", source="kafka") == 0
        assert "polling" in agent.get("/")[1]
    asked = world.ledger.requests_to("*/claim-pending") + world.ledger.requests_to("*/ack")
    assert all(request.headers["x-port-reserved-usage"] == "true" for request in asked)
    assert len(world.ledger.requests_to("*/ack")) == 2
    assert world.ledger.requests_to("*/kafka-credentials") == []
    assert len(world.ledger.requests_to("*/access_token")) == 1
    assert world.ledger.strays == []


def test_two_agents_side_by_side_execute_each_run_once(world: World) -> None:
    agents = [Poller(world, name, "fail", AGENT_MAX_CONCURRENT_RUNS="4") for name in ("one", "two")]
    with at_work(*agents):
        run_ids = [pend(world) for _ in range(24)]
        for run_id in run_ids:
            assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert sorted(executions(world)) == sorted(run_ids)
    assert all(agent.lines("run started") for agent in agents)


def test_no_more_is_claimed_than_can_be_begun(world: World) -> None:
    agent = Poller(world, "bounded", "fail", AGENT_MAX_CONCURRENT_RUNS="2")
    with at_work(agent):
        run_ids = [pend(world, "work") for _ in range(5)]
        agent.wait_until(lambda: len(executions(world)) == 2, "two runs to execute")
        pending = world.ledger.pending.runs
        assert sum(run.claims for run in pending.values()) == 2
        open_gate(world)
        for run_id in run_ids:
            assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert [run.claims for run in pending.values()] == [1] * 5


@pytest.mark.parametrize(("rule", "status", "times"), [("fail", "FAILURE", 1), ("rerun", "SUCCESS", 2)])
def test_killed_after_the_acknowledgement_its_run_is_taken_up_by_the_next_life(
    world: World, rule: str, status: str, times: int
) -> None:
    agent = Poller(world, "killed", rule)
    with at_work(agent):
        run_id = pend(world, "work")
        agent.wait_until(lambda: executions(world), "the run to execute")
        agent.kill_9()
        open_gate(world)
        agent.start()
        run = world.ended(run_id)
        assert run.terminal_statuses == [status]
        assert len(executions(world)) == times
        assert rule == "rerun" or "interrupted" in (run.summary or "")


def test_killed_before_the_acknowledgement_was_answered_its_run_is_executed_once(world: World) -> None:
    agent = Poller(world, "asking", "fail")
    with at_work(agent):
        world.misbehave(Fault(path=ACK, effect=Effect.HANG))
        run_id = pend(world)
        agent.wait_until(lambda: world.ledger.requests_to(ACK), "the acknowledgement")
        agent.kill_9()
        assert executions(world) == []
        agent.start()
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert executions(world) == [run_id]


def test_killed_before_the_acknowledgement_its_run_goes_to_another_agent_in_time(world: World) -> None:
    victim, heir = Poller(world, "victim", "fail"), Poller(world, "heir", "fail")
    with at_work(victim):
        world.misbehave(Fault(path=ACK, effect=Effect.HANG))
        run_id = pend(world)
        victim.wait_until(lambda: world.ledger.requests_to(ACK), "the acknowledgement")
        victim.kill_9()
        with at_work(heir):
            world.loop.call(lambda: world.ledger.pending.show(run_id))  # its claim is over
            assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
            assert executions(world) == [run_id]


def test_an_acknowledgement_whose_answer_was_lost_is_ours(world: World) -> None:
    agent = Poller(world, "lost", "fail")
    with at_work(agent):
        world.misbehave(Fault(path=ACK, effect=Effect.DROP_REPLY))
        run_id = pend(world)
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert [request.status for request in world.ledger.requests_to(ACK)] == [None, 409]


def test_what_another_worker_has_acknowledged_is_not_executed(world: World) -> None:
    agent = Poller(world, "late", "fail")
    with at_work(agent):
        world.misbehave(Fault(path=ACK, status=409))
        run_id = pend(world)
        agent.wait_line("run acknowledged", result="taken")
        other = pend(world)
        assert world.ended(other).terminal_statuses == ["SUCCESS"]
        assert executions(world) == [other]
        assert world.ledger.runs[run_id].terminal_statuses == []


def test_stopped_in_order_its_run_is_begun_anew_by_the_next_life(world: World) -> None:
    agent = Poller(world, "stopped", "fail", AGENT_ON_SHUTDOWN="redeliver", AGENT_DRAIN_TIMEOUT_S="0")
    with at_work(agent):
        run_id = pend(world, "work")
        agent.wait_until(lambda: executions(world), "the run to execute")
        agent.send(signal.SIGTERM)
        assert agent.wait_end() == 0
        open_gate(world)
        agent.start()
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert executions(world) == [run_id, run_id]


def test_an_outage_is_waited_out_with_growing_waits(world: World) -> None:
    agent = Poller(world, "outage", "fail")
    with at_work(agent):
        world.misbehave(Fault(path=CLAIM, status=503, times=4), Fault(path=CLAIM_NODES, status=503, times=4))
        agent.wait_line("claiming runs fails", kind="action_run")
        agent.wait_line("not ready")
        run_id = pend(world)
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        agent.wait_ready()
        failed = [request.at_s for request in world.ledger.requests_to(CLAIM) if request.status == 503]
        waits = [later - earlier for earlier, later in pairwise(failed)]
        assert all(wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True)), waits


def test_without_one_success_for_too_long_the_agent_ends_to_be_started_anew(world: World) -> None:
    agent = Poller(world, "vain", "fail", **IMPATIENT)
    with at_work(agent):
        world.misbehave(Fault(path="*/claim-pending", status=503, times=None))
        assert agent.wait_end() == 1
        assert "POLLING_MAX_FAILURE_DURATION_SECONDS" in agent.lines("source failed for good")[0]["detail"]


def test_while_a_run_executes_the_agent_outlives_any_outage(world: World) -> None:
    agent = Poller(world, "busy", "fail", **IMPATIENT)
    with at_work(agent):
        run_id = pend(world, "work")
        agent.wait_until(lambda: executions(world), "the run to execute")
        world.misbehave(Fault(path="*/claim-pending", status=503, times=None))
        before = len(world.ledger.requests_to(CLAIM))
        agent.wait_until(lambda: len(world.ledger.requests_to(CLAIM)) > before + 10, "many claims in vain")
        open_gate(world)
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert agent.wait_end() == 1


def test_a_port_without_workflows_still_gives_action_runs(world: World) -> None:
    agent = Poller(world, "old", "fail")
    world.misbehave(Fault(path=CLAIM_NODES, status=404, times=None))
    with at_work(agent):
        agent.wait_line("port has no such runs to claim", kind="node_run")
        run_ids = [pend(world) for _ in range(3)]
        for run_id in run_ids:
            assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert len(world.ledger.requests_to(CLAIM_NODES)) == 1


def test_runs_that_are_not_for_agents_are_left_alone(world: World) -> None:
    agent = Poller(world, "others", "fail")
    with at_work(agent):
        other = pend(world, agent="false")
        agent.wait_line("message ignored", source="polling", reason="not_for_agents")
        run_id = pend(world)
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert executions(world) == [run_id]
        assert not world.ledger.pending.runs[other].is_acknowledged
        last: JsonObject = world.ledger.requests_to(CLAIM)[-1].body  # type: ignore[assignment]  # as it came
        assert last["exclude"] == [other]


def test_a_run_without_a_route_ends_with_the_reason(world: World) -> None:
    agent = Poller(world, "unrouted", "fail")
    with at_work(agent):
        run = world.ended(pend(world, "unknown"))
        assert run.terminal_statuses == ["FAILURE"]
        assert world.ledger.pending.runs[run.id].is_acknowledged


def test_a_run_without_a_route_is_left_to_other_agents_where_they_share(world: World) -> None:
    sharing, knowing = Poller(world, "sharing", "fail", AGENT_UNROUTED="ignore"), Poller(world, "knowing")
    with at_work(sharing):
        run_id = pend(world, "unknown", synchronized=True)
        sharing.wait_line("message ignored", reason="unrouted")
        with at_work(knowing):
            world.loop.call(lambda: world.ledger.pending.show(run_id))
            assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
