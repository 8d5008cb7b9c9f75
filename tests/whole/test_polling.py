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
def port_alone(tmp_path: Path) -> Iterator[World]:
    """One of its own: what is pending in Port is for whoever polls."""
    with opened(tmp_path) as port_alone:
        yield port_alone
        port_alone.check_nothing_ended_twice()


class Poller(OneAgent):
    """An agent that polls often. ``routes`` by `POLLED_ROUTES`, or the built-in ones."""

    def __init__(self, port_alone: World, name: str, rule: str = "", **settings: str) -> None:
        needed = {
            "STREAMER_NAME": "polling",
            "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": "",
            "POLLING_INTERVAL_SECONDS": "0.1",
            "POLLING_INITIAL_BACKOFF_SECONDS": "0.1",
            "AGENT_CLOSE_CHECK_S": "0",
            "LOG_LEVEL": "DEBUG",
        }
        routes = POLLED_ROUTES % {"rule": rule, "home": port_alone.home} if rule else None
        super().__init__(port_alone, name, needed | settings, routes)

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


def pend(port_alone: World, action: str = "quick", run_id: str | None = None, **method: object) -> str:
    """A click in Port, on an action that is invoked through agents that poll."""
    invocation = {
        "type": "WEBHOOK",
        "agent": True,
        "url": f"{port_alone.target.url}/hook",
        "body": {"action": action, "payload": {"properties": {"name": "Grüße"}}},
        **method,
    }
    document: JsonObject = json.loads(json.dumps(invocation))
    return port_alone.loop.call(lambda: port_alone.ledger.create_run(action, run_id=run_id, pending=document))


def executions(port_alone: World) -> list[str]:
    file = port_alone.home / "executions"
    return file.read_text().split() if file.exists() else []


def open_gate(port_alone: World) -> None:
    (port_alone.home / "gate").touch()


def test_runs_and_nodes_of_workflows_are_forwarded_and_reported(port_alone: World) -> None:
    agent = Poller(port_alone, "forwarding", AGENT_SIGNATURES="required")
    with at_work(agent):
        run_id = pend(port_alone, synchronized=True, headers={"X-Team": "infra"})
        assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
        node_id = pend(port_alone, run_id="wfnr_1", synchronized="true", url=f"{port_alone.target.url}/node")
        assert port_alone.ended(node_id).terminal_statuses == ["SUCCESS"]
        told = json.loads(port_alone.target.request("/hook").body)
        method = told["payload"]["action"].pop("invocationMethod")
        assert told == {
            "action": "quick",
            "headers": {"X-Team": "infra"},
            "payload": {"properties": {"name": "Grüße"}, "action": {}},
            "context": {"runId": run_id},
        }
        assert (method["type"], method["method"], method["url"]) == (
            "WEBHOOK",
            "POST",
            f"{port_alone.target.url}/hook",
        )
        node = json.loads(port_alone.target.request("/node").body)
        assert node["context"]["runId"] == node_id
        assert node["context"]["nodeConfig"]["type"] == "WEBHOOK"
        agent.wait_metric("agent_runs_received_total", 2, source="polling")
        assert agent.metric("agent_runs_received_total", source="kafka") == 0
        assert "polling" in agent.get("/")[1]
    asked = port_alone.ledger.requests_to("*/claim-pending") + port_alone.ledger.requests_to("*/ack")
    assert all(request.headers["x-port-reserved-usage"] == "true" for request in asked)
    assert len(port_alone.ledger.requests_to("*/ack")) == 2
    assert port_alone.ledger.requests_to("*/kafka-credentials") == []
    assert len(port_alone.ledger.requests_to("*/access_token")) == 1
    assert port_alone.ledger.strays == []


def test_two_agents_side_by_side_execute_each_run_once(port_alone: World) -> None:
    agents = [Poller(port_alone, name, "fail", AGENT_MAX_CONCURRENT_RUNS="4") for name in ("one", "two")]
    with at_work(*agents):
        run_ids = [pend(port_alone) for _ in range(24)]
        for run_id in run_ids:
            assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert sorted(executions(port_alone)) == sorted(run_ids)
    assert all(agent.lines("run started") for agent in agents)


