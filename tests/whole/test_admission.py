"""How many runs go on at once, and in which order."""

from __future__ import annotations

import json

from tests.broker.waiting import wait_until
from tests.whole.one_agent import OneAgent
from tests.whole.world import World

ROUTES = """
- name: two-at-once
  match: {action: two_at_once}
  max_concurrent: 2
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/gate/two-at-once", retry: 0}
- name: many-at-once
  match: {action: many_at_once}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/gate/many-at-once"}
- name: keyed
  match: {action: keyed}
  key: "{{ .inputs.cluster }}"
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/gate/{{ .inputs.cluster }}-{{ .inputs.n }}", body: "{{ .inputs.n }}"}
- name: bad-key
  match: {action: bad_key}
  key: "{{ .inputs.name | tonumber }}"
  process: {command: [echo, ran]}
"""


def test_runs_of_one_process_go_on_at_the_same_time(world: World, agent: OneAgent) -> None:
    runs = [agent.invoke("many_at_once") for _ in range(8)]
    world.target.wait_at_gate("many-at-once", 8)
    assert agent.metric("agent_runs_in_flight", executor="http") >= 8
    world.target.open_gate("many-at-once")
    assert all(world.ended(run_id).terminal_statuses == ["SUCCESS"] for run_id in runs)


def test_a_routes_limit_holds_and_hinders_no_other_route(world: World, agent: OneAgent) -> None:
    runs = [agent.invoke("two_at_once") for _ in range(5)]
    world.target.wait_at_gate("two-at-once", 2)
    agent.wait_metric("agent_runs_waiting", 3)
    assert agent.metric("agent_runs_waiting_for_slot") == 0
    assert agent.metric("agent_oldest_waiting_run_age_seconds") > 0
    world.target.open_gate("two-at-once")
    assert all(world.ended(run_id).terminal_statuses == ["SUCCESS"] for run_id in runs)
    assert world.target.most_at_gate["two-at-once"] == 2
    agent.wait_metric("agent_runs_waiting", 0)


def test_runs_of_one_key_go_one_after_another_in_their_order_and_other_keys_beside_them(
    world: World, agent: OneAgent
) -> None:
    blue = [agent.invoke("keyed", {"cluster": "blue", "n": n}, key="blue") for n in range(4)]
    green = agent.invoke("keyed", {"cluster": "green", "n": 0}, key="blue")
    world.target.wait_at_gate("green-0")
    for n, run_id in enumerate(blue):
        world.target.wait_at_gate(f"blue-{n}")
        assert sum(world.target.at_gate[f"blue-{m}"] for m in range(4)) == 1
        world.target.open_gate(f"blue-{n}")
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    order = [json.loads(r.body) for r in world.target.received if r.path.startswith("/gate/blue-")]
    assert order == [0, 1, 2, 3]
    world.target.open_gate("green-0")
    assert world.ended(green).terminal_statuses == ["SUCCESS"]


def test_a_key_that_cannot_be_had_fails_its_run(agent: OneAgent) -> None:
    run = agent.result_of("bad_key", {"name": "not a number"})
    assert (run.terminal_statuses, run.log_text) == (["FAILURE"], "")
    assert run.summary is not None
    assert "key" in run.summary


def test_where_all_slots_are_taken_the_rest_waits_and_nothing_is_lost(world: World, narrow: OneAgent) -> None:
    inputs = {"gate": "full", "ballast": "x" * 4_000}
    runs = [narrow.invoke("gated", inputs) for _ in range(12)]
    world.target.wait_at_gate("full", 2)
    narrow.wait_metric("agent_runs_waiting", 2)
    assert narrow.metric("agent_runs_waiting_for_slot") == 2
    assert narrow.metric("agent_runs_in_flight") == narrow.metric("agent_runs_in_flight_limit") == 2
    assert narrow.get("/livez")[0] == narrow.get("/readyz")[0] == 200
    world.target.open_gate("full")
    for run_id in runs:
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
    assert world.target.most_at_gate["full"] == 2


def test_what_is_settled_is_committed_and_nothing_behind_an_open_run(world: World, narrow: OneAgent) -> None:
    """All records of one key are in one partition: an open run in it holds the offset, whatever ends behind it."""
    ends = world.broker.end_offsets(narrow.topic)
    first = narrow.invoke("gated", {"gate": "commit-first"}, key="one partition")
    partition = next(p for p, end in world.broker.end_offsets(narrow.topic).items() if end > ends[p])
    world.target.wait_at_gate("commit-first")
    world.target.open_gate("commit-later")
    for later in [narrow.invoke("gated", {"gate": "commit-later"}, key="one partition") for _ in range(3)]:
        world.ended(later)
        narrow.wait_settled(later)

    def committed() -> int:
        return world.broker.committed(narrow.group, narrow.topic).get(partition, (0, ""))[0]

    assert committed() <= ends[partition]
    world.target.open_gate("commit-first")
    world.ended(first)
    wait_until(
        lambda: committed() == ends[partition] + 4, timeout_s=30, what=lambda: f"all committed, not {committed()}"
    )
