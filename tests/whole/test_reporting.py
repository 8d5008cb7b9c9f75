"""What the agent asks of Port for a run: how little, in which order, and what it does when Port says no."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import pytest

from agent.sandbox import messages
from agent.sandbox.messages import Click
from agent.sandbox.port_api import Effect, Fault
from tests.whole.one_agent import OneAgent, Results
from tests.whole.world import World

ROUTES = """
- name: quiet
  match: {action: quiet}
  process: {command: ["true"]}
- name: short-output
  match: {action: short_output}
  process: {command: [sh, -c, 'echo one; echo two; echo "link=https://short.example/" >>"$AGENT_OUTPUT"']}
- name: numbers
  match: {action: numbers}
  process: {command: ["true"]}
  report:
    link: ["{{ 17 }}", "{{ .inputs.n }}"]
    summary: "{{ .inputs.o }}"
    external_run_id: "{{ .inputs.n }}"
    status_label: "{{ .inputs.b }}"
"""


def test_a_quiet_run_costs_one_request(world: World, agent: OneAgent) -> None:
    run = agent.result_of("quiet")
    agent.wait_settled(run.id)
    assert run.terminal_statuses == ["SUCCESS"]
    assert [(r.method, r.status) for r in world.requests_of(run.id)] == [("PATCH", 200)]


def test_a_run_with_a_short_output_costs_two_and_the_status_comes_last_and_once(
    world: World, agent: OneAgent
) -> None:
    run = agent.result_of("short_output")
    agent.wait_settled(run.id)
    log, status = world.requests_of(run.id)
    assert log.path.endswith("/logs")
    assert log.body == {"message": "one\ntwo"}
    assert isinstance(status.body, dict)
    assert status.body["status"] == "SUCCESS"
    assert run.links == ["https://short.example/"]


def test_what_is_no_text_becomes_text_before_port_could_refuse_it(world: World, agent: OneAgent) -> None:
    run = agent.result_of("numbers", {"n": 4711, "o": {"a": [1, None]}, "b": True})
    assert run.terminal_statuses == ["SUCCESS"]
    assert run.links == ["17", "4711"]
    assert (run.summary, run.external_run_id, run.status_label) == ('{"a":[1,null]}', "4711", "true")
    assert all(r.status == 200 for r in world.requests_of(run.id))


def test_one_token_serves_all_runs_and_is_renewed_once_where_port_wants_another(
    world: World, agent: OneAgent
) -> None:
    agent.result_of("quiet")

    def granted() -> float:
        return agent.metric("agent_api_token_refreshes_total", result="ok")

    before = granted()
    runs = [agent.invoke("quiet") for _ in range(5)]
    assert all(world.ended(run_id).terminal_statuses == ["SUCCESS"] for run_id in runs)
    assert granted() == before
    world.loop.call(world.port.credentials.expire_tokens)
    runs = [agent.invoke("quiet") for _ in range(5)]
    assert all(world.ended(run_id).terminal_statuses == ["SUCCESS"] for run_id in runs)
    assert granted() == before + 1


# ── Port in trouble ──────────────────────────────────────────────────────────────────────────────────

PASSING: dict[str, Fault] = {
    "500": Fault(status=500),
    "503": Fault(status=503),
    "408": Fault(status=408),
    "a reset connection": Fault(effect=Effect.RESET),
}
WAITS: dict[str, dict[str, str]] = {
    "Retry-After": {"Retry-After": "1"},
    "x-ratelimit-reset in seconds": {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"},
}
LOG_REFUSALS = ("400", "413", "422")
OVER = ("SUCCESS", "FAILURE", "unknown")


@pytest.fixture(scope="module")
def troubled(world: World, agent: OneAgent) -> Results:
    """Runs that meet trouble in Port's API, each its own, all at the same time."""
    run_ids: dict[str, str] = {}

    def place(name: str, action: str, fault: Fault, path: str = "") -> None:
        run_ids[name] = run_id = world.begin_run(action)
        world.misbehave(replace(fault, path=f"*/{run_id}{path}"))
        agent.deliver(messages.kafka_v1(Click(run_id, action)))

    for name, fault in PASSING.items():
        place(name, "quiet", replace(fault, times=2))
    for name, headers in WAITS.items():
        place(name, "quiet", Fault(status=429, headers=headers))
    for status in LOG_REFUSALS:
        place(f"log {status}", "short_output", Fault(status=int(status), times=None), "/logs")
    place("details 422", "short_output", Fault(status=422))
    place("lost answer", "quiet", Fault(effect=Effect.DROP_REPLY))
    for name in OVER:
        run_ids[name] = run_id = f"r_over_{name}"
        if name != "unknown":
            world.loop.call(partial(world.ledger.create_run, "quiet", run_id=run_id, status=name))
        agent.deliver(messages.kafka_v1(Click(run_id, "short_output")))
    return Results(world, run_ids)


@pytest.mark.parametrize("trouble", PASSING)
def test_the_status_is_sent_again_after(trouble: str, world: World, troubled: Results) -> None:
    run = troubled(trouble)
    assert (run.terminal_statuses, run.refused_statuses) == (["SUCCESS"], [])
    assert len(world.requests_of(run.id)) == 3


@pytest.mark.parametrize("header", WAITS)
def test_429_is_retried_when_port_says_by(header: str, world: World, troubled: Results) -> None:
    run = troubled(header)
    assert run.terminal_statuses == ["SUCCESS"]
    first, second = world.requests_of(run.id)
    assert second.at_s - first.at_s > 0.9


def test_429_is_retried_at_the_time_that_port_names(world: World, agent: OneAgent) -> None:
    opens_s = int(time.time()) + 3  # however late the run comes to be refused
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(opens_s)}
    run_id = world.begin_run("quiet")
    world.misbehave(Fault(path=f"*/{run_id}", status=429, headers=headers))
    agent.deliver(messages.kafka_v1(Click(run_id, "quiet")))
    assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    _refused, taken = world.requests_of(run_id)
    assert taken.at_s >= opens_s


def test_an_answer_that_got_lost_is_no_second_status(world: World, agent: OneAgent, troubled: Results) -> None:
    """The status arrived; asked once more, Port says that the run is closed, which is as good as a yes."""
    run = troubled("lost answer")
    agent.wait_line("run reported", run_id=run.id, result="delivered")
    assert run.terminal_statuses == ["SUCCESS"]
    assert len(world.requests_of(run.id)) == 2
    run.refused_statuses.clear()  # the echo, which the end of the session would take for a second status


@pytest.mark.parametrize("status", LOG_REFUSALS)
def test_a_log_that_port_does_not_take_costs_the_log_and_nothing_else(
    status: str, agent: OneAgent, troubled: Results
) -> None:
    run = troubled(f"log {status}")
    assert (run.terminal_statuses, run.links, run.logs) == (["SUCCESS"], ["https://short.example/"], [])
    assert agent.get("/livez")[0] == 200


def test_details_that_port_does_not_take_do_not_leave_the_run_open(troubled: Results) -> None:
    run = troubled("details 422")
    assert (run.terminal_statuses, run.links) == (["SUCCESS"], [])


@pytest.mark.parametrize("name", OVER)
def test_a_run_that_is_over_or_unknown_is_no_crash_and_no_endless_retry(
    name: str, world: World, agent: OneAgent, troubled: Results
) -> None:
    run_id = troubled.run_ids[name]
    agent.wait_line("report refused by Port", run_id=run_id)
    assert len(world.requests_of(run_id)) <= 3
    if name != "unknown":
        world.ledger.runs[run_id].refused_statuses.clear()  # asked for by this test
