"""Which route takes a run, what becomes of one that none takes, and how routes change while runs go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.whole.one_agent import OneAgent
from tests.whole.world import World

ROUTES = """
- name: deploy-service
  match: {action: deploy_service, blueprint: service}
  process: {command: [echo, deployed]}
- name: first
  match: {action: ["pick_?", pick_more], blueprint: "serv*", when: .inputs.n > 1}
  process: {command: [echo, first]}
- name: second
  match: {action: pick_*}
  process: {command: [echo, second]}
- name: environment
  match: {action: environment}
  env: [VISIBLE]
  process:
    command: [echo, '{{ env.VISIBLE }}, {{ env | tojson }}, {{ .inputs.name as $name | env[$name] | tojson }}']
- name: never-ending-jq
  match: {action: never_ending_jq}
  process: {command: [echo, "{{ [range(1e12)] | length }}"]}
- name: failing-jq
  match: {action: failing_jq}
  process: {command: [echo, '{{ .inputs.name + 1 }}']}
- name: endless-when
  match: {action: endless_when, when: '[range(1e12)] | length > 0'}
  process: {command: [echo, endless]}
- name: behind-endless-when
  match: {action: endless_when}
  process: {command: [echo, "must not run"]}
- name: null-argument
  match: {action: null_argument}
  process: {command: [echo, "{{ .inputs.missing }}"]}
- name: null-in-text
  match: {action: null_in_text}
  process: {command: [sh, -c, 'echo "$TEXT"'], env: {TEXT: 'a{{ .inputs.missing }}b{{ .inputs.missing // "" }}c'}}
- name: null-in-argument
  match: {action: null_in_argument}
  process: {command: [echo, "svc-{{ .inputs.missing }}"]}
- name: null-in-url
  match: {action: null_in_url}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/services/{{ .inputs.missing }}/restart"}
- name: empty-in-url
  match: {action: empty_in_url}
  env: [TARGET]
  http: {url: '{{ env.TARGET }}/services/{{ .inputs.missing // "" }}'}
- name: null-in-key
  match: {action: null_in_key}
  key: "svc-{{ .inputs.missing }}"
  process: {command: [echo, "must not run"]}
- name: null-in-identifier
  match: {action: null_in_identifier}
  process: {command: [echo, done]}
  entities: [{blueprint: service, identifier: "svc-{{ .inputs.missing }}", title: "of {{ .inputs.missing }}"}]
