"""The verdict itself: it lets a good play pass, and every broken promise is seen and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agent.delivery.offset_map import Mark, OffsetMap
from tests.broker.worklog import Execution
from tests.chaos.diary import Harm
from tests.chaos.evidence import Evidence, Offsets, PortRun
from tests.chaos.order import Order
from tests.chaos.stall_watch import STALLED
from tests.chaos.table import table
from tests.chaos.torments import ENDED, KILLED, STOPPED
from tests.chaos.verdict import known_limits, troubles

BEGAN_S = 1_000_000.0
EMPTY_MAP = OffsetMap(4).encode()


def run(run_id: str, *, said: str = "", **other: Any) -> PortRun:
    facts: Mapping[str, Any] = {"created_s": BEGAN_S, "ended_s": BEGAN_S + 5, "statuses": ("SUCCESS",)}
    return PortRun(**{"run_id": run_id, "refused": (), "said": said, **facts, **other})


def execution(run_id: str, began: float, ended: float | None, attempt: int = 1) -> Execution:
    ended_s = None if ended is None else BEGAN_S + ended
    return Execution(run_id, attempt, "agent-1", BEGAN_S + began, ended_s)


def request(run_id: str) -> Mapping[str, Any]:
    path, body = f"/v1/actions/runs/{run_id}", {"status": "SUCCESS", "link": "x"}
    answer = {"status": 503, "applied": False}
    return {"run_id": run_id, "at_s": BEGAN_S + 2.2, "method": "PATCH", "path": path, "body": body, **answer}


def good() -> Evidence:
    """Two runs of one key, one that was interrupted, and one that was repeated."""
    orders = [
        Order("r_1", "kafka_v1", "process", "fail", 1.0, "key-0", 0, 0),
        Order("r_2", "kafka_v1", "process", "fail", 1.0, "key-0", 0, 1),
        Order("r_3", "webhook", "http", "fail", 1.0, None, 0, 2),
        Order("wfnr_4", "node_run", "http", "rerun", 1.0, None, 0, 3),
    ]
    interrupted = run("r_3", said="interrupted while running on host", statuses=("FAILURE",))
    executions = {
        "r_1": [execution("r_1", 1, 2)],
        "r_2": [execution("r_2", 2, 3)],
        "r_3": [execution("r_3", 1, None)],
        "wfnr_4": [execution("wfnr_4", 1, None), execution("wfnr_4", 3, 4, attempt=2)],
    }
    return Evidence(
        began_s=BEGAN_S,
        settled_after_s=1.0,
        orders={order.run_id: order for order in orders},
        executions=executions,
        runs={one.run_id: one for one in (run("r_1"), run("r_2"), interrupted, run("wfnr_4"))},
        requests=[],
        harms=[
            Harm("agent-1", KILLED, BEGAN_S + 2.5, BEGAN_S + 2.6),
            Harm("agent-1", STOPPED, BEGAN_S + 8, BEGAN_S + 9, exit_code=0),
        ],
        offsets={0: Offsets(4, EMPTY_MAP, 4)},
        logs={"agent-1": '{"timestamp": "1970-01-12T13:46:41Z", "event": "run started", "run_id": "r_1"}\n'},
        exits={"agent-1": 0},
    )


def with_run(evidence: Evidence, changed: PortRun) -> Evidence:
    return replace(evidence, runs={**evidence.runs, changed.run_id: changed})


def with_executions(evidence: Evidence, *executions: Execution) -> Evidence:
    return replace(evidence, executions={**evidence.executions, executions[0].run_id: executions})


def test_a_play_in_which_every_promise_was_kept_has_no_troubles() -> None:
    assert troubles(good()) == []
    assert known_limits(good()) == []
    assert "troubles: none" in table(good())


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda e: with_run(e, run("r_1", statuses=(), ended_s=None)), "has 0 terminal statuses"),
        (lambda e: with_run(e, run("r_1", statuses=("SUCCESS", "FAILURE"))), "has 2 terminal statuses"),
        (lambda e: with_run(e, run("r_1", statuses=("FAILURE",), said="exit 1")), "nothing in it fails"),
        (lambda e: with_executions(e, execution("r_1", 1, None)), "no execution had come to its end"),
        (lambda e: with_executions(e, execution("r_1", 1, 6)), "no execution had come to its end"),
        (lambda e: with_executions(e, execution("r_1", 1, 2), execution("r_1", 1.1, 2)), "executed 2 times"),
        (lambda e: with_executions(e, *(execution("wfnr_4", n, n + 1, n) for n in range(1, 5))), "executed 4"),
        (lambda e: with_executions(e, execution("r_3", 5.5, None)), "began attempt 1 0.500 s after its end"),
        (lambda e: with_executions(e, execution("r_noise", 1, 2)), "executed, and not ours"),
        (lambda e: replace(e, requests=[request("r_noise")]), "named to Port, and not ours"),
        (lambda e: with_executions(e, execution("r_2", 1.5, 3)), "while r_1, which comes before it"),
        (lambda e: with_executions(e, execution("r_2", 0.5, 0.9)), "while r_1, which comes before it"),
        (lambda e: replace(e, settled_after_s=None), "not everything was settled"),
        (lambda e: replace(e, offsets={0: Offsets(3, OffsetMap(3).encode(), 4)}), "committed 3, its end is 4"),
        (lambda e: replace(e, offsets={0: Offsets(4, "", 4)}), "the offset map is not empty"),
        (
            lambda e: replace(e, offsets={0: Offsets(4, OffsetMap(4, bytes([Mark.STARTED])).encode(), 4)}),
            "the offset map is not empty",
        ),
        (lambda e: replace(e, harms=[Harm("group", STALLED, BEGAN_S, BEGAN_S + 31)]), "group stood still"),
        (lambda e: replace(e, exits={"agent-1": 1}), "agent-1 ended with 1"),
        (lambda e: replace(e, harms=[Harm("agent-1", ENDED, BEGAN_S, BEGAN_S, 1)]), "ended by itself with 1"),
        (lambda e: replace(e, harms=[Harm("agent-1", STOPPED, BEGAN_S, BEGAN_S + 9, 1)]), "ended with 1"),
        (
            lambda e: replace(e, harms=[Harm("agent-1", f"{STOPPED}, not obeyed", BEGAN_S, BEGAN_S + 25)]),
            "ended with None after 25.0 s",
        ),
        (lambda e: replace(e, logs={"agent-1": '{"exception": "Traceback (most'}), "logged 1 defects"),
    ],
)
def test_a_broken_promise_is_seen(broken: Callable[[Evidence], Evidence], told: str) -> None:
    found = troubles(broken(good()))
    assert any(told in trouble.what for trouble in found), found
    assert told in table(broken(good()))


def test_a_key_goes_on_once_the_agent_of_its_run_is_killed() -> None:
    killed = with_executions(with_executions(good(), execution("r_1", 1, None)), execution("r_2", 4, 4.5))
    interrupted = run("r_1", statuses=("FAILURE",), said="interrupted while running on host")
    assert troubles(with_run(killed, interrupted)) == []


def test_what_the_documents_say_is_shown_as_a_limit_and_is_no_trouble() -> None:
    evidence = with_executions(good(), execution("r_3", 1, 2))
    evidence = with_run(evidence, replace(evidence.runs["r_3"], refused=("SUCCESS",)))
    again = execution("wfnr_4", 5.5, 6, attempt=2)
    evidence = with_executions(evidence, execution("wfnr_4", 1, 2), again)
    evidence = replace(evidence, orders={**evidence.orders, "r_1": replace(evidence.orders["r_1"], policy="rerun")})
    evidence = with_executions(evidence, execution("r_1", 1, 2), execution("r_1", 5.5, 6, attempt=2))
    asked = {**request("r_1"), "method": "GET", "status": 200, "at_s": BEGAN_S + 4.9}
    assert [trouble.run_id for trouble in troubles(evidence)] == ["r_1"]
    evidence = replace(evidence, requests=[asked])
    assert troubles(evidence) == []
    told = " / ".join(limit.what for limit in known_limits(evidence))
    assert "although its work had come to its end" in told
    assert "attempt 2 began after its end" in told
    assert "ended in Port meanwhile: attempt 2, 0.500 s late" in told
    assert "FAILURE in Port, which then refused SUCCESS" in told


def test_the_story_of_a_run_in_trouble_tells_what_was_done_and_said() -> None:
    evidence = with_run(good(), run("r_1", statuses=(), ended_s=None))
    told = table(replace(evidence, requests=[request("r_1")]))
    for part in (
        "partition 0 offset 0; committed 4 with a map of 0 marks, which says DONE",
        "1.000 s  agent-1 began attempt 1",
        "2.000 s  attempt 1 by agent-1 came to its end",
        '2.200 s  PATCH /v1/actions/runs/r_1 {"status": "SUCCESS"} → 503, not applied',
        'agent-1 logged {"event": "run started"}',
    ):
        assert part in told, told
