"""Clocks that are wrong: the agent's is five minutes away from Port's, or jumps, or is in another time zone.

The agent's durations are monotonic; the time of day is read where another machine's word or a person is concerned,
and in no other place. What the headers of an answer mean is proven in `tests.domain.test_retry`.
"""

from __future__ import annotations

import ast
import asyncio
import random
import time
from collections.abc import Iterator
from datetime import datetime
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path

import pytest

import agent
from agent.domain.outcome import Failed, FailureKind, Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.ports import RunContext
from agent.sandbox import messages
from agent.sandbox.messages import Click
from agent.sandbox.port_api import Fault
from tests.dispatch.fakes import House, Work
from tests.faults.at_work import at_work, check_nothing_was_a_defect
from tests.whole.one_agent import OneAgent

# ── who reads the time of day ────────────────────────────────────────────────────────────────────────

_SANDBOX = "plays Port, which dates and signs what it sends"
READ_THE_MACHINES_CLOCK = {
    "clock.py": "is the clock that all others are given",
    "observability/logs.py": "dates log lines, in UTC",
    "testing/fake_services.py": "is the clock of the fakes",
    "sandbox/faults.py": _SANDBOX,
    "sandbox/ledger.py": _SANDBOX,
    "sandbox/messages.py": _SANDBOX,
    "sandbox/port_api.py": _SANDBOX,
}
ASK_THEIR_CLOCK_FOR_IT = {
    "commands/doctor.py": "tells how far it is from Port's",
    "intake/signature.py": "the age of a signature is by the clock of whoever signed",
    "runs_api/exchange.py": "stands in for Port's clock where an answer does not tell it",
    "executors/http.py": "dates a signature, and stands in for a target's clock where its answer does not tell it",
    "executors/http_targets.py": "tells people when a target will be tried again",
    "kafka/consumer_thread.py": "a metric",
    "polling/doubts.py": "whether the claim of an earlier life of the agent has ended",
    "polling/source.py": "when a claim ends, for a later life of the agent",
    "observability/gauges.py": "metrics",
    "observability/quarantine.py": "dates what is kept, in UTC",
    "observability/status_board.py": "dates what people see",
    "observability/tracer.py": "dates the beginning of a trace, which others' spans are in",
}
_READS = {
    *(f"time.{name}" for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime")),
    *(f"{kind}.{name}" for kind in ("datetime", "date") for name in ("now", "utcnow", "today")),
    "processors.TimeStamper",
}


def _sources() -> Iterator[tuple[str, ast.Module]]:
    root = Path(agent.__file__).parent
    for file in sorted(root.rglob("*.py")):
        yield file.relative_to(root).as_posix(), ast.parse(file.read_text("utf-8"))


def _attributes(module: ast.Module) -> set[str]:
    """``owner.name`` for each attribute, by the last name of its owner."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute):
            owner = node.value
            of = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            found.add(f"{of}.{node.attr}")
    return found


def test_the_machines_time_of_day_is_read_in_places_that_have_a_reason_and_nowhere_else() -> None:
    reading = {file for file, module in _sources() if _READS & _attributes(module)}
    assert reading == set(READ_THE_MACHINES_CLOCK)


def test_nobody_takes_a_reading_of_the_time_of_day_under_another_name() -> None:
    imported = {
        f"{node.module}.{alias.name}"
        for _, module in _sources()
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    aliased = {
        alias.name
        for _, module in _sources()
        for node in ast.walk(module)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.asname is not None
    }
    assert not imported & _READS
    assert not aliased & {"time", "datetime", "date"}


def test_a_clock_is_asked_for_the_time_of_day_in_places_that_have_a_reason_and_nowhere_else() -> None:
    asking = {
        file
        for file, module in _sources()
        if not file.startswith("delivery/")  # an epoch there is one of a partition, and no time
        and any(name.endswith(".epoch") for name in _attributes(module))
    }
    assert asking == set(ASK_THEIR_CLOCK_FOR_IT)


# ── a clock that jumps ───────────────────────────────────────────────────────────────────────────────


class JumpingClock:
    """The time of day is another one at each look, hours away; `monotonic` goes on as it should."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def monotonic(self) -> float:
        return time.monotonic()

    def epoch(self) -> float:
        return time.time() + self._chance.uniform(-86_400, 86_400)


def test_a_time_of_day_that_jumps_neither_ends_a_run_early_nor_late(tmp_path: Path, chance: random.Random) -> None:
    async def work(run: RunContext) -> Outcome:
        assert run.invocation.action is not None
        if run.invocation.action.startswith("endless"):
            await asyncio.Event().wait()
        await asyncio.sleep(0.3)
        return Succeeded("done")

    async def go() -> House:
        executor = Work(work)
        routes = [
            (Route("endless", Match(actions=("endless",)), "work", timeout_s=0.3), executor),
            (Route("short", Match(), "work", timeout_s=600), executor),
        ]
        house = House(routes, tmp_path, clock=JumpingClock(chance))
        for name in ("endless-1", "short-1", "short-2"):
            house.source.put(name)
        began_s = time.monotonic()
        await house.settle(3)
        assert time.monotonic() - began_s >= 0.3
        return house

    house = asyncio.run(go())
    outcomes = {run_id: report.outcome for run_id, report in house.reporter.reports.items()}
    timed_out = outcomes.pop("r_endless-1")
    assert isinstance(timed_out, Failed)
    assert timed_out.kind is FailureKind.TIMED_OUT
    assert outcomes == {"r_short-1": Succeeded("done"), "r_short-2": Succeeded("done")}


# ── another clock than Port's, in another time zone ──────────────────────────────────────────────────

ROUTES = """\
- name: work
  match: {action: work}
  env: [TARGET]
  http: {url: "{{ env.TARGET }}/clocks/{{ .run.id }}"}
"""
RUNS = "/v1/actions/runs/*"
WAIT_S = 3
MAX_AGE_S = 600

by_clocks = pytest.mark.parametrize(
    ("ahead_s", "zone"),
    [
        pytest.param(300, "AAA-14", id="five minutes ahead, fourteen hours east"),
        pytest.param(-300, "BBB10CCC,J1/0,J365/23", id="five minutes behind, in summer time all year"),
    ],
)
"""Where Port's clock is beside the agent's, and the agent's time zone."""


def _signed(agent: OneAgent, signed_at_s: float) -> str:
    world = agent.world
    run_id = world.begin_run("work")
    click = Click(run_id, "work", {}, "service", org_id=agent.org)
    agent.deliver_signed(messages.webhook(click, world.target.url), timestamp=int(signed_at_s))
    return run_id


@by_clocks
def test_with_a_clock_away_from_ports_waits_are_as_long_as_port_asks_and_signatures_hold(
    tmp_path: Path, ahead_s: int, zone: str
) -> None:
    began_s = time.time()
    with at_work(tmp_path, ROUTES, {"TZ": zone, "AGENT_SIGNATURE_MAX_AGE_S": str(MAX_AGE_S)}) as agent:
        world = agent.world
        at_s = int(time.time()) + ahead_s
        date = {"Date": formatdate(at_s, usegmt=True)}
        reset = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(at_s + WAIT_S)}
        retry_after = {"Retry-After": formatdate(at_s + WAIT_S, usegmt=True)}
        world.loop.call(world.port.credentials.expire_tokens)
        world.misbehave(
            Fault(RUNS, status=401),  # the token was good until now
            Fault("*/access_token", status=429, headers=date | retry_after),
            Fault(RUNS, status=429, headers=date | reset),
            Fault(RUNS, status=503, headers=date | retry_after),
        )
        tokens_before = len(world.ledger.requests_to("*/access_token"))
        run = world.ended(_signed(agent, time.time() + ahead_s), timeout_s=60)
        assert run.terminal_statuses == ["SUCCESS"]
        tried = [request.at_s for request in world.requests_of(run.id) if request.status != 401][:3]
        asked = [request.at_s for request in world.ledger.requests_to("*/access_token")[tokens_before:]]
        assert (len(tried), len(asked)) == (3, 2)
        waits = [later - earlier for times in (tried, asked) for earlier, later in pairwise(times)]
        assert all(WAIT_S - 0.5 <= wait < 60 for wait in waits), waits

        for signed_at_s, at_home in ((-MAX_AGE_S - 60, "ago"), (MAX_AGE_S, "in the future")):
            refused = _signed(agent, time.time() + signed_at_s)
            line = agent.wait_line("message rejected", run_id=refused)
            assert (line["reason"], at_home in line["detail"]) == ("too_old", True)
        check_nothing_was_a_defect(agent, world)
    told = [datetime.fromisoformat(line["timestamp"]) for line in agent.lines()]
    assert {str(at.tzinfo) for at in told} == {"UTC"}
    assert all(began_s - 1 <= at.timestamp() <= time.time() + 1 for at in told)
