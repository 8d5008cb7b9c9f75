"""What an agent costs that has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.bench.figures import Figure, at_most
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import QUICK, routes
from tests.bench.usage import Cpu

_SETTLE_S = 5.0


def _idle(lab: Lab) -> Iterator[Figure]:
    seconds, shares = lab.wanted.lasting(30), []
    with lab.site(routes(QUICK)) as site:
        agent = site.start_agent()
        site.warm_up("quick")
        time.sleep(_SETTLE_S)
        for _ in range(lab.wanted.rounds):
            before, began_s = Cpu.of(agent.pid), time.monotonic()
            time.sleep(seconds)
            used = Cpu.of(agent.pid).since(before)
            shares.append(100 * (used.own_s + used.children_s) / (time.monotonic() - began_s))
    yield Figure(f"CPU over {seconds:g} s", "% of a core", shares, at_most(1))


SCENARIOS = (Scenario("idle", "an agent that has nothing to do", _idle),)
