"""The verdict itself: it lets a good play pass, and every broken promise is seen and told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agent.delivery.offset_map import Mark, OffsetMap
from tests.broker.worklog import Execution
from tests.chaos.diary import Harm
from tests.chaos.evidence import STOPPED as STOPPED_IN_PROGRESS
from tests.chaos.evidence import Evidence, Offsets, PortRun
from tests.chaos.order import Order
from tests.chaos.stall_watch import STALLED
from tests.chaos.table import table
from tests.chaos.torments import ENDED, FROZEN_LONG, FROZEN_SHORT, KILLED, NOT_OBEYED, STOPPED
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
    answer = {"status": 503, "applied": False, "query": {}}
    return {"run_id": run_id, "at_s": BEGAN_S + 2.2, "method": "PATCH", "path": path, "body": body, **answer}


def asked(run_id: str, at: float) -> Mapping[str, Any]:
    """Port was asked how far a workflow's node is."""
    query = {"external_run_id": run_id}
    return {**request(run_id), "run_id": None, "method": "GET", "query": query, "status": 200, "at_s": BEGAN_S + at}


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
        offsets={"runs[0]": Offsets(4, EMPTY_MAP, 4)},
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
        (
            lambda e: replace(e, offsets={"runs[0]": Offsets(3, OffsetMap(3).encode(), 4)}),
            "committed 3, its end is 4",
        ),
        (lambda e: replace(e, offsets={"runs[0]": Offsets(4, "", 4)}), "the offset map is not empty"),
        (
            lambda e: replace(e, offsets={"runs[0]": Offsets(4, OffsetMap(4, bytes([Mark.STARTED])).encode(), 4)}),
            "the offset map is not empty",
        ),
        (lambda e: replace(e, harms=[Harm("group", STALLED, BEGAN_S, BEGAN_S + 31)]), "group stood still"),
        (lambda e: replace(e, exits={"agent-1": 1}), "agent-1 ended with 1"),
        (lambda e: replace(e, harms=[Harm("agent-1", ENDED, BEGAN_S, BEGAN_S, 1)]), "ended by itself with 1"),
        (lambda e: replace(e, harms=[Harm("agent-1", STOPPED, BEGAN_S, BEGAN_S + 9, 1)]), "ended with 1"),
        (
            lambda e: replace(
                e, harms=[Harm("agent-1", NOT_OBEYED, BEGAN_S, BEGAN_S + 25, last_words="in select")]
            ),
            "ended with None after 25.0 s when it was stopped, 0.0 s after the begin; it wrote:\nin select",
        ),
        *(
            (lambda e, said=said: replace(e, logs={"agent-1": f"{{}}\n{said}\n"}), "logged 1 defects")
            for said in (
                '{"exception":"Traceback (most recent call last)"}',
                '{"event":"a defect of the agent: this outcome is left over for the next start"}',
                '{"event":"source failing","code":"ledger","detail":"settled twice"}',
                '{"event": "source failing", "code": "ledger"}',
            )
        ),
    ],
)
def test_a_broken_promise_is_seen(broken: Callable[[Evidence], Evidence], told: str) -> None:
    found = troubles(broken(good()))
    assert any(told in trouble.what for trouble in found), found
    assert told in table(broken(good()))


def test_a_repetition_that_was_stopped_is_not_taken_for_an_interruption() -> None:
    said = f"attempt 2 of 3: the one before was interrupted while running on host\n{STOPPED_IN_PROGRESS}"
    evidence = with_run(good(), run("wfnr_4", statuses=("FAILED",), said=said))
    told = harmed(harm("agent-1", KILLED, 2, 2))(
        with_executions(evidence, execution("wfnr_4", 3.5, None, attempt=2))
    )
    assert [trouble.what for trouble in troubles(told)] == [
        "told to have been stopped, and no agent that had it was"
    ]


def test_a_partition_in_which_there_never_was_anything_has_nothing_to_commit() -> None:
    assert troubles(replace(good(), offsets={**good().offsets, "change.log[0]": Offsets(None, "", 0)})) == []
    assert troubles(replace(good(), offsets={"runs[0]": Offsets(None, "", 4)}))


def test_a_key_goes_on_once_the_agent_of_its_run_is_killed() -> None:
    killed = with_executions(with_executions(good(), execution("r_1", 1, None)), execution("r_2", 4, 4.5))
    interrupted = run("r_1", statuses=("FAILURE",), said="interrupted while running on host")
    assert troubles(with_run(killed, interrupted)) == []


def test_what_the_documents_say_is_shown_as_a_limit_and_is_no_trouble() -> None:
    evidence = with_executions(good(), execution("r_3", 1, 2))
    evidence = with_run(evidence, replace(evidence.runs["r_3"], refused=("SUCCESS",)))
    evidence = with_executions(evidence, execution("wfnr_4", 1, 2), execution("wfnr_4", 5.5, 6, attempt=2))
    assert [trouble.run_id for trouble in troubles(evidence)] == ["wfnr_4"]
    evidence = replace(evidence, requests=[asked("wfnr_4", 4.9)])
    assert troubles(evidence) == []
    told = " / ".join(limit.what for limit in known_limits(evidence))
    assert "although its work had come to its end" in told
    assert "a run repeated after its work had come to its end" in told
    assert "ended in Port meanwhile: attempt 2, 0.500 s late" in told
    assert "FAILURE in Port, which then refused SUCCESS" in told


