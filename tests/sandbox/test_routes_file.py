"""The form for an action of one's own begins with what the routes file says."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.sandbox.actions import ACTIONS, Shape
from agent.sandbox.routes_file import RoutesFile, Suggestion

ROUTES = """
routes:
  - name: create
    match: {action: [create_a, "create_*", create_b], blueprint: [vm, disk], when: '.inputs["first-name"] != null'}
    process: {command: ["./create.sh", "{{ .inputs.name }} {{ .inputs.name }}"], env: {R: "{{ .inputs.region }}"}}
  - name: restart
    match: {action: restart, type: [WEBHOOK]}
    http: {url: "http://x/{{ .entity.identifier }}"}
  - name: again
    match: {action: restart}
    python: {callable: "a:b"}
  - name: entities_are_no_entity
    match: {action: list, type: "*"}
    http: {url: "http://x/{{ .inputs.entity }}"}
  - name: nameless
    match: {when: .message.request == "x"}
    python: {callable: "a:b"}
"""


def test_actions_that_are_named_in_so_many_words_are_suggested_with_what_their_routes_read(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES)
    some = {name: f"some-{name}" for name in ("first-name", "name", "region")}
    assert RoutesFile(path, is_copy=False).suggestions == (
        Suggestion("create_a", "vm", some, "", Shape.KAFKA_V1),
        Suggestion("create_b", "vm", some, "", Shape.KAFKA_V1),
        Suggestion("restart", "service", {}, "some-entity", Shape.WEBHOOK),
        Suggestion("list", "service", {"entity": "some-entity"}, "", Shape.KAFKA_V1),
    )


def test_the_examples_are_suggested_with_their_own_inputs(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("""routes: [{match: {action: import_services}, x: "{{ .inputs.count }}"}]""")
    [one] = RoutesFile(path, is_copy=True, examples=ACTIONS).suggestions
    assert one.inputs == {"count": 400}
    assert one.to_json()["shape"] == "Kafka"


@pytest.mark.parametrize("content", [None, "[", "", "[]", "routes: 1", "routes: [1, {}, {match: 1}]"])
def test_a_file_that_makes_no_sense_suggests_nothing_new(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "routes.yaml"
    if content is not None:
        path.write_text(content)
    assert RoutesFile(path, is_copy=False).suggestions == ()


def test_a_file_that_is_being_changed_again_leaves_the_suggestions(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes: [{match: {action: first}}]")
    routes = RoutesFile(path, is_copy=False)
    path.write_text("routes: [")
    routes.taken()
    assert [one.action for one in routes.suggestions] == ["first"]
