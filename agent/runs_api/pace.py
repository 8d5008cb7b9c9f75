"""When the next request may go, so that Port has none to refuse; pure but for what it remembers.

Every request takes a place in an even row, as many a second as the budget allows; one that cannot wait goes before
its place comes, and those that can wait come later for it. How close the row is, Port tells in every answer
(`told`). Where it does not, its refusals teach it (`refused`): what went through before one is cut by a fifth,
comes back soon, stays there for long, and then grows ever faster until another refusal, or until the limit is
forgotten. So do several agents that share a budget find their parts of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from agent.runs_api.budget import Window

_CUT = 0.2
_FORGOTTEN_AT = 2.0
"""So many times of what was once refused, and not any more: there is no such limit."""
_LEAST_RATE = 1.0
"""Nothing teaches less than this, a second: a refusal may be due to what others asked for meanwhile."""
_PART_RATE = 1.0
"""By so much more a learned rate has grown when it is back, whatever it is, so that agents' parts become alike."""
_LEAST_SHARE = 0.1
_FIRST_RATE = 10.0
"""Where nobody knows how many may go: in a window that followed one with nothing to spare, without word of it."""
_RAMPED_UP_S = 10.0
"""After the first refusal ever, of which nobody knows how many requests led to it: from so many a second, twice as
many every second, and for so long."""
_WINDOWS = 10.0
_SHORTEST_S = 120.0
_LONGEST_S = 3000.0
"""A rate that was cut is back after ten windows, but within these bounds."""
_COUNTED_S = 120.0
_SLACK_SHARE = 0.1
"""Places that nobody took are kept for so much of the window."""
_SLACK_S = 1.0
_TRICKLE_SHARE = 0.1
_RAREST = 15
"""Of what remains where that is less than the reserve, a tenth is left for those that can wait; but one of them
goes after so many times their longest wait: some say that nothing remains and refuse nothing."""
_LOOK_S = 5.0
"""While Port refuses, one request looks whether it still does: after so long, and then after twice as long each."""
_FASTER = 2.0
_URGENT_STEP_S = 0.05
"""Those that had to wait for a window's end follow one another faster than the row, by this, or so much apart."""


@dataclass(frozen=True, slots=True)
class Regrowth:
    """What was ``top`` when it was too much: cut by a fifth, back after ``back_s``, and then ever faster."""

    top: float
    since_s: float
    back_s: float

    def age(self, now_s: float) -> float:
        """0 when it was cut, 1 when it is back."""
        return max(0.0, now_s - self.since_s) / self.back_s

    def factor(self, now_s: float) -> float:
        """How much of ``top`` there is again."""
        return 1 + _CUT * (self.age(now_s) - 1) ** 3


