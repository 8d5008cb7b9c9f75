"""What an agent keeps in memory: idle, with many requests under way, and in front of large backlogs."""

from __future__ import annotations

import time
from collections.abc import Iterator

from agent.dispatch.dispatcher import DispatchSettings
from tests.bench.figures import Figure, Floor, at_most, ratio_at_most
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import HELD, QUICK, routes
from tests.bench.site import Site
from tests.bench.usage import memory_mib, peak_mib, resident_mib
from tests.broker.agent_process import AgentProcess
from tests.broker.waiting import wait_until

_SETTLE_S = 5.0
_PATIENCE_S = 180.0
_AT_ONCE = 1000
_SLOTS = 50
_MORE_THAN_WAITS = 20_000
"""Beside the default of AGENT_MAX_WAITING_RUNS."""
_LARGE_BYTES = 950_000
"""A record that Kafka takes with its default limit of 1 MiB, and Port's signature in it."""
_NO_MORE = 1.25
"""Differences within a quarter mean nothing."""


def _memory(lab: Lab) -> Iterator[Figure]:
    yield from _idle(lab)
    yield from _at_once(lab)
    yield from _in_front_of_backlogs(lab)


def _idle(lab: Lab) -> Iterator[Figure]:
    own, all_of_it = [], []
    for _ in range(lab.wanted.rounds):
        with lab.site(routes(QUICK)) as site:
            agent = site.start_agent()
            time.sleep(_SETTLE_S)
            own.append(resident_mib(agent.pid))
            all_of_it.append(memory_mib(agent.pid))
    yield Figure("idle, after the start, resident", "MiB", own, at_most(70))
    yield Figure("… with its helpers, shared pages once", "MiB", all_of_it)


def _at_once(lab: Lab) -> Iterator[Figure]:
    count, own, all_of_it = lab.wanted.of(_AT_ONCE), [], []
    for _ in range(lab.wanted.rounds):
        with lab.site(routes(HELD)) as site:
            agent = site.start_agent(AGENT_MAX_CONCURRENT_RUNS=str(count))
            site.port.reset()
            site.produce(site.workload.records("held", count))
            _wait_held(site, count)
            own.append(resident_mib(agent.pid))
            all_of_it.append(memory_mib(agent.pid))
            site.port.release()
            site.wait_ended(count)
    yield Figure(f"{count:,} forwarded requests under way, resident", "MiB", own, at_most(200))
    yield Figure("… with its helpers, shared pages once", "MiB", all_of_it)


def _in_front_of_backlogs(lab: Lab) -> Iterator[Figure]:
    """All slots are taken by requests that do not come back, so that what can be fetched ahead is.

    What the requests themselves hold counts, too: with one slot, that is of one large record.
    """
    large, count = lab.wanted.of(1_000_000), lab.wanted.of(300)
    for slots in (_SLOTS, 1):
        floor = Floor(f"of {_MORE_THAN_WAITS:,} small ones", [_peak_mib(lab, _MORE_THAN_WAITS, "x", slots)])
        if slots == _SLOTS:
            peak = _peak_mib(lab, large, "x", slots)
            yield Figure(f"the most before a backlog of {large:,}", "MiB", [peak], ratio_at_most(_NO_MORE), floor)
        peak = _peak_mib(lab, count, "x" * _LARGE_BYTES, slots)
        name = f"the most before {count:,} records of 1 MB, slots: {slots}"
        yield Figure(name, "MiB", [peak], ratio_at_most(_NO_MORE), floor)


def _peak_mib(lab: Lab, backlog: int, text: str, slots: int) -> float:
    with lab.site(routes(HELD)) as site:
        site.produce(site.workload.records("held", backlog, text))
        agent = site.start_agent(AGENT_MAX_CONCURRENT_RUNS=str(slots))
        _wait_held(site, min(slots, backlog, DispatchSettings().max_running_bytes // len(text)))
        return _settled_peak_mib(agent)


def _settled_peak_mib(agent: AgentProcess) -> float:
    """Once it has not risen for a while."""
    deadline_s = time.monotonic() + _PATIENCE_S
    peak = 0.0
    while (now := peak_mib(agent.pid)) > peak:
        assert time.monotonic() < deadline_s, f"memory still rises, to {now:.0f} MiB"
        peak = now
        time.sleep(_SETTLE_S)
    return peak


def _wait_held(site: Site, count: int) -> None:
    wait_until(lambda: site.port.counts().held >= count, timeout_s=_PATIENCE_S, what="requests under way")


SCENARIOS = (
    Scenario("memory", "idle, 1,000 requests at once, backlogs of a million and of large records", _memory),
)
