"""How long a run takes that finds nothing to wait for, beside a bare loop that gets as many in between."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.bench.counterpart import Manners
from tests.bench.figures import Figure, Floor, Goal, at_most, quantile
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import QUICK, routes
from tests.bench.site import Bare, Feed, Site

_BARE = Bare("aiohttp, uvloop", "quick", "aiohttp", "uvloop")
_EVERY_S = 0.2
_UNCOUNTED = 5
"""The first of a round find connections that must be made."""


@dataclass(frozen=True, slots=True)
class _Times:
    """Milliseconds from when a record was handed to Kafka, of all runs of a round."""

    called: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)


def _latency(lab: Lab) -> Iterator[Figure]:
    mine: list[_Times] = []
    bare: list[_Times] = []
    runs = _UNCOUNTED + max(5, round(lab.wanted.lasting(40) / _EVERY_S))
    with lab.site(routes(QUICK), Manners(keeps_stamps=True)) as site:
        site.start_agent()
        site.warm_up("quick")
        for _ in range(lab.wanted.rounds):
            for times, found in zip((mine, bare), _round(site, runs), strict=True):
                times.append(found)
    for name, share, most_above in (("p50", 0.5, 5.0), ("p99", 0.99, 15.0)):
        agents = [quantile(times.called, share) for times in mine]
        floors = [quantile(times.called, share) for times in bare]
        yield Figure(f"produce → target called, {name}", "ms", agents, None, Floor(_BARE.name, floors))
        above = [agent - floor for agent, floor in zip(agents, floors, strict=True)]
        yield Figure(f"… above the bare loop, {name}", "ms", above, at_most(most_above))
    goals: dict[float, Goal] = {0.5: at_most(15)}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        agents = [quantile(times.ended, share) for times in mine]
        floors = [quantile(times.ended, share) for times in bare]
        floor = Floor(_BARE.name, floors)
        yield Figure(f"produce → terminal status, {name}", "ms", agents, goals.get(share), floor)


def _round(site: Site, runs: int) -> tuple[_Times, _Times]:
    """The agent and the bare loop get records by turns, each one every `_EVERY_S`."""
    loop = site.start_bare(_BARE, runs)
    site.port.reset()
    feeds = (site.feed(site.topic), site.feed(site.bare_topic))
    produced: tuple[dict[str, float], dict[str, float]] = ({}, {})
    next_s = time.monotonic()
    for _ in range(runs):
        for feed, times in zip(feeds, produced, strict=True):
            next_s += _EVERY_S / len(feeds)
            time.sleep(max(0.0, next_s - time.monotonic()))
            _place(site, feed, times)
    site.wait_ended(2 * runs)
    loop.wait(60)
    stamps = site.port.stamps()
    agents, bare = (_times(times, stamps.called, stamps.ended) for times in produced)
    return agents, bare


def _place(site: Site, feed: Feed, times: dict[str, float]) -> None:
    for run_id, record in site.workload.orders("quick", 1):
        times[run_id] = feed.produce(record)


def _times(produced: Mapping[str, float], called: Mapping[str, float], ended: Mapping[str, float]) -> _Times:
    counted = list(produced.items())[_UNCOUNTED:]
    return _Times(
        [1000 * (called[run_id] - at_s) for run_id, at_s in counted],
        [1000 * (ended[run_id] - at_s) for run_id, at_s in counted],
    )


SCENARIOS = (Scenario("latency-http", "5 forwarded requests a second, no latency", _latency),)