class Pace:
    """Times are monotonic seconds, rates requests a second.

    ``longest_s``: of those that can wait one goes at least so often, unless few remain even for those that cannot.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._window: Window | None = None
        self._share: Regrowth | None = None
        self._learned: Regrowth | None = None
        self._ramp_s: float | None = None
        """When the first refusal's window ended; ``None`` while there was no refusal but Port's word goes."""
        self._scale_s = 0.0
        self._passed, self._passed_since_s = 0.0, math.nan
        self._counted, self._counted_since_s = 0.0, math.nan
        """What went through before the last cut, and since when."""
        self._closed_until_s = self._look_at_s = self._look_after_s = 0.0
        self._next_s = self._next_urgent_s = 0.0
        self._last_patient_s = -math.inf

    # ── who may go ───────────────────────────────────────────────────────────────────────────────────

    def is_closed(self, now_s: float) -> bool:
        """Whether Port refuses requests now, by its own word."""
        return now_s < self._closed_until_s

    def urgent_due_s(self, *, queued: bool) -> float:
        """When the next one that cannot wait may go; in the past if now. ``queued``: it had to wait already."""
        open_s = min(self._closed_until_s, self._look_at_s)
        return max(open_s, self._next_urgent_s) if queued else open_s

    def patient_due_s(self, came_s: float) -> float:
        """The same for one that can wait, and does since ``came_s``."""
        window = self._window
        at_s = self._next_s if window is None or window.spare > 0 else max(self._next_s, window.ends_s)
        since_s = max(came_s, self._last_patient_s)
        return max(self._closed_until_s, min(at_s, since_s + self._longest_wait_s(window)))

    def _longest_wait_s(self, window: Window | None) -> float:
        if window is None:
            return self._longest_s
        few, rarest_s = _TRICKLE_SHARE * window.remaining, _RAREST * self._longest_s
        return rarest_s if few <= 0 else min(rarest_s, max(self._longest_s, window.left_s / few))

    def take(self, now_s: float, *, can_wait: bool) -> bool:
        """One goes. Whether it goes to look if Port still refuses."""
        rate = self.rate(now_s)
        step_s = 1 / rate if rate > 0 else 0.0  # then it is the window that keeps them waiting
        kept_s = _SLACK_S if self._window is None else _SLACK_SHARE * self._window.left_s
        self._next_s = min(max(self._next_s, now_s - kept_s) + step_s, now_s + self._longest_s)
        if can_wait:
            self._last_patient_s = now_s
            return False
        self._next_urgent_s = now_s + min(1 / rate / _FASTER if rate > 0 else math.inf, _URGENT_STEP_S)
        if not self.is_closed(now_s):
            return False
        self._look_after_s *= 2
        self._look_at_s = now_s + self._look_after_s
        return True

    def rate(self, now_s: float) -> float:
        """How many a second may go in all; infinite while no limit is known."""
        window, learned = self._window, self._learned
        if window is not None:
            return self._share_at(now_s) * _allowed_rate(window, now_s)
        if learned is not None:
            return learned.top * learned.factor(now_s) + _PART_RATE * learned.age(now_s)
        if self._ramp_s is not None:
            return _FIRST_RATE * 2 ** min(_RAMPED_UP_S, max(0.0, now_s - self._ramp_s))
        return math.inf

    def _share_at(self, now_s: float) -> float:
        """Of what the window allows."""
        share = self._share
        return 1.0 if share is None else min(1.0, share.top * share.factor(now_s))

    # ── what Port says ───────────────────────────────────────────────────────────────────────────────

    def told(self, window: Window) -> None:
        """Port told of its window."""
        self._window = window

    def answered(self, now_s: float, *, looked: bool) -> None:
        """An answer that is no refusal for the budget's sake. ``looked``: to a request that went to look."""
        if looked and self.is_closed(now_s):
            self._closed_until_s = self._next_s = self._passed_since_s = now_s
        if now_s - self._passed_since_s > _COUNTED_S:
            self._passed, self._passed_since_s = self._passed / 2, now_s - _COUNTED_S / 2
        self._passed += 1
        self._forget(now_s)

    def refused(self, wait_s: float, now_s: float) -> None:
        """Port refused one for the budget's sake, and is to be left alone for ``wait_s``."""
        if not self.is_closed(now_s):
            self._look_after_s = _LOOK_S
            self._look_at_s = now_s + _LOOK_S
            if self._passed or not self._lengthen(now_s + wait_s, now_s):
                self._counted, self._counted_since_s = self._passed, self._passed_since_s
                self._cut(wait_s, now_s)
        self._closed_until_s = max(self._closed_until_s, now_s + wait_s)
        self._next_s = max(self._next_s, self._closed_until_s)
        self._passed, self._passed_since_s = 0.0, self._closed_until_s

    def _lengthen(self, opens_s: float, now_s: float) -> bool:
        """Nothing went through since the last refusal: it was for longer, and no other. Whether there was one."""
        if self._share is not None and self._window is not None and now_s <= self._window.ends_s:
            self._share = replace(self._share, since_s=opens_s)
        elif self._learned is not None:
            top = max(_LEAST_RATE, self._counted / (opens_s - self._counted_since_s))
            self._learned = replace(self._learned, top=top, since_s=opens_s)
        elif self._ramp_s is not None:
            self._ramp_s = opens_s
        else:
            return False
        return True

    def _cut(self, wait_s: float, now_s: float) -> None:
        self._scale_s = max(wait_s, (1 - _CUT) * self._scale_s)
        back_s = min(max(_SHORTEST_S, _WINDOWS * self._scale_s), _LONGEST_S)
        opens_s = now_s + wait_s
        if self._window is not None and now_s <= self._window.ends_s:
            self._share = Regrowth(max(_LEAST_SHARE, self._share_at(now_s)), opens_s, back_s)
            return
        self._window = None
        if math.isnan(self._passed_since_s):
            self._ramp_s = opens_s
            return
        lasted_s = max(0.0, now_s - self._passed_since_s) + wait_s
        self._learned = Regrowth(max(_LEAST_RATE, self._passed / lasted_s), opens_s, back_s)

    def _forget(self, now_s: float) -> None:
        """What is not true any more."""
        if self._ramp_s is not None and now_s - self._ramp_s >= _RAMPED_UP_S:
            self._ramp_s = None
        if self._learned is not None and self._learned.factor(now_s) >= _FORGOTTEN_AT:
            self._learned = None


def _allowed_rate(window: Window, now_s: float) -> float:
    """What ``window`` allows a second, or the one after it."""
    told_rate = max(0.0, window.spare) / window.left_s
    if now_s < window.ends_s:
        return told_rate
    return window.usual_rate or told_rate or _FIRST_RATE