def test_no_more_is_claimed_than_can_be_begun(port_alone: World) -> None:
    agent = Poller(port_alone, "bounded", "fail", AGENT_MAX_CONCURRENT_RUNS="2")
    with at_work(agent):
        run_ids = [pend(port_alone, "work") for _ in range(5)]
        agent.wait_until(lambda: len(executions(port_alone)) == 2, "two runs to execute")
        pending = port_alone.ledger.pending.runs
        assert sum(run.claims for run in pending.values()) == 2
        open_gate(port_alone)
        for run_id in run_ids:
            assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert [run.claims for run in pending.values()] == [1] * 5


@pytest.mark.parametrize(("rule", "status", "times"), [("fail", "FAILURE", 1), ("rerun", "SUCCESS", 2)])
def test_killed_after_the_acknowledgement_its_run_is_taken_up_by_the_next_life(
    port_alone: World, rule: str, status: str, times: int
) -> None:
    agent = Poller(port_alone, "killed", rule)
    with at_work(agent):
        run_id = pend(port_alone, "work")
        agent.wait_until(lambda: executions(port_alone), "the run to execute")
        agent.kill_9()
        open_gate(port_alone)
        agent.start()
        run = port_alone.ended(run_id)
        assert run.terminal_statuses == [status]
        assert len(executions(port_alone)) == times
        assert rule == "rerun" or "interrupted" in (run.summary or "")


def test_killed_before_the_acknowledgement_was_answered_its_run_is_executed_once(port_alone: World) -> None:
    agent = Poller(port_alone, "asking", "fail")
    with at_work(agent):
        port_alone.misbehave(Fault(path=ACK, effect=Effect.HANG))
        run_id = pend(port_alone)
        agent.wait_until(lambda: port_alone.ledger.requests_to(ACK), "the acknowledgement")
        agent.kill_9()
        assert executions(port_alone) == []
        agent.start()
        assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert executions(port_alone) == [run_id]


def test_killed_before_the_acknowledgement_its_run_goes_to_another_agent_in_time(port_alone: World) -> None:
    victim, heir = Poller(port_alone, "victim", "fail"), Poller(port_alone, "heir", "fail")
    with at_work(victim):
        port_alone.misbehave(Fault(path=ACK, effect=Effect.HANG))
        run_id = pend(port_alone)
        victim.wait_until(lambda: port_alone.ledger.requests_to(ACK), "the acknowledgement")
        victim.kill_9()
        with at_work(heir):
            port_alone.loop.call(lambda: port_alone.ledger.pending.show(run_id))  # its claim is over
            assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
            assert executions(port_alone) == [run_id]


def test_an_acknowledgement_whose_answer_was_lost_is_ours(port_alone: World) -> None:
    agent = Poller(port_alone, "lost", "fail")
    with at_work(agent):
        port_alone.misbehave(Fault(path=ACK, effect=Effect.DROP_REPLY))
        run_id = pend(port_alone)
        assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert [request.status for request in port_alone.ledger.requests_to(ACK)] == [None, 409]


def test_what_another_worker_has_acknowledged_is_not_executed(port_alone: World) -> None:
    agent = Poller(port_alone, "late", "fail")
    with at_work(agent):
        port_alone.misbehave(Fault(path=ACK, status=409))
        run_id = pend(port_alone)
        agent.wait_line("run acknowledged", result="taken")
        other = pend(port_alone)
        assert port_alone.ended(other).terminal_statuses == ["SUCCESS"]
        assert executions(port_alone) == [other]
        assert port_alone.ledger.runs[run_id].terminal_statuses == []


def test_stopped_in_order_its_run_is_begun_anew_by_the_next_life(port_alone: World) -> None:
    agent = Poller(port_alone, "stopped", "fail", AGENT_ON_SHUTDOWN="redeliver", AGENT_DRAIN_TIMEOUT_S="0")
    with at_work(agent):
        run_id = pend(port_alone, "work")
        agent.wait_until(lambda: executions(port_alone), "the run to execute")
        agent.send(signal.SIGTERM)
        assert agent.wait_end() == 0
        open_gate(port_alone)
        agent.start()
        assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert executions(port_alone) == [run_id, run_id]


