"""A flood of one action, or of runs for one dead target, makes the runs of other actions wait but little."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.broker.waiting import wait_until
from tests.faults.at_work import all_ended, at_work, check_nothing_was_a_defect, summary
from tests.whole.one_agent import OneAgent

FLOOD = 10_000
OTHERS = [f"other_{n}" for n in range(5)]

ROUTES = """
- name: flood
  match: {action: flood}
  python: {callable: "whole_actions:nothing"}
- name: others
  match: {action: ["other_*"]}
  python: {callable: "whole_actions:nothing"}
"""


def _started(agent: OneAgent) -> list[tuple[str, str]]:
    """Action and run id of each run that has begun, in their order."""
    return [(line["action"], line["run_id"]) for line in agent.lines("run started")]


def _count_started(agent: OneAgent) -> int:
    """The same, without reading all of it."""
    return agent.output().count('"event":"run started"')


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


@pytest.mark.timeout(300)
def test_ten_thousand_runs_of_one_action_delay_others_by_far_less_than_they_take(tmp_path: Path) -> None:
    """Counted in runs that began before, not in seconds. Half of the others lie behind it, half come into it."""
    flood: list[str] = []
    behind: list[str] = []

    def backlog(agent: OneAgent) -> None:
        flood.extend(agent.invoke("flood") for _ in range(FLOOD))
        behind.extend(agent.invoke(action) for action in OTHERS * 4)

    settings = {"LOG_LEVEL": "INFO"}
    with at_work(tmp_path, ROUTES, settings, backlog=backlog) as agent:
        wait_until(lambda: _count_started(agent) > FLOOD // 4, timeout_s=120, what="a quarter to begin")
        late, begun_before = [], []
        for action in OTHERS * 4:
            begun_before.append(_count_started(agent))
            late.append(agent.invoke(action))
            all_ended(agent, late)
        all_ended(agent, behind, timeout_s=120)
        ended = all_ended(agent, flood, timeout_s=200)
        place = {run_id: n for n, (_, run_id) in enumerate(_started(agent))}
        check_nothing_was_a_defect(agent, agent.world)
    places = [place[run_id] for run_id in behind]
    waits = [place[run_id] - before for run_id, before in zip(late, begun_before, strict=True)]
    assert {run.status for run in ended} == {"SUCCESS"}
    assert _p95(places) < FLOOD / 2, places
    assert _p95(waits) < FLOOD / 10, waits


@contextmanager
def _dead_target() -> Iterator[socket.socket]:
    """Takes connections, as far as the kernel does that alone, and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=512)) as listener:
        listener.setblocking(False)
        yield listener


def _connections(listener: socket.socket) -> int:
    """How many were made so far."""
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


DEAD_ROUTES = """
- name: dead
  match: {action: dead}
  http: {url: "http://127.0.0.1:{{ .inputs.port }}/never", timeout: 2s}
- name: healthy
  match: {action: healthy}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/healthy"}
"""


def test_a_dead_target_takes_the_slots_for_a_moment_and_then_no_more(tmp_path: Path) -> None:
    """200 runs of 2 s each would hold 8 slots for 50 s."""
    with _dead_target() as listener, at_work(tmp_path, DEAD_ROUTES, {"AGENT_MAX_CONCURRENT_RUNS": "8"}) as agent:
        port = listener.getsockname()[1]
        dead = [agent.invoke("dead", {"port": port}) for _ in range(200)]
        healthy = [agent.invoke("healthy") for _ in range(50)]
        produced_s = datetime.now().astimezone().timestamp()
        assert {run.status for run in all_ended(agent, healthy)} == {"SUCCESS"}
        ends = [summary(run) for run in all_ended(agent, dead) if run.status == "FAILURE"]
        assert agent.metric("agent_http_targets_open") == 1
        assert agent.metric("agent_http_targets_given_up_total") == 1
        begun = {line["run_id"]: datetime.fromisoformat(line["timestamp"]) for line in agent.lines("run started")}
        (told,) = agent.lines("http target does not answer")
        check_nothing_was_a_defect(agent, agent.world)
        asked = _connections(listener)
    assert len(ends) == len(dead)
    refused = [text for text in ends if "requests in a row since" in text]
    assert all("did not answer in time" in text for text in ends)
    assert (told["target"], told["requests_in_a_row"]) == (f"127.0.0.1:{port}", 10)
    # Two turns of the slots until there were ten failures, and a probe or two.
    assert asked <= 3 * 8
    assert len(refused) >= len(dead) - asked
    assert _p95([begun[run_id].timestamp() - produced_s for run_id in healthy]) < 50 / 4
