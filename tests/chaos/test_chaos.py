"""A short play on every change; `make chaos` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.customer import Demand
from tests.chaos.play import Plan, play
from tests.chaos.table import table
from tests.chaos.verdict import troubles

pytestmark = [pytest.mark.kafka, pytest.mark.alone]

SEED = int(os.environ.get("CHAOS_SEED", "7"))


@pytest.mark.timeout(420)
def test_three_agents_keep_every_promise_while_everything_breaks(kafka_libs: Path, tmp_path: Path) -> None:
    """Without nodes and change events: Port cannot be asked about one that goes on elsewhere, and time is short."""
    print(f"CHAOS_SEED={SEED}")  # noqa: T201 - pytest shows it for failed tests only
    plan = Plan(seconds=45, seed=SEED, settle_s=240, demand=Demand(nodes=False))
    evidence = play(plan, kafka_libs, tmp_path / "chaos", print)
    assert not troubles(evidence), table(evidence)
    assert evidence.harms, "nothing was done to anybody"
    assert len(evidence.runs) > 100
