"""All scenarios, in the order in which they are measured."""

from __future__ import annotations

from tests.bench.lab import Scenario
from tests.bench.scenarios import (
    api_requests,
    growth,
    http_sync,
    idle,
    latency,
    memory,
    process,
    python_callable,
    steady,
    steps,
)

SCENARIOS: tuple[Scenario, ...] = (
    *http_sync.SCENARIOS,
    *process.SCENARIOS,
    *python_callable.SCENARIOS,
    *latency.SCENARIOS,
    *api_requests.SCENARIOS,
    *memory.SCENARIOS,
    *growth.SCENARIOS,
    *steady.SCENARIOS,
    *idle.SCENARIOS,
    *steps.SCENARIOS,
)