def test_port_has_to_be_asked_a_moment_before_a_repetition() -> None:
    repeated = with_executions(good(), execution("wfnr_4", 1, 4.5), execution("wfnr_4", 6.9, 8, attempt=2))
    assert troubles(replace(repeated, requests=[asked("wfnr_4", 4.95)])) == []
    long_ago = replace(repeated, requests=[asked("wfnr_4", 4.85)])
    assert [trouble.what for trouble in troubles(long_ago)] == [
        "agent-1 began attempt 2 1.900 s after its end in Port"
    ]


Changed = Callable[[Evidence], Evidence]


def harmed(*harms: Harm) -> Changed:
    return lambda evidence: replace(evidence, harms=harms)


def harm(whom: str, what: str, began: float, ended: float) -> Harm:
    return Harm(whom, what, BEGAN_S + began, BEGAN_S + ended, exit_code=0 if what == STOPPED else None)


def interrupted(evidence: Evidence) -> Evidence:
    """The run's work had come to its end two seconds before its agent is killed, and Port is told of no end."""
    return with_executions(evidence, execution("r_3", 0.2, 0.5))


def contradicted(evidence: Evidence) -> Evidence:
    return with_run(evidence, replace(evidence.runs["r_1"], refused=("FAILURE",)))


def stopped(evidence: Evidence) -> Evidence:
    return with_run(evidence, run("r_3", statuses=("FAILURE",), said=STOPPED_IN_PROGRESS))


def told_by_another(evidence: Evidence) -> Evidence:
    return with_run(evidence, run("r_1", said="succeeded on host, which could not tell Port; its links …"))


def unnoted(evidence: Evidence) -> Evidence:
    """Nobody has noted the first attempt."""
    return with_executions(evidence, execution("wfnr_4", 3, 4, attempt=2))


def begun_by(agent: str) -> Changed:
    """Nobody has noted the first attempt, and an agent has logged it; so has the one that began the second."""

    def line(at: str) -> str:
        return json.dumps({"timestamp": f"1970-01-12T{at}Z", "event": "run started", "run_id": "wfnr_4"}) + "\n"

    first, second = line("13:46:41"), line("13:46:42.990")
    logs = {"agent-1": first + second} if agent == "agent-1" else {agent: first, "agent-1": second}
    return lambda evidence: replace(unnoted(evidence), logs=logs)


def event(*executions: Execution) -> Changed:
    ordered = Order("e_5", "change_event", "http", "rerun", 1.0, None, 0, 0)

    def change(evidence: Evidence) -> Evidence:
        evidence = replace(evidence, orders={**evidence.orders, "e_5": ordered})
        return replace(evidence, executions={**evidence.executions, "e_5": executions})

    return change


REPEATED_EVENT = event(execution("e_5", 1, None), execution("e_5", 3, 4, attempt=2))
_NOT_LONG = harm("agent-1", FROZEN_SHORT, 2, 2.5)
_ANOTHER = harm("agent-2", KILLED, 2, 2.5)
_PORT = harm("port", "503", 1, 5)
_TOO_EARLY = harm("agent-1", KILLED, -5, -2)
_TOO_LATE = harm("agent-1", KILLED, 7, 8)
_WITHIN_ITS_DRAIN = harm("agent-1", STOPPED, 1.5, 3)


@pytest.mark.parametrize(
    ("changed", "harms", "told"),
    [
        *(
            (changed, harms, told)
            for changed, told in (
                (lambda e: e, "wfnr_4: agent-1 began attempt 2, and nothing happened to agent-1"),
                (lambda e: e, "r_3: told to be interrupted, and agent-1 had it unharmed"),
                (begun_by("agent-1"), "wfnr_4: agent-1 began attempt 2, and nothing happened to agent-1"),
                (begun_by("agent-3"), "wfnr_4: agent-1 began attempt 2, and nothing happened to agent-3"),
                (contradicted, "r_1: SUCCESS in Port, which then refused FAILURE, and no agent that had it"),
                (stopped, "r_3: told to have been stopped, and no agent"),
                (told_by_another, "r_1: told by another agent, and the one that had it was not harmed"),
                (REPEATED_EVENT, "e_5: agent-1 began attempt 2, and nothing happened to agent-1"),
            )
            for harms in ([], [_NOT_LONG], [_ANOTHER], [_PORT], [_TOO_EARLY], [_TOO_LATE])
        ),
        (unnoted, [_NOT_LONG], "wfnr_4: agent-1 began attempt 2 first, and nobody was gone"),
        (
            unnoted,
            [harm("agent-2", KILLED, 3.5, 4)],
            "wfnr_4: agent-1 began attempt 2 first, and nobody was gone",
        ),
        (lambda e: with_executions(e, execution("r_3", 6, 7)), [], "r_3: told to be interrupted, and nobody"),
        (
            interrupted,
            [harm("agent-1", KILLED, 2.5, 3)],
            "r_3: told to be interrupted, and agent-1 had it unharmed",
        ),
        (contradicted, [_WITHIN_ITS_DRAIN], "r_1: SUCCESS in Port, which then refused FAILURE, and no agent"),
        (stopped, [harm("agent-1", KILLED, 2.5, 3)], "r_3: told to have been stopped, and no agent"),
        (event(), [], "e_5: a change event, and it was never executed"),
        (
            lambda e: with_executions(e, execution("r_1", 1, None)),
            [_ANOTHER],
            "r_2: agent-1 began it 'key-0' while r_1",
        ),
    ],
)
def test_what_no_harm_explains_is_trouble(changed: Changed, harms: list[Harm], told: str) -> None:
    found = [f"{trouble.run_id}: {trouble.what}" for trouble in troubles(harmed(*harms)(changed(good())))]
    assert any(one.startswith(told) for one in found), found


