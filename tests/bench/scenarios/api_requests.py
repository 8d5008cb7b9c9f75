"""What a run costs of Port's rate limit, and whether the last word waits where that is scarce."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from tests.bench.counterpart import Manners
from tests.bench.figures import Figure, Floor, Goal, at_most, quantile
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import ECHO, QUICK, SILENT, routes
from tests.bench.server import Counts
from tests.bench.site import Site

_CHATTY = """\
  - name: chatty
    match: {action: chatty}
    process:
      command:
        - sh
        - -c
        - |
          step=0
          while [ $step -lt "$STEPS" ]; do
            line=0
            while [ $line -lt "$LINES" ]; do
              echo "INFO worker-7 applied change $line of step $step to the service catalogue"
              line=$((line + 1))
            done
            step=$((step + 1))
            sleep 0.5
          done
      env: {STEPS: "%d", LINES: "%d"}
"""
_STEP_S = 0.5
_NEIGHBOURS = 60
_LIMIT_PER_S = 50
_PERIOD_S = 10.0
_EVERY_S = 0.2
_BEHIND_LOGS_MS = 500.0
"""A log sends once a second: whoever waits for his turn among logs waits half of that on average."""


@dataclass(frozen=True, slots=True)
class _Waits:
    """How long statuses took, from the target's answer and from the run's own log; and what came in all."""

    from_work_ms: Sequence[float]
    from_log_ms: Sequence[float]
    counts: Counts


def _requests(lab: Lab) -> Iterator[Figure]:
    yield from _of_short_runs(lab)
    yield from _of_a_long_log(lab)
    yield from _where_requests_are_scarce(lab)


def _of_short_runs(lab: Lab) -> Iterator[Figure]:
    runs, began_s = lab.wanted.of(1000), time.monotonic()
    found: dict[str, list[float]] = {"silent": [], "echo": [], "quick": []}
    with lab.site(routes(SILENT, ECHO, QUICK)) as site:
        agent = site.start_agent()
        tokens = site.port.counts().token
        for action in found:
            site.warm_up(action)
        for _ in range(lab.wanted.rounds):
            for action, per_run in found.items():
                counts = site.agents_pass([agent], action, runs).counts
                per_run.append(counts.api / runs)
                tokens += counts.token
    yield Figure("requests per run: a command without output", "", found["silent"], at_most(1))
    yield Figure("requests per run: a command with short output", "", found["echo"], at_most(2))
    yield Figure("requests per run: a forwarded request", "", found["quick"], at_most(2))
    yield Figure(
        f"token requests in the agent's first {time.monotonic() - began_s:.0f} s", "", [tokens], at_most(2)
    )


def _of_a_long_log(lab: Lab) -> Iterator[Figure]:
    steps = lab.wanted.of(round(60 / _STEP_S))
    lines = 84
    found = []
    with lab.site(routes(QUICK, _CHATTY % (steps, lines)), Manners(keeps_stamps=True)) as site:
        site.start_agent()
        site.warm_up("quick")
        for _ in range(lab.wanted.rounds):
            site.port.reset()
            site.produce(site.workload.records("chatty", 1))
            found.append(float(site.wait_ended(1).api))
    yield Figure(f"requests of a run of {steps * lines:,} lines in {steps * _STEP_S:g} s", "", found, at_most(70))


def _where_requests_are_scarce(lab: Lab) -> Iterator[Figure]:
    alone: list[_Waits] = []
    crowded: list[_Waits] = []
    untold: list[_Waits] = []
    for _ in range(lab.wanted.rounds):
        alone.append(_status_waits(lab, neighbours=0))
        crowded.append(_status_waits(lab, neighbours=_NEIGHBOURS))
        untold.append(_status_waits(lab, neighbours=_NEIGHBOURS, secretive=True))
    beside = f"beside {_NEIGHBOURS} long logs, at most {_LIMIT_PER_S} requests/s"
    yield from _figures_of(beside, alone, crowded, at_most(_BEHIND_LOGS_MS))
    yield from _figures_of(f"{beside} of which Port does not tell", alone, untold, None)


def _figures_of(
    beside: str, alone: Sequence[_Waits], crowded: Sequence[_Waits], p99_goal: Goal | None
) -> Iterator[Figure]:
    for name, share, goal in (("p50", 0.5, None), ("p99", 0.99, p99_goal)):
        floor = Floor("without them", [quantile(one.from_work_ms, share) for one in alone])
        values = [quantile(one.from_work_ms, share) for one in crowded]
        yield Figure(f"end of work → status, {beside}, {name}", "ms", values, goal, floor)
        floor = Floor("without them", [quantile(one.from_log_ms, share) for one in alone])
        values = [quantile(one.from_log_ms, share) for one in crowded]
        yield Figure(f"… of that from the run's own log to its status, {name}", "ms", values, None, floor)
    yield Figure(f"requests that Port refused, {beside}", "", [one.counts.refused for one in crowded])
    yield Figure(f"requests in all, {beside}", "", [one.counts.api for one in crowded])


def _status_waits(lab: Lab, *, neighbours: int, secretive: bool = False) -> _Waits:
    """Of forwarded requests, 5 a second, beside so many commands that print all the time."""
    seconds = lab.wanted.lasting(40)
    steps = round((seconds + 5) / _STEP_S)
    limit = round(_LIMIT_PER_S * _PERIOD_S)
    manners = Manners(keeps_stamps=True, limit=limit, period_s=_PERIOD_S, secretive=secretive)
    with lab.site(routes(QUICK, _CHATTY % (steps, 20)), manners) as site:
        site.start_agent(AGENT_MAX_CONCURRENT_RUNS="200")
        site.warm_up("quick", 20)
        site.port.reset()
        site.produce(site.workload.records("chatty", neighbours))
        runs = _feed(site, round(seconds / _EVERY_S))
        counts = site.wait_ended(len(runs) + neighbours, standstill_s=300)
        stamps = site.port.stamps()
    return _Waits(
        [1000 * (stamps.ended[run_id] - stamps.answered[run_id]) for run_id in runs],
        [1000 * (stamps.ended[run_id] - stamps.logged[run_id]) for run_id in runs],
        counts,
    )


def _feed(site: Site, count: int) -> list[str]:
    """Produces one run after the other; their ids."""
    feed, run_ids = site.feed(site.topic), []
    for run_id, record in chain.from_iterable(site.workload.orders("quick", 1) for _ in range(count)):
        feed.produce(record)
        run_ids.append(run_id)
        time.sleep(_EVERY_S)
    return run_ids


SCENARIOS = (
    Scenario("requests", "requests to Port per run, and statuses beside logs where they are scarce", _requests),
)
