"""HTTP forward, synchronous: consume, verify, route by action, forward, one log request, one status request.

The messages do not ask for it themselves, which would cost a third request (the answer, ``PATCH …/response``); it
is the route that is synchronous, because it has a ``url`` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.comparison import Task, compare
from tests.bench.counterpart import Manners
from tests.bench.figures import Figure, at_least, ratio_at_least
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import QUICK, SLOW, routes
from tests.bench.site import Bare

AIOHTTP = Bare("aiohttp, uvloop", "quick", "aiohttp", "uvloop")
TRANSPORT = Bare("httpx over the agent's transport", "quick", "transport", "asyncio")
TRANSPORT_UVLOOP = Bare("httpx over the agent's transport, uvloop", "quick", "transport", "uvloop")
HTTPX = Bare("httpx as it comes", "quick", "httpx", "asyncio", share=0.1)

_RUNS = 10_000
_LATENCY_S = 0.02


def _without_latency(lab: Lab) -> Iterator[Figure]:
    bare = (AIOHTTP, TRANSPORT, TRANSPORT_UVLOOP, HTTPX)
    found = compare(lab, Task("quick", _RUNS, routes(QUICK)), bare)
    yield found.per_second(beside=AIOHTTP)
    # 1,000 a second where the aiohttp loop makes 3,000; 0.8 of httpx over the transport, on the agent's loop.
    yield from found.per_core(against={AIOHTTP: ratio_at_least(1 / 3), TRANSPORT: ratio_at_least(0.8)})
    yield from found.cpu()
    yield found.requests()


def _with_latency(lab: Lab) -> Iterator[Figure]:
    bare = Bare("aiohttp, uvloop, 200 at once", "quick", "aiohttp", "uvloop", at_once=200)
    task = Task("quick", _RUNS, routes(QUICK), Manners(latency_s=_LATENCY_S), {"AGENT_MAX_CONCURRENT_RUNS": "200"})
    found = compare(lab, task, [bare])
    yield found.per_second(at_least(1000), beside=bare)
    yield from found.per_core()
    yield from found.cpu()


def _behind_tls(lab: Lab) -> Iterator[Figure]:
    found = compare(lab, Task("quick", _RUNS, routes(QUICK), Manners(tls=True)), [AIOHTTP])
    yield found.per_second(beside=AIOHTTP)
    yield from found.per_core()
    yield from found.cpu()


def _slow_target(lab: Lab) -> Iterator[Figure]:
    bare = Bare("aiohttp, uvloop, 1,000 at once", "slow", "aiohttp", "uvloop", at_once=1000)
    task = Task("slow", _RUNS, routes(SLOW), settings={"AGENT_MAX_CONCURRENT_RUNS": "1000"})
    found = compare(lab, task, [bare])
    yield found.per_second(at_least(900), beside=bare)
    yield from found.per_core()
    yield from found.cpu()


SCENARIOS = (
    Scenario("http-sync", "forwarded requests, a backlog of 10,000, no latency", _without_latency),
    Scenario("http-sync-tls", "the same where Port and the target are reached by https", _behind_tls),
    Scenario("http-sync-20ms", "the same with 20 ms of latency everywhere and 200 slots", _with_latency),
    Scenario("http-slow-1s", "a target that takes 1 s, 1,000 slots", _slow_target),
)
