"""When the next blow falls: each at its own random pace, and now and then all at once."""

from __future__ import annotations

import random
import threading
import time

_STORM_EVERY_S = (40.0, 80.0)


class Clockwork:
    """The time in which harm is done, from its construction for ``seconds``. Any thread may ask.

    Storms, the moments at which everybody strikes, follow from ``seed``.
    """

    def __init__(self, seconds: float, seed: int) -> None:
        self._ends_s = time.monotonic() + seconds
        self._broken_off = threading.Event()
        chance = random.Random(f"{seed}-storms")  # noqa: S311 - no secrets are made of it
        self._storms_s: list[float] = []
        at_s = time.monotonic()
        while at_s < self._ends_s:
            at_s += chance.uniform(*_STORM_EVERY_S)
            self._storms_s.append(at_s)

    @property
    def is_over(self) -> bool:
        """Whether no more harm is to be done."""
        return self._broken_off.is_set() or time.monotonic() >= self._ends_s

    def break_off(self) -> None:
        """It is over now: something went wrong that no agent can be blamed for."""
        self._broken_off.set()

    def pass_time(self, seconds: float) -> None:
        """Returns after ``seconds``, or when it is over."""
        self._broken_off.wait(max(0.0, min(seconds, self._ends_s - time.monotonic())))

    def await_blow(self, chance: random.Random, calm_s: tuple[float, float]) -> bool:
        """Returns when the next blow is due, after such a calm or with a storm; ``False`` if it is over."""
        now_s = time.monotonic()
        calm = chance.uniform(*calm_s)
        storm_s = next((at_s for at_s in self._storms_s if at_s > now_s), self._ends_s)
        self.pass_time(min(calm, storm_s - now_s))
        return not self.is_over