"""


def _webhook(world: World, agent: OneAgent, action: str, **click: Any) -> str:
    run_id = world.begin_run(action)
    agent.deliver_signed(messages.webhook(Click(run_id, action, **click), world.target.url + "/own-url"))
    return run_id


def test_a_message_for_agents_without_a_route_fails_and_names_the_nearest(world: World, agent: OneAgent) -> None:
    run = world.ended(_webhook(world, agent, "deploy_servise", blueprint="service"))
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "no route matched" in run.summary
    assert "deploy-service" in run.summary
    assert world.target.requests("/own-url") == []


def test_a_route_that_nearly_matches_says_why_it_does_not(world: World, agent: OneAgent) -> None:
    run = world.ended(_webhook(world, agent, "deploy_service", blueprint="vm"))
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "deploy-service" in run.summary
    assert "'vm', not 'service'" in run.summary


def test_a_workflow_node_without_a_route_fails_likewise(world: World, agent: OneAgent) -> None:
    run_id = world.begin_run("node", "wfnr_unrouted")
    agent.deliver_signed(messages.node_run(run_id, "http://unused.example/nobody"))
    run = world.ended(run_id)
    assert (run.result, "no route matched" in run.log_text) == ("FAILED", True)


def test_a_kafka_message_without_a_route_is_passed_over(world: World, agent: OneAgent) -> None:
    before = agent.metric("agent_messages_ignored_total", reason="not_for_agents")
    run_id = agent.invoke("somebody_elses_action")
    agent.wait_metric("agent_messages_ignored_total", before + 1, reason="not_for_agents")
    assert world.requests_of(run_id) == []


def test_with_unrouted_ignore_a_message_without_a_route_touches_nothing(world: World, strict: OneAgent) -> None:
    before = strict.metric("agent_messages_ignored_total", reason="unrouted")
    run_id = _webhook(world, strict, "for_another_agent")
    node = world.begin_run("node", "wfnr_for_another_agent")
    strict.deliver_signed(messages.node_run(node, "http://unused.example/"))
    strict.wait_metric("agent_messages_ignored_total", before + 2, reason="unrouted")
    assert (world.requests_of(run_id), world.requests_of(node)) == ([], [])


def test_the_first_route_that_matches_wins(world: World, agent: OneAgent) -> None:
    expected = {
        agent.invoke("pick_1", {"n": 2}): "first",
        agent.invoke("pick_1", {"n": 1}): "second",
        agent.invoke("pick_more", {"n": 2}): "first",
        agent.invoke("pick_others", {"n": 2}): "second",
    }
    assert {run_id: world.ended(run_id).log_text for run_id in expected} == expected


def test_expressions_see_only_the_variables_that_their_route_lists(agent: OneAgent) -> None:
    run = agent.result_of("environment", {"name": "HIDDEN"})
    assert run.log_text == 'a visible value, {"VISIBLE":"a visible value"}, null'


def test_an_expression_that_never_ends_fails_its_run_in_time_and_no_other(world: World, agent: OneAgent) -> None:
    run_id, other = agent.invoke("never_ending_jq"), agent.invoke("deploy_service")
    run = world.ended(run_id)
    assert (run.terminal_statuses, run.log_text) == (["FAILURE"], "")
    assert run.summary is not None
    assert "command" in run.summary
    assert world.ended(other).terminal_statuses == ["SUCCESS"]


def test_an_expression_that_fails_on_this_message_fails_its_run_and_says_where(agent: OneAgent) -> None:
    run = agent.result_of("failing_jq", {"name": "text"})
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "command" in run.summary


def test_a_null_argument_fails_its_run_and_says_which(agent: OneAgent) -> None:
    run = agent.result_of("null_argument", {})
    assert (run.terminal_statuses, run.log_text) == (["FAILURE"], "")
    assert run.summary is not None
    assert "process.command[1]: `{{ .inputs.missing }}` gave null" in run.summary


def test_null_inside_of_text_reads_null(agent: OneAgent) -> None:
    assert agent.result_of("null_in_text", {}).log_text == "anullbc"


@pytest.mark.parametrize(
    ("action", "place"),
    [
        ("null_in_argument", "process.command[1]"),
        ("null_in_url", "http.url"),
        ("null_in_key", "key"),
        ("null_in_identifier", "entities[0].identifier"),
    ],
)
def test_null_inside_of_a_text_that_names_something_fails_its_run(
    world: World, agent: OneAgent, action: str, place: str
) -> None:
    run_id = agent.invoke(action, {})
    run = world.ended(run_id)
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert f"{place}: `.inputs.missing` gave null inside of text" in run.summary
    assert 'end the expression with // "…"' in run.summary
    assert "must not run" not in run.log_text
    assert world.target.requests("/services/null/restart") == []
    assert not [r for r in world.requests_of(run_id) if "/entities" in r.path]


def test_an_empty_text_between_the_slashes_of_a_url_fails_its_run(world: World, agent: OneAgent) -> None:
    run = agent.result_of("empty_in_url", {})
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "leads to another resource than it names" in run.summary
    assert world.target.requests("/services/") == []


def test_a_condition_that_never_ends_hands_its_message_to_no_other_route(world: World, agent: OneAgent) -> None:
    run = world.ended(_webhook(world, agent, "endless_when"))
    assert (run.terminal_statuses, run.log_text) == (["FAILURE"], "")
    assert run.summary is not None
    assert "whether route 'endless-when' matches is not known" in run.summary
    assert "match.when: `[range(1e12)] | length > 0`" in run.summary


def test_a_kafka_message_whose_condition_never_ends_is_passed_over_and_told(world: World, agent: OneAgent) -> None:
    before = agent.metric("agent_messages_ignored_total", reason="undecided")
    run_id = agent.invoke("endless_when")
    line = agent.wait_line("no route was found in time", run_id=run_id)
    assert "endless-when" in line["reason"]
    agent.wait_metric("agent_messages_ignored_total", before + 1, reason="undecided")
    assert world.requests_of(run_id) == []


# ── a file that changes ──────────────────────────────────────────────────────────────────────────────


def _rewritten(content: str, name: str, executor: str = "http") -> str:
    """The routes file's content with another version of its last route."""
    document = json.loads(content)
    route = document["routes"].pop()
    options = {"url": route["http"]["url"].replace("/old", f"/{name}")}
    changed = {key: value for key, value in route.items() if key != "http"} | {
        "name": name,
        executor: options,
        "report": {"summary": f"by {name}"},
        "entities": [{"blueprint": "service", "identifier": name}],
    }
    return json.dumps({"routes": [*document["routes"], changed]}, indent=2)


def test_a_changed_file_is_read_a_broken_one_refused_and_a_mended_one_read_again(
    world: World, lenient: OneAgent
) -> None:
    file = lenient.routes_file
    before = file.read_text()
    running = lenient.invoke("rewritten")
    world.target.wait_at_gate("old")

    file.write_text(_rewritten(before, "new", executor="htp"))
    (problem,) = lenient.wait_line("routes reload refused")["problems"]
    assert problem.startswith(f"{file}:")
    assert all(part in problem for part in ("routes[2]", "htp", "http")), problem
    assert lenient.metric("agent_config_last_reload_successful") == 0
    assert lenient.get("/readyz")[0] == 200
    meanwhile = lenient.invoke("rewritten")
    world.target.wait_at_gate("old", 2)

    file.write_text(_rewritten(before, "new"))
    lenient.wait_line("routes reloaded")
    assert lenient.metric("agent_config_last_reload_successful") == 1
    world.target.open_gate("new")
    assert world.ended(lenient.invoke("rewritten")).summary == "by new"

    world.target.open_gate("old")
    for run_id in (running, meanwhile):
        run = world.ended(run_id)
        assert (run.summary, [entity.identifier for entity in run.entities]) == ("by old", ["old"])
