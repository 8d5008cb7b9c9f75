"""All scenarios, in the order in which they are measured."""

from __future__ import annotations

from tests.bench.lab import Scenario
from tests.bench.scenarios import http_sync, process, python_callable

SCENARIOS: tuple[Scenario, ...] = (
    *http_sync.SCENARIOS,
    *process.SCENARIOS,
    *python_callable.SCENARIOS,
)
