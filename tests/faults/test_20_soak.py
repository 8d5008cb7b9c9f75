"""An agent under mixed runs without end does not grow: memory, open files, threads, files on disk.

It takes SOAK_SECONDS (40 by default), and a little more where the machine is slow; ``make soak SECONDS=3600`` runs
it for an hour and shows each reading. Readings are taken while nothing is in flight, after equal numbers of runs;
the first few, while pools and caches fill, are for comparison.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from agent.domain.json import JsonObject
from tests.faults.at_work import all_ended, at_work, check_nothing_was_a_defect, pid_of
from tests.whole.one_agent import OneAgent

T = TypeVar("T")

SOAK_S = float(os.environ.get("SOAK_SECONDS") or 40)
pytestmark = pytest.mark.timeout(240 + 2 * SOAK_S)

ROUTES = """\
- name: process
  match: {action: "process_*"}
  key: "{{ .inputs.key }}"
  process:
    command: [sh, -c, 'cat >there; echo "began with $KEY"; echo "link=https://made.example/$KEY" >>"$AGENT_OUTPUT"']
    env: {KEY: "{{ .inputs.key }}"}
  entities: [{blueprint: service, identifier: "{{ .inputs.key }}"}]
- name: failing
  match: {action: "failing_*"}
  process: {command: [sh, -c, "sleep 5 & echo no >&2; exit 3"]}
- name: late
  match: {action: "late_*"}
  process: {command: [sleep, "60"], timeout: 200ms, kill_grace: 100ms}
- name: http
  match: {action: "http_*"}
  key: "{{ .inputs.key }}"
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/soak/{{ .inputs.key }}", body: "{{ .inputs }}"}
  report: {summary: "for {{ .inputs.key }}: {{ .response.json.number }}"}
- name: refused
  match: {action: "refused_*"}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/status/422", retry: 0}
- name: coroutine
  match: {action: "coroutine_*"}
  key: "{{ .inputs.key }}"
  python: {callable: "whole_actions:coroutine"}
- name: function
  match: {action: "function_*"}
  python: {callable: "whole_actions:function"}
- name: chatty
  match: {action: "chatty_*"}
  python: {callable: "whole_actions:chatty_in_thread"}
- name: raising
  match: {action: "raising_*"}
  python: {callable: "whole_actions:raising"}
"""
KINDS = ("process", "failing", "late", "http", "refused", "coroutine", "function", "chatty", "raising")
EACH = 12
"""So many runs of each kind make a round."""

WARM_ROUNDS = 4
"""In these each pool has been full, and each bounded memory of the last runs."""

LAST_ROUNDS = 3
"""A leak shows in each of the last ones; what grows and shrinks again is none."""

MOST_GROWTH = {
    "rss_kib": 16 * 1024,  # a short soak finds a leak of 25 KiB a run, one of an hour one of some hundred bytes
    "open_files": 4,
    "sockets": 64,  # the pool for Port keeps as many connections as were in use at once, and no more than that
    "threads": 8,  # the pool that starts processes
    "children": 0,
    "files": 2,  # the journal's own, which come and go
}


@dataclass(frozen=True)
class Reading:
    """What the idle agent holds, after so many rounds."""

    rounds: int
    rss_kib: int
    open_files: int
    sockets: int
    threads: int
    children: int
    files: int

    @classmethod
    def of(cls, agent: OneAgent, rounds: int) -> Reading:
        proc = Path(f"/proc/{pid_of(agent)}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        opened = list(_each((proc / "fd").iterdir(), lambda descriptor: descriptor.readlink().name))
        sockets = sum(name.startswith("socket:") for name in opened)
        return cls(
            rounds,
            rss_kib=int(status["VmRSS"].split()[0]),
            open_files=len(opened) - sockets,
            sockets=sockets,
            threads=int(status["Threads"]),
            children=sum(_each(proc.glob("task/*/children"), lambda children: len(children.read_text().split()))),
            files=len(list((agent.home / "state").rglob("*"))),
        )


def _each(paths: Iterable[Path], read: Callable[[Path], T]) -> Iterator[T]:
    """What is read of each that is there still when its turn comes."""
    for path in paths:
        with suppress(OSError):
            yield read(path)


def played(agent: OneAgent, number: int) -> Reading:
    """One round of runs to their ends; no action, key or input of it was there before."""
    inputs = [f"{number}-{n}" for n in range(EACH)]
    run_ids = [agent.invoke(f"{kind}_{key}", _inputs(key)) for key in inputs for kind in KINDS]
    for run in all_ended(agent, run_ids, timeout_s=120):
        assert len(run.terminal_statuses) == 1, run
    agent.wait_committed()
    for gauge in ("agent_runs_in_flight", "agent_runs_waiting", "agent_journal_pending_reports"):
        agent.wait_metric(gauge, 0)
    return Reading.of(agent, number)


def _inputs(key: str) -> JsonObject:
    return {"key": f"key-{key}", "text": f"{key} " * 300}


def rounds_of(agent: OneAgent) -> Iterator[Reading]:
    """Readings, as long as the soak lasts."""
    end_s = time.monotonic() + SOAK_S
    number = 0
    while number < WARM_ROUNDS + LAST_ROUNDS or time.monotonic() < end_s:
        number += 1
        reading = played(agent, number)
        print(reading, flush=True)  # noqa: T201 - pytest shows it for failed tests, and `make soak` always
        yield reading


def test_an_agent_under_mixed_runs_without_end_does_not_grow(tmp_path: Path) -> None:
    settings = {"LOG_LEVEL": "INFO", "AGENT_MAX_CONCURRENT_RUNS": "20"}
    with at_work(tmp_path, ROUTES, settings) as agent:
        readings = list(rounds_of(agent))
        check_nothing_was_a_defect(agent, agent.world)
    for name, most in MOST_GROWTH.items():
        before = max(getattr(reading, name) for reading in readings[:WARM_ROUNDS])
        after = min(getattr(reading, name) for reading in readings[-LAST_ROUNDS:])
        assert after - before <= most, f"{name} grew from {before} to {after} in {len(readings)} rounds"
