"""Whether one HTTP target is called, after it has left many requests without an answer. Pure: no clock, no I/O.

::

    closed ──(so many attempts in a row without any answer)──► open
    open   ──(its time is over, somebody asks)──► probing: one attempt, while all others are refused
    probing ──(no answer)──► open, for twice as long, up to a cap
    probing ──(nobody waited for the answer)──► open, and the next one who asks is the probe
    probing ──(it takes longer than the target was left alone before)──► probing: one more attempt is let through

An answer ends it in every state: the breaker is thrown away then, and a new one made at the next attempt. So an
attempt that was begun before an answer came can never tell against the target after it.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_FAILURES = 10


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """``failures`` in a row open it, for ``first_s``; each probe that fails doubles that, up to ``cap_s``."""

    failures: int = DEFAULT_FAILURES
    first_s: float = 5.0
    cap_s: float = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """One attempt may be made. Each is an object of its own; `Breaker.failed` or `withdrawn` takes it back."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """No attempt may be made now, and why. ``since_s``: when the first of the failures was noticed.

    ``again_in_s`` ``None``: the target is being tried by somebody else at this moment.
    """

    failures: int
    since_s: float
    last_error: str
    again_in_s: float | None


class Breaker:
    """One target since its last answer. All times are monotonic seconds, given by the caller."""

    def __init__(self, rule: BreakerRule) -> None:
        self._rule = rule
        self._failures = 0
        self._since_s = 0.0
        self._last_error = ""
        self._open_for_s = 0.0
        self._open_until_s = 0.0
        self._probe: Permit | None = None
        self._probed_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """Whether attempts are refused, but for a probe."""
        return self._open_for_s > 0

    @property
    def failures(self) -> int:
        """How many attempts in a row had no answer."""
        return self._failures

    @property
    def open_for_s(self) -> float:
        """For how long attempts are refused before the next probe; 0 while it is closed."""
        return self._open_for_s

    def ask(self, now_s: float) -> Permit | Refusal:
        """Leave for one attempt. Whoever gets it says later what came of it."""
        permit = Permit()
        if self.is_open:
            left_s = self._left_s(now_s)
            if left_s > 0:
                again_in_s = None if self._probe is not None else left_s
                return Refusal(self._failures, self._since_s, self._last_error, again_in_s)
            self._probe = permit
            self._probed_at_s = now_s
        return permit

    def failed(self, permit: Permit, error: str, now_s: float) -> bool:
        """The attempt had no answer; whether that has opened the breaker."""
        if self._failures == 0:
            self._since_s = now_s
        self._failures += 1
        self._last_error = error
        if permit is self._probe:
            self._probe = None
            self._open(min(self._open_for_s * 2, self._rule.cap_s), now_s)
        elif not self.is_open and self._failures >= self._rule.failures:
            self._open(self._rule.first_s, now_s)
            return True
        return False

    def withdrawn(self, permit: Permit) -> None:
        """Nothing is known of the attempt: nobody waited for its end. Does nothing after `failed`."""
        if permit is self._probe:
            self._probe = None

    def _left_s(self, now_s: float) -> float:
        """Until the next probe; one that hangs, as a long timeout lets it, does not put that off for ever."""
        if self._probe is None:
            return self._open_until_s - now_s
        return self._probed_at_s + self._open_for_s - now_s

    def _open(self, for_s: float, now_s: float) -> None:
        self._open_for_s = for_s
        self._open_until_s = now_s + for_s