def test_stopped_while_it_is_acknowledged_its_run_is_executed_and_told(port_alone: World) -> None:
    """Port gives it to nobody any more, and the directory of its agent may go with it."""
    agent = Poller(port_alone, "last", "fail")
    with at_work(agent):
        port_alone.misbehave(Fault(path=ACK, effect=Effect.DROP_REPLY, delay_s=1.0))
        run_id = pend(port_alone)
        agent.wait_until(lambda: port_alone.ledger.pending.runs[run_id].claims, "the claim")
        agent.wait_until(lambda: port_alone.ledger.pending.runs[run_id].is_acknowledged, "the acknowledgement")
        agent.send(signal.SIGTERM)
        assert agent.wait_end() == 0
        assert port_alone.ledger.runs[run_id].terminal_statuses == ["SUCCESS"]
        assert executions(port_alone) == [run_id]


def test_an_outage_is_waited_out_with_growing_waits(port_alone: World) -> None:
    agent = Poller(port_alone, "outage", "fail")
    with at_work(agent):
        port_alone.misbehave(Fault(path=CLAIM, status=503, times=4), Fault(path=CLAIM_NODES, status=503, times=4))
        agent.wait_line("claiming runs fails", kind="action_run")
        agent.wait_line("not ready")
        run_id = pend(port_alone)
        assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
        agent.wait_ready()
        failed = [request.at_s for request in port_alone.ledger.requests_to(CLAIM) if request.status == 503]
        waits = [later - earlier for earlier, later in pairwise(failed)]
        assert all(wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True)), waits


def test_without_one_success_for_too_long_the_agent_ends_to_be_started_anew(port_alone: World) -> None:
    agent = Poller(port_alone, "vain", "fail", **IMPATIENT)
    with at_work(agent):
        port_alone.misbehave(Fault(path="*/claim-pending", status=503, times=None))
        assert agent.wait_end() == 1
        assert "POLLING_MAX_FAILURE_DURATION_SECONDS" in agent.lines("source failed for good")[0]["detail"]


def test_while_a_run_executes_the_agent_outlives_any_outage(port_alone: World) -> None:
    agent = Poller(port_alone, "busy", "fail", **IMPATIENT)
    with at_work(agent):
        run_id = pend(port_alone, "work")
        agent.wait_until(lambda: executions(port_alone), "the run to execute")
        port_alone.misbehave(Fault(path="*/claim-pending", status=503, times=None))
        before = len(port_alone.ledger.requests_to(CLAIM))
        agent.wait_until(lambda: len(port_alone.ledger.requests_to(CLAIM)) > before + 10, "many claims in vain")
        open_gate(port_alone)
        assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert agent.wait_end() == 1


def test_a_port_without_workflows_still_gives_action_runs(port_alone: World) -> None:
    agent = Poller(port_alone, "old", "fail")
    port_alone.misbehave(Fault(path=CLAIM_NODES, status=404, times=None))
    with at_work(agent):
        agent.wait_line("port has no such runs to claim", kind="node_run")
        run_ids = [pend(port_alone) for _ in range(3)]
        for run_id in run_ids:
            assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert len(port_alone.ledger.requests_to(CLAIM_NODES)) == 1


def test_runs_that_are_not_for_agents_are_left_alone(port_alone: World) -> None:
    agent = Poller(port_alone, "others", "fail")
    with at_work(agent):
        other = pend(port_alone, agent="false")
        agent.wait_line("message ignored", source="polling", reason="not_for_agents")
        run_id = pend(port_alone)
        assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert executions(port_alone) == [run_id]
        assert not port_alone.ledger.pending.runs[other].is_acknowledged
        last: JsonObject = port_alone.ledger.requests_to(CLAIM)[-1].body  # type: ignore[assignment]  # as it came
        assert last["exclude"] == [other]


def test_a_run_without_a_route_ends_with_the_reason(port_alone: World) -> None:
    agent = Poller(port_alone, "unrouted", "fail")
    with at_work(agent):
        run = port_alone.ended(pend(port_alone, "unknown"))
        assert run.terminal_statuses == ["FAILURE"]
        assert port_alone.ledger.pending.runs[run.id].is_acknowledged


def test_a_run_without_a_route_is_left_to_other_agents_where_they_share(port_alone: World) -> None:
    sharing, knowing = Poller(port_alone, "sharing", "fail", AGENT_UNROUTED="ignore"), Poller(port_alone, "knowing")
    with at_work(sharing):
        run_id = pend(port_alone, "unknown", synchronized=True)
        sharing.wait_line("message ignored", reason="unrouted")
        with at_work(knowing):
            port_alone.loop.call(lambda: port_alone.ledger.pending.show(run_id))
            assert port_alone.ended(run_id).terminal_statuses == ["SUCCESS"]
