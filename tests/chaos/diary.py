"""What was done to whom, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Harm:
    """One act of violence. Times are epoch seconds; ``ended_s`` is when all was well again, as far as it goes.

    ``exit_code`` is how an agent ended that was asked to, or that ended by itself; ``last_words`` is what one wrote
    that had to be killed instead.
    """

    whom: str
    what: str
    began_s: float
    ended_s: float
    exit_code: int | None = None
    last_words: str = ""

    def hits(self, from_s: float, until_s: float) -> bool:
        """Whether it was going on at any moment of that time."""
        return self.began_s <= until_s and self.ended_s >= from_s


class Diary:
    """Everything that was done, in the order in which it ended. Any thread may write."""

    def __init__(self) -> None:
        self._harms: list[Harm] = []
        self._lock = threading.Lock()

    @property
    def harms(self) -> tuple[Harm, ...]:
        """All of it so far."""
        with self._lock:
            return tuple(self._harms)

    @contextmanager
    def noted(self, whom: str, what: str) -> Iterator[None]:
        """Notes what happens within, from its begin to its end."""
        began_s = time.time()
        try:
            yield
        finally:
            self.note(Harm(whom, what, began_s, time.time()))

    def note(self, harm: Harm) -> None:
        """Adds one."""
        with self._lock:
            self._harms.append(harm)
