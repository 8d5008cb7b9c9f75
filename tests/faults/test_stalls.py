"""Liveness is progress: /livez fails for what stands still in the agent, and for nothing that it waits for."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.sandbox.faults import Effect, Fault
from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.broker.workload import orders
from tests.whole.one_agent import OneAgent
from tests.whole.world import World, opened

STALL_TIMEOUT_S = 10.0
LONGER_S = STALL_TIMEOUT_S + 5.0

ROUTES = """
routes:
  - name: blocking-action
    match: {action: block}
    python: {callable: "stall_actions:block"}
  - name: gated
    match: {action: gated}
    on_interrupted: rerun
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/gate/{{ .inputs.gate }}", retry: 0}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("stalls")) as world:
        yield world
        world.check_nothing_ended_twice()


def start(world: World, name: str) -> OneAgent:
    settings = {
        "AGENT_STALL_TIMEOUT_S": str(STALL_TIMEOUT_S),
        "AGENT_MAX_CONCURRENT_RUNS": "2",
        "KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "6000",
        "AGENT_PYTHONPATH": str(Path(__file__).with_name("actions")),
        "LOG_LEVEL": "DEBUG",
    }
    agent = OneAgent(world, name, settings, ROUTES)
    agent.start()
    agent.wait_ready()
    return agent


def stays_alive(probe: Callable[[], tuple[int | None, str]]) -> None:
    """Returns after more than the time-out; fails as soon as the probe does."""
    end_s = time.monotonic() + LONGER_S
    while time.monotonic() < end_s:
        status, reason = probe()
        assert status == 200, reason
        time.sleep(0.2)  # how often a probe asks; nothing is waited for but the time itself


def test_an_action_that_holds_the_loop_fails_the_probe_and_is_named_until_it_lets_go(world: World) -> None:
    agent = start(world, "blocked")
    try:
        file = agent.home / "let go"
        run_id = agent.invoke("block", {"until": str(file)})
        agent.wait_line("run started", run_id=run_id)
        assert agent.get("/livez") == (200, "alive\n")

        agent.wait_until(lambda: agent.get("/livez")[0] == 503, "the probe to fail")
        reason = agent.get("/livez")[1]
        assert "the event loop has stood still for 1" in reason
        assert "blocking-action" in reason
        assert agent.lines("not alive: /livez fails, for a restart")
        assert "agent_alive 0.0" in agent.get("/metrics")[1]

        file.touch()
        agent.wait_until(lambda: agent.get("/livez")[0] == 200, "the probe to recover")
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        agent.wait_line("alive again: what stood still moves")
    finally:
        (agent.home / "let go").touch()
        agent.kill()


def test_long_runs_and_full_slots_are_no_standstill(world: World) -> None:
    agent = start(world, "busy")
    try:
        runs = [agent.invoke("gated", {"gate": "long"}) for _ in range(5)]
        world.target.wait_at_gate("long", 2)
        stays_alive(lambda: agent.get("/livez"))
        assert world.target.at_gate["long"] == 2
        world.target.open_gate("long")
        assert all(world.ended(run_id).terminal_statuses == ["SUCCESS"] for run_id in runs)
    finally:
        agent.kill()


def test_a_port_that_does_not_answer_is_no_standstill_for_reports_nor_for_look_ups(world: World) -> None:
    agent = start(world, "hanging")
    try:
        asked_about = agent.invoke("gated", {"gate": "interrupted"})
        world.target.wait_at_gate("interrupted")
        reported = agent.invoke("gated", {"gate": "reported"})
        world.target.wait_at_gate("reported")
        world.misbehave(Fault(path="/v1/actions/runs/*", effect=Effect.HANG, times=None))
        world.target.open_gate("reported")
        agent.wait_line("run finished", run_id=reported)
        stays_alive(lambda: agent.get("/livez"))
        assert not world.ledger.runs[reported].terminal_statuses

        agent.kill()
        agent.start()
        agent.wait_ready()
        agent.wait_until(
            lambda: [request.method for request in world.requests_of(asked_about)][-1:] == ["GET"],
            "a look-up of the run",
        )
        stays_alive(lambda: agent.get("/livez"))
        assert not world.ledger.runs[asked_about].terminal_statuses

        world.loop.call(world.port.script.clear)
        world.target.open_gate("interrupted")
        for run_id in (asked_about, reported):
            assert world.ended(run_id, timeout_s=60).terminal_statuses == ["SUCCESS"]
    finally:
        world.loop.call(world.port.script.clear)
        agent.kill()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """A broker that only these tests trouble."""
    libs = os.environ.get("KAFKA_LIBS", "")
    assert libs, 'KAFKA_LIBS is not set: KAFKA_LIBS="$(.ci/kafka/fetch)" .venv/bin/python -m pytest -m kafka'
    broker = RealKafka(Path(libs), tmp_path_factory.mktemp("stalls_kafka"))
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@pytest.mark.kafka
def test_a_broker_that_is_frozen_or_down_is_no_standstill(broker: RealKafka, tmp_path: Path) -> None:
    with Stage(broker, tmp_path, "org_stalls") as stage:
        stage.make_topics()
        agent = stage.start_agent("one", {"AGENT_STALL_TIMEOUT_S": str(STALL_TIMEOUT_S)})
        agent.wait_ready()

        def probe() -> tuple[int | None, str]:
            return agent.probe("/livez"), agent.tail()

        first, second, third = orders(random.Random(7), 3, "org_stalls", stage.port.client_secret)  # noqa: S311 - test data
        stage.place([first])
        stage.wait_finished(60)
        broker.freeze()
        try:
            stays_alive(probe)
        finally:
            broker.thaw()
        stage.place([second])
        stage.wait_finished(60)
        broker.stop()
        stays_alive(probe)
        broker.start()
        stage.place([third])
        stage.wait_finished(90)
        assert probe()[0] == 200
        wait_until(stage.is_committed, timeout_s=30, what="all to be committed")
        stage.check_each_run_once()