@pytest.mark.parametrize(
    ("harms", "explained"),
    [
        ([harm("agent-2", FROZEN_LONG, 0.5, 9), harm("broker", KILLED, 7, 8)], True),
        ([harm("agent-2", FROZEN_LONG, 0.5, 9), harm("broker", KILLED, 8.5, 9)], False),
        ([harm("agent-2", FROZEN_LONG, 4, 12), harm("broker", KILLED, 7, 8)], False),
        ([harm("broker", KILLED, 7, 8)], False),
    ],
)
def test_ends_of_events_are_committed_late_while_a_frozen_member_holds_up_its_group(
    harms: list[Harm], *, explained: bool
) -> None:
    repeated = event(execution("e_5", 1, 2), execution("e_5", 10, 11, attempt=2))
    found = [trouble for trouble in troubles(harmed(*harms)(repeated(good()))) if trouble.run_id == "e_5"]
    assert (not found) is explained, found


@pytest.mark.parametrize(
    "explaining",
    [
        harm("agent-1", KILLED, 2, 2),
        harm("agent-1", FROZEN_LONG, 2, 12),
        harm("agent-1", STOPPED, 2, 8),
        harm("broker", "stop", -8, -2),
        harm("broker", "SIGSTOP", 2, 5),
    ],
)
@pytest.mark.parametrize("changed", [lambda e: e, begun_by("agent-1"), contradicted, REPEATED_EVENT])
def test_harm_that_is_done_in_time_explains_it(changed: Changed, explaining: Harm) -> None:
    evidence = with_executions(good(), execution("r_1", 1, 5.5))
    evidence = with_run(evidence, run("r_1", ended_s=BEGAN_S + 5.6))
    assert troubles(harmed(explaining)(changed(evidence))) == []


def test_harm_explains_why_an_agent_stopped_runs_or_left_their_ends_to_others() -> None:
    assert troubles(harmed(harm("agent-1", STOPPED, 1.5, 6), harm("broker", "stop", 1, 3))(stopped(good()))) == []
    failed = run("r_3", statuses=("FAILURE",), said="failed on host, which could not tell Port why")
    assert troubles(harmed(harm("agent-1", STOPPED, 1.5, 6))(with_run(good(), failed))) == []
    late = harm("agent-1", KILLED, 4.5, 5)
    early = harm("agent-1", KILLED, 1.2, 1.3)
    assert troubles(harmed(early, late)(told_by_another(good()))) == []
    assert troubles(harmed(early)(unnoted(good()))) == []


def test_an_agent_that_froze_between_its_word_and_the_beginning_explains_what_nobody_began() -> None:
    unbegun = replace(good(), executions={**good().executions, "r_3": []})
    told = "told to be interrupted, and nobody had begun it or was gone"
    assert told in {trouble.what for trouble in troubles(harmed()(unbegun))}
    assert told not in {trouble.what for trouble in troubles(harmed(harm("agent-2", FROZEN_LONG, 1, 9))(unbegun))}


def test_the_log_of_a_repetition_does_not_tell_who_had_begun_it_before() -> None:
    evidence = begun_by("agent-1")(good())
    second = evidence.logs["agent-1"].splitlines()[1]
    killed = harm("agent-2", KILLED, 2, 2)
    evidence = replace(evidence, logs={"agent-1": second})
    assert [trouble.run_id for trouble in troubles(harmed(killed)(evidence))] == ["r_3"]


def test_the_story_of_a_run_in_trouble_tells_what_was_done_and_said() -> None:
    evidence = with_run(good(), run("r_1", statuses=(), ended_s=None))
    told = table(replace(evidence, requests=[request("r_1")]))
    for part in (
        "runs[0] offset 0; committed 4 with a map of 0 marks, which says DONE",
        "1.000 s  agent-1 began attempt 1",
        "2.000 s  attempt 1 by agent-1 came to its end",
        '2.200 s  PATCH /v1/actions/runs/r_1 {"status": "SUCCESS"} → 503, not applied',
        'agent-1 logged {"event": "run started"}',
    ):
        assert part in told, told
