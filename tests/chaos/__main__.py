"""Does the agents all the harm there is, for a while, and judges them: ``make chaos SECONDS=120 SEED=7``.

What was written meanwhile (logs, the stand-in's ledger, the worklog, the table) stays in ``.cache/chaos/SEED``.
With the same seed the same blows fall in the same rhythm; how they meet the agents differs each time.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.broker.kafka_libs import kafka_libs
from tests.chaos.customer import Demand
from tests.chaos.play import Plan, play
from tests.chaos.table import table
from tests.chaos.verdict import troubles

_FOLDER = Path(__file__).parents[2] / ".cache" / "chaos"


def main() -> int:
    """Prints the table; 1 if there was trouble."""
    options = _parser().parse_args()
    libs = kafka_libs()
    plan = Plan(
        seconds=options.seconds,
        seed=options.seed,
        agents=options.agents,
        demand=Demand(runs_per_s=options.rate, events=options.events),
    )
    home = _FOLDER / str(plan.seed)
    _say(f"seed {plan.seed}: {plan.seconds:g} s of chaos for {plan.agents} agents; see {home}")
    evidence = play(plan, libs, home, _say)
    told = table(evidence)
    (home / "table").write_text(told + "\n")
    _say(told)
    found = troubles(evidence)
    _say(f"seed {plan.seed}: {f'{len(found)} troubles' if found else 'every promise was kept'}")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--agents", type=int, default=3)
    parser.add_argument("--rate", type=float, default=8, help="runs in a second, on average")
    parser.add_argument("--events", type=float, default=0.1, help="which part of them are change events")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
