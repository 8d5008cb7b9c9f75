"""What becomes of runs that a Python function executes, seen from Port."""

from __future__ import annotations

import pytest

from agent.domain.json import JsonObject
from tests.whole.one_agent import OneAgent, Results
from tests.whole.world import World

ROUTES = """
- {name: py-coroutine, match: {action: py_coroutine}, python: {callable: "whole_actions:coroutine"}}
- {name: py-function, match: {action: py_function}, python: {callable: "whole_actions:function"}}
- {name: py-raising, match: {action: py_raising}, python: {callable: "whole_actions:raising"}}
- name: py-raising-in-thread
  match: {action: py_raising_in_thread}
  python: {callable: "whole_actions:raising_in_thread"}
- {name: py-traceback, match: {action: py_traceback}, traceback: true, python: {callable: "whole_actions:raising"}}
- {name: py-failing, match: {action: py_failing}, python: {callable: "whole_actions:failing"}}
- name: py-refused-entity
  match: {action: py_refused_entity}
  python: {callable: "whole_actions:patching_nothing"}
- {name: py-endless, match: {action: py_endless}, timeout: 500ms, python: {callable: "whole_actions:endless"}}
"""


ORDERS: dict[str, tuple[str, JsonObject]] = {
    "coroutine": ("py_coroutine", {}),
    "function": ("py_function", {}),
    "blue": ("py_raising", {}),
    "green": ("py_raising_in_thread", {}),
    "traceback": ("py_traceback", {}),
    "failing": ("py_failing", {}),
    "refused entity": ("py_refused_entity", {}),
    "endless": ("py_endless", {}),
}


@pytest.fixture(scope="module")
def results(agent: OneAgent) -> Results:
    return agent.invoke_all(ORDERS)


def test_a_coroutine_gets_its_run_typed_and_reports_through_it(world: World, results: Results) -> None:
    run = results("coroutine")
    assert (run.terminal_statuses, run.summary) == (["SUCCESS"], "all done")
    assert run.log_text == f"in MainThread, run {run.id}, action py_coroutine"
    assert (run.status_label, run.external_run_id) == ("half-way", "job-7")
    assert [(e.verb, e.identifier, e.run_id) for e in run.entities] == [
        ("merge", "from-python", run.id),
        ("patch", "from-python", run.id),
    ]
    assert world.ledger.catalogue["service", "from-python"]["properties"] == {"tier": 2}


def test_a_plain_function_runs_in_a_thread(results: Results) -> None:
    run = results("function")
    assert (run.terminal_statuses, run.summary) == (["SUCCESS"], "done in a thread")
    assert run.log_text.startswith("in ")
    assert "MainThread" not in run.log_text
    assert run.links == ["https://sync.example/"]


@pytest.mark.parametrize("cluster", ["blue", "green"])
def test_an_exception_is_a_failure_with_its_message_and_no_traceback(cluster: str, results: Results) -> None:
    """One raised on the event loop, one in a thread."""
    run = results(cluster)
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert f"no such cluster: {cluster}" in run.summary
    assert run.log_text == "about to fail"


def test_a_traceback_is_in_the_log_where_the_route_asks(results: Results) -> None:
    run = results("traceback")
    assert run.terminal_statuses == ["FAILURE"]
    assert "Traceback" in run.log_text
    assert "whole_actions.py" in run.log_text
    assert "Traceback" not in (run.summary or "")


def test_a_function_may_say_that_it_failed(results: Results) -> None:
    run = results("failing")
    assert (run.terminal_statuses, run.summary) == (["FAILURE"], "the quota is used up")


def test_an_entity_that_port_refuses_is_an_error_that_the_function_can_catch(results: Results) -> None:
    run = results("refused entity")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert run.summary.startswith("refused: ")
    assert "nobody-made-it" in run.summary


def test_a_coroutine_that_takes_too_long_is_cancelled(results: Results) -> None:
    run = results("endless")
    assert run.terminal_statuses == ["FAILURE"]
    assert run.summary is not None
    assert "timed out" in run.summary
    assert run.log_text == "began\ncleaned up"
