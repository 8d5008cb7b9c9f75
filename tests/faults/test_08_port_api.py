"""Port's API in trouble, at the begin of reports and at their end: it costs time, and never an outcome."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from agent.sandbox.port_api import Effect, Fault
from tests.broker.waiting import wait_until
from tests.faults.conftest import Begin
from tests.whole.world import World

ROUTES = """\
routes:
  - name: talk
    match: {action: talk}
    process: {command: [sh, -c, 'echo "$RUN_ID" >>"$EXECUTIONS"; echo began'], env: {EXECUTIONS: "%(executions)s"}}
  - name: hidden
    match: {action: hidden}
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/outage"}
"""
RUNS = "/v1/actions/runs/*"


def routes(home: Path) -> tuple[str, Path]:
    executions = home / "executions"
    executions.touch()
    return ROUTES % {"executions": executions}, executions


def check_each_ended_once(world: World, run_ids: list[str], executions: Path) -> None:
    for run_id in run_ids:
        run = world.ended(run_id, timeout_s=60)
        assert run.terminal_statuses == ["SUCCESS"], run
    executed = executions.read_text().splitlines()
    assert sorted(executed) == sorted(set(executed))
    assert set(run_ids) <= set(executed)


def test_every_kind_of_trouble_costs_time_and_no_outcome(
    world: World, begin: Begin, tmp_path: Path, chance: random.Random
) -> None:
    text, executions = routes(tmp_path)
    agent = begin("troubled", text, {})
    troubles: dict[str, Callable[[], None]] = {
        "the token has expired": lambda: world.loop.call(world.port.credentials.expire_tokens),
        "429 with a reset": lambda: world.misbehave(
            Fault(RUNS, status=429, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, times=3)
        ),
        "429 with Retry-After": lambda: world.misbehave(
            Fault(RUNS, status=429, headers={"Retry-After": "1"}, times=3)
        ),
        "503 for a while": lambda: world.misbehave(Fault(RUNS, status=503, times=8)),
        "connections are reset": lambda: world.misbehave(Fault(RUNS, effect=Effect.RESET, times=8)),
        "it is slow": lambda: world.misbehave(Fault(RUNS, effect=Effect.DELAY, delay_s=1.5, times=6)),
        "no token is given": lambda: world.misbehave(
            Fault(RUNS, status=401, times=1), Fault("*/access_token", status=500, times=2)
        ),
    }
    for name in chance.sample(sorted(troubles), len(troubles)):
        print(name)  # noqa: T201 - pytest shows it for failed tests only
        troubles[name]()
        check_each_ended_once(world, [agent.invoke("talk") for _ in range(6)], executions)
        world.loop.call(world.port.script.clear)
    assert agent.get("/livez")[0] == 200
    assert "Traceback" not in agent.output()


def test_in_an_outage_runs_end_their_outcomes_wait_and_intake_pauses_at_the_bound(
    world: World, begin: Begin
) -> None:
    agent = begin(
        "outage", ROUTES % {"executions": ""}, {"AGENT_MAX_PENDING_REPORTS": "5", "AGENT_MAX_CONCURRENT_RUNS": "4"}
    )
    world.misbehave(Fault(RUNS, status=503, times=None))
    run_ids = [agent.invoke("hidden") for _ in range(40)]

    # Those that had begun by the time the bound was reached end as well; nothing more begins after them.
    agent.wait_until(lambda: agent.metric("agent_journal_pending_reports") >= 5, "five outcomes to wait")
    agent.wait_until(lambda: agent.metric("agent_runs_in_flight") == 0, "what had begun to end")
    waiting = agent.metric("agent_journal_pending_reports")
    executed = len(world.target.requests("/outage"))
    assert executed == waiting
    assert executed < len(run_ids)
    _retries = agent.metric("agent_api_retries_total")
    agent.wait_until(lambda: agent.metric("agent_api_retries_total") >= _retries + 20, "Port to be tried again")
    assert len(world.target.requests("/outage")) == executed
    assert agent.get("/readyz")[0] == 200
    assert agent.metric("agent_api_unanswered_seconds") > 0
    assert "API does not answer" in agent.get("/")[1]
    assert agent.get("/livez")[0] == 200
    assert not any(world.ledger.runs[run_id].terminal_statuses for run_id in run_ids)

    world.loop.call(world.port.script.clear)
    for run_id in run_ids:
        assert world.ended(run_id, timeout_s=60).terminal_statuses == ["SUCCESS"]
    assert len(world.target.requests("/outage")) == len(run_ids)
    agent.wait_metric("agent_journal_pending_reports", 0)
    agent.wait_metric("agent_api_unanswered_seconds", 0)
    assert agent.wait_line("port api answers again")["away_s"] > 0


def test_a_run_that_port_has_closed_meanwhile_is_no_trouble(world: World, begin: Begin) -> None:
    agent = begin("closed", ROUTES % {"executions": ""}, {"LOG_LEVEL": "DEBUG"})
    world.misbehave(Fault(RUNS, method="PATCH", status=503, times=2))
    run_id = agent.invoke("hidden")
    wait_until(lambda: world.requests_of(run_id), timeout_s=30, what="the first try", pause_s=0.01)
    world.loop.call(lambda: world.ledger.patch_run(run_id, {"status": "FAILURE", "summary": "by hand"}))
    agent.wait_line("run reported", run_id=run_id)
    run = world.ledger.runs[run_id]
    assert (run.terminal_statuses, run.summary) == (["FAILURE"], "by hand")
    agent.wait_committed()
