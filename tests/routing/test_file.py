"""The routes file: what it means, and every mistake in the words a person reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.domain.errors import ConfigurationError, TemplateError
from agent.domain.invocation import InvocationKind, InvocationMethod, View
from agent.domain.json import Json
from agent.domain.route import EntityVerb, OnInterrupted, Unrouted
from agent.ports import Routed
from agent.routing.file import RoutesReader
from tests.routing.helpers import FakeExecutors, Idle, invocation, read

FULL = """
x-defaults: &defaults {on_interrupted: rerun, max_attempts: 3}
routes:
  - name: create
    match: {action: [create_*, make], blueprint: service, type: webhook, kind: action_run, when: .inputs.size > 1}
    process:
      command: ["./create.sh", "{{ .inputs.name }}", "{{ env.REGION }}"]
      timeout: 1h30m
    max_concurrent: 4
    key: "{{ .entity.identifier }}"
    decrypt: [payload.properties.token, a.0.b]
    env: [REGION]
    secrets: [TOKEN]
    entities:
      - {blueprint: service, identifier: "{{ .inputs.name }}", properties: {size: "{{ .inputs.size }}"}}
      - {blueprint: service, identifier: old, verb: delete, when: "{{ .inputs.replace }}", on: [failure, success]}
      - {blueprint: log, on: always}
    report:
      link: ["{{ .response.json.url }}"]
      summary: done with {{ .inputs.name }}
      status_label: .NET
      external_run_id: "{{ .response.json.id }}"
      status: "{{ .outputs.status }}"
    traceback: true
    <<: *defaults
  - name: restart
    match: {action: restart}
    http: {timeout: 500ms, method: POST}
    timeout: 45
