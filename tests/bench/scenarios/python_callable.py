"""Python callables: what is left of a run where nothing is done in it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.comparison import Task, compare
from tests.bench.figures import Figure, at_least
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import PLAIN, PYTHON, routes
from tests.bench.site import Bare

NOTHING = Bare("aiohttp, uvloop: verify, one status", "nothing", "aiohttp", "uvloop")
TRANSPORT_NOTHING = Bare("httpx over the agent's transport: the same", "nothing", "transport", "asyncio")


def _callables(lab: Lab) -> Iterator[Figure]:
    found = compare(lab, Task("nothing", 10_000, routes(PYTHON)), (NOTHING, TRANSPORT_NOTHING))
    yield found.per_second(beside=NOTHING)
    yield from found.per_core(at_least(2000))
    yield from found.cpu()
    yield found.requests()


def _plain(lab: Lab) -> Iterator[Figure]:
    found = compare(lab, Task("plain", 10_000, routes(PLAIN)), [NOTHING])
    yield found.per_second(beside=NOTHING)
    yield from found.per_core()
    yield from found.cpu()
    yield found.requests()


SCENARIOS = (
    Scenario("python", "an async callable that does nothing, statuses reported", _callables),
    Scenario("python-plain", "a plain function that does nothing, which takes a thread", _plain),
)
