"""Two to five agents, one of which comes, goes or is killed every moment: nothing lost, nobody stuck."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.customer import Demand
from tests.chaos.fleet import JOINED, coming_and_going
from tests.chaos.play import Plan, play
from tests.chaos.table import table
from tests.chaos.torments import KILLED, STOPPED
from tests.chaos.verdict import troubles

pytestmark = [pytest.mark.kafka, pytest.mark.alone]

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**6))


@pytest.mark.timeout(420)
def test_a_fleet_that_is_never_the_same_for_long_loses_nothing_and_never_stalls(
    kafka_libs: Path, tmp_path: Path
) -> None:
    print(f"CHAOS_SEED={SEED}")  # noqa: T201 - pytest shows it for failed tests only
    plan = Plan(60, SEED, agents=5, settle_s=240, demand=Demand(nodes=False), harm=coming_and_going, stall_s=30)
    evidence = play(plan, kafka_libs, tmp_path / "fleet", print)
    assert not troubles(evidence), table(evidence)
    done = Counter(harm.what for harm in evidence.harms)
    assert min(done[JOINED], done[KILLED], done[STOPPED]) >= 3, done
    assert any(order.key is not None for order in evidence.orders.values())
