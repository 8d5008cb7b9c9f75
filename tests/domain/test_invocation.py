import json
from dataclasses import FrozenInstanceError, replace

import pytest

from agent.domain.invocation import Effort, Invocation, InvocationKind, InvocationMethod, RunId, Trigger, View

INVOCATION = Invocation(
    kind=InvocationKind.ACTION_RUN,
    run_id=RunId("r_1"),
    action="restart",
    blueprint="service",
    trigger=Trigger("u1", "u@x", "UI", "2024-06-09T12:28:18.663Z", "DAY-2"),
    entity=None,
    entity_id="api",
    inputs={"hard": True},
    method=InvocationMethod("WEBHOOK", agent=True, raw={"type": "WEBHOOK", "agent": True, "url": "http://x"}),
    document={"context": {"runId": "r_1"}},
    encrypted=("token",),
)


def test_the_view_has_ports_names() -> None:
    assert json.loads(INVOCATION.view.text) == {
        "run": {"id": "r_1", "kind": "action_run", "attempt": 1},
        "action": {
            "identifier": "restart",
            "blueprint": "service",
            "invocationMethod": {"type": "WEBHOOK", "agent": True, "url": "http://x"},
            "encryptedProperties": ["token"],
        },
        "inputs": {"hard": True},
        "entity": {"identifier": "api"},
        "trigger": {
            "by": {"user": {"id": "u1", "email": "u@x"}},
            "origin": "UI",
            "at": "2024-06-09T12:28:18.663Z",
            "operation": "DAY-2",
        },
        "message": {"context": {"runId": "r_1"}},
    }


def test_the_entity_is_the_one_carried_else_the_one_named_else_null() -> None:
    carried = replace(INVOCATION, entity={"identifier": "api", "title": "API"})
    nameless = replace(INVOCATION, entity_id=None)
    assert carried.view.value["entity"] == {"identifier": "api", "title": "API"}
    assert INVOCATION.view.value["entity"] == {"identifier": "api"}
    assert nameless.view.value["entity"] is None


def test_an_extended_view_leaves_the_first_one_alone() -> None:
    view = View({"a": 1, "b": 2})
    assert view.extended(b=3, c=[4]).text == '{"a":1,"b":3,"c":[4]}'
    assert view.text == '{"a":1,"b":2}'


def test_all_views_of_one_message_share_what_their_expressions_cost() -> None:
    invocation = replace(INVOCATION, effort=Effort())
    opened = replace(invocation, inputs={}, document={})
    invocation.view.extended(a=1).effort.spent_s += 0.5
    assert (invocation.view.effort.spent_s, opened.view.effort.spent_s) == (0.5, 0.5)
    assert View({}).effort.spent_s == INVOCATION.effort.spent_s == 0.0


def test_the_view_is_made_once() -> None:
    assert INVOCATION.view is INVOCATION.view
    assert INVOCATION.view.text is INVOCATION.view.text


def test_opened_inputs_make_a_new_invocation_with_a_view_of_its_own() -> None:
    assert INVOCATION.view.value["inputs"] == {"hard": True}
    opened = replace(INVOCATION, inputs={"hard": False}, document={"opened": True})
    assert (opened.view.value["inputs"], opened.view.value["message"]) == ({"hard": False}, {"opened": True})
    assert INVOCATION.inputs == {"hard": True}


def test_only_the_agents_flag_makes_a_message_one_for_agents() -> None:
    assert INVOCATION.for_agents
    assert not replace(INVOCATION, method=InvocationMethod("WEBHOOK")).for_agents


def test_nothing_that_a_user_typed_is_in_the_repr() -> None:
    secret = "hunter2"
    method = InvocationMethod("WEBHOOK", url=f"http://x/?token={secret}", raw={"headers": {"A": secret}})
    invocation = replace(INVOCATION, entity={"a": secret}, inputs={"a": secret}, document=[secret], method=method)
    assert secret not in f"{invocation!r} {invocation.view!r}"
    assert "r_1" in repr(invocation)


def test_an_invocation_is_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        INVOCATION.action = "other"  # type: ignore[misc]  # what must not work