"""
ENVIRONMENT = {"REGION": "eu", "TOKEN": "t0ken", "HIDDEN": "x"}


def test_everything_that_a_route_can_say() -> None:
    create, restart = read(FULL, ENVIRONMENT).routes
    view = View({"inputs": {"name": "n", "size": 2, "replace": True}, "response": {"json": {"url": "u", "id": 7}}})
    assert (create.name, create.executor, create.timeout_s) == ("create", "process", 5400.0)
    assert create.options == {"command": ["./create.sh", "{{ .inputs.name }}", "{{ env.REGION }}"]}
    assert (create.max_concurrent, create.max_attempts, create.traceback) == (4, 3, True)
    assert create.on_interrupted is OnInterrupted.RERUN
    assert (create.decrypt, create.secrets) == (("payload.properties.token", "a.0.b"), ("TOKEN",))
    assert create.where == "routes.yaml:4"
    match = create.match
    assert (match.actions, match.blueprints) == (("create_*", "make"), ("service",))
    assert (match.types, match.kinds) == (("WEBHOOK",), ("action_run",))
    assert match.when is not None
    assert match.when.render(view) is True
    assert create.key is not None
    assert create.key.render(view.extended(entity={"identifier": "e"})) == "e"
    first, second, third = create.entities
    assert first.body.render(view) == {"blueprint": "service", "identifier": "n", "properties": {"size": 2}}
    assert (first.verb, first.on, first.when) == (EntityVerb.UPSERT, frozenset({"success"}), None)
    assert (second.verb, second.on) == (EntityVerb.DELETE, frozenset({"success", "failure"}))
    assert second.when is not None
    assert second.when.render(view) is True
    assert third.on == frozenset({"always"})
    report = create.report
    rendered = [t.render(view) if t else None for t in (report.link, report.summary, report.external_run_id)]
    assert rendered == [["u"], "done with n", 7]
    assert report.status_label is not None
    assert report.status is not None
    assert (restart.timeout_s, restart.options) == (45.0, {"timeout": "500ms", "method": "POST"})


def test_null_inside_of_a_text_that_names_something_fails_and_elsewhere_reads_null() -> None:
    entity = '{blueprint: b, identifier: "svc-{{ .inputs.x }}", title: "t-{{ .inputs.x }}"}'
    said = f'key: "svc-{{{{ .inputs.x }}}}", report: {{summary: "s-{{{{ .inputs.x }}}}"}}, entities: [{entity}]'
    [route] = read(f"routes: [{{name: a, match: {{action: x}}, http: {{}}, {said}}}]").routes
    nothing, something = View({"inputs": {}}), View({"inputs": {"x": "y"}})
    assert route.key is not None
    assert route.report.summary is not None
    for template, place in ((route.key, "key"), (route.entities[0].body, "entities[0].identifier")):
        with pytest.raises(TemplateError) as caught:
            template.render(nothing)
        told = '`.inputs.x` gave null inside of text; where it may be missing, end the expression with // "…"'
        assert str(caught.value) == f"routes[0].{place}: {told}"
    assert route.report.summary.render(nothing) == "s-null"
    assert route.key.render(something) == "svc-y"
    assert route.entities[0].body.render(something) == {"blueprint": "b", "identifier": "svc-y", "title": "t-y"}


def test_the_executor_gets_the_routes_view_of_the_environment() -> None:
    routes = read(FULL, ENVIRONMENT)
    executor = routes.executor("create")
    assert isinstance(executor, Idle)
    options = executor.options.render(View({"inputs": {"name": "n"}}))
    assert options == {"command": ["./create.sh", "n", "eu"]}


def test_json_is_taken_as_well() -> None:
    text = '{\n\t"routes": [{"name": "a", "match": {"action": "x"}, "http": {"body": {"n": 1e3}}}]\n}'
    assert [r.options for r in read(text).routes] == [{"body": {"n": 1000.0}}]


def test_a_route_says_nothing_about_time_and_gets_the_default(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: [{name: a, match: {action: x}, http: {timeout: 5s}}]")
    reader = RoutesReader(FakeExecutors(), {}, default_timeout_s=77)
    try:
        assert [r.timeout_s for r in reader.load(path).routes] == [77.0]
    finally:
        reader.close()


def test_the_first_route_that_matches_wins_with_its_own_executor() -> None:
    routes = read(
        "routes:\n"
        '  - {name: big, match: {action: deploy, when: ".inputs.size > 9"}, http: {url: big}}\n'
        "  - {name: rest, match: {action: deploy}, http: {url: rest}}\n"
    )
    found = [routes.resolve(invocation(inputs={"size": size})) for size in (10, 1)]
    assert [f.route.name for f in found if isinstance(f, Routed)] == ["big", "rest"]
    assert all(f.executor is routes.executor(f.route.name) for f in found if isinstance(f, Routed))
    assert [(v.route, v.reason) for v in routes.explain(invocation(inputs={"size": 1}))] == [
        ("big", "`when` gave false, not true"),
        ("rest", None),
    ]
    assert isinstance(routes.resolve(invocation("other")), Unrouted)


def test_expressions_that_stand_elsewhere_can_be_compiled_too() -> None:
    reader = RoutesReader(FakeExecutors(), {"SECRET": "x"})
    run_id = reader.expressions.for_route().expression(".port.run", "AGENT_RUN_ID_PATH")
    assert run_id.render(View({"port": {"run": "r_1"}})) == "r_1"
    reader.close()


def test_files_that_are_not_there_or_no_files(tmp_path: Path) -> None:
    reader = RoutesReader(FakeExecutors(), {})
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigurationError, match=str(path)):
            reader.load(path)
    reader.close()


def test_the_built_in_routes_take_all_that_is_for_agents() -> None:
    reader = RoutesReader(FakeExecutors(), {}, default_timeout_s=5)
    routes = reader.builtin()
    reader.close()
    assert [(r.name, r.executor, r.timeout_s, r.where) for r in routes.routes] == [
        ("trigger-gitlab-pipelines", "http", 5, "built in"),
        ("forward-webhooks", "http", 5, "built in"),
    ]

    def taken(kind: InvocationKind, method_type: str, agent: Json) -> str | None:
        method = InvocationMethod(
            type=method_type, agent=True, raw={"type": method_type, "agent": agent, "url": "http://x/"}
        )
        routed = routes.resolve(invocation(kind=kind, method=method))
        return routed.route.name if isinstance(routed, Routed) else None

    assert taken(InvocationKind.ACTION_RUN, "WEBHOOK", agent=True) == "forward-webhooks"
    assert taken(InvocationKind.NODE_RUN, "WEBHOOK", agent="true") == "forward-webhooks"
    assert taken(InvocationKind.CHANGE_EVENT, "WEBHOOK", agent=True) == "forward-webhooks"
    assert taken(InvocationKind.ACTION_RUN, "GITLAB", agent=True) == "trigger-gitlab-pipelines"
    assert taken(InvocationKind.ACTION_RUN, "WEBHOOK", agent="false") is None
    assert taken(InvocationKind.ACTION_RUN, "GITLAB", agent=None) is None
