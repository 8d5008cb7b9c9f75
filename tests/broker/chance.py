"""Chance that can be repeated."""

from __future__ import annotations

import os
import random
import sys

SEED = int(os.environ.get("BROKER_SEED") or random.SystemRandom().randrange(10**6))


def seeded() -> random.Random:
    """Chance with a seed that a failed test shows; ``BROKER_SEED=…`` repeats it."""
    sys.stdout.write(f"BROKER_SEED={SEED}\n")
    return random.Random(SEED)  # noqa: S311 - no secrets are made of it
