from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.runs_api.budget import RequestBudget, Window
from agent.runs_api.pace import Pace

LONGEST_S = 2.0
NOW_S = 1000.0


class Counting:
    """A server that counts in windows and tells of them."""

    def __init__(self, limit: int, period_s: float) -> None:
        self.limit = limit
        self.period_s = period_s
        self.left = limit
        self.ends_s = NOW_S + period_s
        self._budget = RequestBudget()

    def window(self, now_s: float) -> Window:
        if now_s >= self.ends_s:
            self.left, self.ends_s = self.limit, self.ends_s + self.period_s
        told = {"remaining": self.left, "limit": self.limit, "period": self.period_s, "reset": self.ends_s - now_s}
        self._budget.note({f"x-ratelimit-{name}": str(value) for name, value in told.items()}, now_s, 0.0)
        assert self._budget.window is not None
        return self._budget.window


def _window(remaining: int, spare: float, left_s: float = 10.0, usual_rate: float | None = None) -> Window:
    return Window(remaining, spare, left_s, NOW_S + left_s, usual_rate)


def _many_that_cannot_wait(pace: Pace, count: int) -> None:
    for _ in range(count):
        pace.take(NOW_S, can_wait=False)


def _learned(passed: int = 400, took_s: float = 9.0, wait_s: float = 1.0) -> Pace:
    """One that was refused for the second time, at `NOW_S`."""
    pace = Pace(LONGEST_S)
    began_s = NOW_S - took_s
    pace.refused(1.0, began_s - 1.0)
    for number in range(passed):
        pace.answered(began_s + number * took_s / passed, looked=False)
    pace.refused(wait_s, NOW_S)
    return pace


def test_nobody_waits_while_nothing_is_known_of_a_limit() -> None:
    pace = Pace(LONGEST_S)
    for _ in range(1000):
        assert pace.patient_due_s(NOW_S) <= NOW_S
        assert pace.urgent_due_s(queued=True) <= NOW_S
        assert not pace.take(NOW_S, can_wait=True)
        pace.answered(NOW_S, looked=False)
    assert pace.rate(NOW_S) == math.inf


@settings(deadline=None, max_examples=50)
@given(
    limit=st.integers(200, 3000),
    period_s=st.floats(5, 300),
    share=st.floats(0, 0.9),
)
def test_those_that_can_wait_use_the_window_evenly_and_leave_the_reserve(
    limit: int, period_s: float, share: float
) -> None:
    """Beside statuses that take ``share`` of what the window allows, and as much as the rest would take at once."""
    server, pace, now_s = Counting(limit, period_s), Pace(math.inf), NOW_S
    pace.told(server.window(now_s))
    reserve = server.left - server.window(now_s).spare
    urgent_step_s = period_s / (share * (limit - reserve)) if share else math.inf
    urgent_s, went_s = now_s + urgent_step_s, []
    while (at_s := min(urgent_s, max(now_s, pace.patient_due_s(now_s)))) < server.ends_s:
        now_s = at_s
        pace.take(now_s, can_wait=at_s < urgent_s)
        if at_s < urgent_s:
            went_s.append(now_s)
        else:
            urgent_s += urgent_step_s
        server.left -= 1
        pace.told(server.window(now_s))
    assert reserve - 2 <= server.left <= reserve + 0.05 * limit + 2
    early = sum(at_s < NOW_S + period_s / 2 for at_s in went_s)
    assert 0.4 * len(went_s) - 2 <= early <= 0.5 * len(went_s) + 0.1 * limit + 2


@given(
    st.lists(
        st.one_of(
            st.booleans(),
            st.builds(_window, st.integers(-5, 500), st.floats(-50, 450), st.floats(0.05, 300)),
            st.floats(0, 5),
        )
    )
)
def test_what_cannot_wait_never_does_while_port_refuses_nothing(steps: list[bool | Window | float]) -> None:
    pace, now_s = Pace(LONGEST_S), NOW_S
    for step in steps:
        match step:
            case bool():
                pace.take(now_s, can_wait=step)
            case Window():
                pace.told(step)
            case _:
                now_s += step
        assert pace.urgent_due_s(queued=False) <= now_s
        assert pace.urgent_due_s(queued=True) <= now_s + 0.05
        assert pace.patient_due_s(now_s) <= now_s + 15 * LONGEST_S


@pytest.mark.parametrize(
    ("window", "wait_s"),
    [
        (_window(100, 50), 0.2),
        (_window(100, 50, left_s=5), 0.1),
        (_window(50, 0), LONGEST_S),
        (_window(20, -30), 5.0),
        (_window(20, -30, left_s=1.5), 1.5),
        (_window(0, -50, left_s=300), 15 * LONGEST_S),
        (_window(-1, -51, left_s=300), 15 * LONGEST_S),
    ],
)
def test_the_fewer_remain_the_longer_the_next_one_waits(window: Window, wait_s: float) -> None:
    pace = Pace(LONGEST_S)
    pace.told(window)
    while pace.patient_due_s(NOW_S) <= NOW_S + 1e-6:
        pace.take(NOW_S, can_wait=True)
    assert pace.patient_due_s(NOW_S) - NOW_S == pytest.approx(wait_s)


def test_a_window_that_has_ended_without_word_of_the_next_one_is_taken_for_a_usual_one() -> None:
    pace = Pace(LONGEST_S)
    pace.told(_window(50, 0, left_s=1.0, usual_rate=45.0))
    assert pace.rate(NOW_S) == 0
    assert pace.rate(NOW_S + 1) == 45
    pace.told(_window(65, 15, left_s=1.0))
    assert pace.rate(NOW_S) == pace.rate(NOW_S + 1) == 15
    pace.told(_window(20, -30, left_s=1.0))
    assert pace.rate(NOW_S) == 0
    assert pace.rate(NOW_S + 1) == 10, "nobody knows what a usual one allows"


def test_what_was_sent_without_waiting_is_waited_for_by_what_can() -> None:
    pace = Pace(LONGEST_S)
    pace.told(_window(100, 50, left_s=5.0))
    _many_that_cannot_wait(pace, 10)
    assert pace.patient_due_s(NOW_S) - NOW_S == pytest.approx(10 * 0.1 - 0.5)
    _many_that_cannot_wait(pace, 1000)
    assert pace.patient_due_s(NOW_S) == NOW_S + LONGEST_S
    pace.take(NOW_S + LONGEST_S, can_wait=True)
    assert pace.patient_due_s(NOW_S + LONGEST_S) - NOW_S == pytest.approx(LONGEST_S + 0.1), "but not for ever"


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────


def test_after_a_refusal_nobody_goes_but_one_that_looks_and_ever_more_rarely() -> None:
    pace = Pace(LONGEST_S)
    pace.refused(300.0, NOW_S)
    assert pace.patient_due_s(NOW_S) == NOW_S + 300
    looks = []
    for _ in range(5):
        at_s = pace.urgent_due_s(queued=True)
        looks.append(at_s - NOW_S)
        assert pace.take(at_s, can_wait=False)
        pace.refused(300 - looks[-1], at_s)
    assert looks == [5, 15, 35, 75, 155]
    assert pace.is_closed(NOW_S + 299)
    assert not pace.is_closed(NOW_S + 300)


def test_each_refusal_that_was_under_way_only_lengthens_it() -> None:
    pace = Pace(LONGEST_S)
    pace.refused(2.0, NOW_S)
    pace.refused(3.0, NOW_S + 0.5)
    pace.refused(1.0, NOW_S + 0.6)
    assert pace.urgent_due_s(queued=False) == NOW_S + 3.5


def test_a_look_that_finds_it_open_ends_it_for_all() -> None:
    pace = _learned(wait_s=300.0)
    assert pace.take(NOW_S + 5, can_wait=False)
    pace.answered(NOW_S + 5.1, looked=True)
    assert not pace.is_closed(NOW_S + 5.1)
    assert pace.urgent_due_s(queued=False) <= NOW_S + 5.1
    assert pace.patient_due_s(NOW_S + 5.1) <= NOW_S + 5.1
    pace.refused(2.0, NOW_S + 6)
    pace.answered(NOW_S + 6.1, looked=False)
    assert pace.is_closed(NOW_S + 6.2), "an answer to an earlier request says nothing of it"


def test_those_that_waited_for_the_end_go_one_after_the_other() -> None:
    pace = Pace(LONGEST_S)
    pace.told(_window(500, 450, left_s=10.0, usual_rate=45.0))
    pace.refused(10.0, NOW_S)
    now_s = NOW_S + 10.0
    pace.take(now_s, can_wait=False)
    assert pace.urgent_due_s(queued=True) - now_s == pytest.approx(1 / 2 / (0.8 * 45))
    assert pace.urgent_due_s(queued=False) <= now_s


def test_after_the_first_refusal_those_that_can_wait_begin_slowly_and_soon_are_free_again() -> None:
    pace = Pace(LONGEST_S)
    pace.refused(1.0, NOW_S)
    assert [pace.rate(NOW_S + 1 + age_s) for age_s in (0, 1, 2)] == [10, 20, 40]
    pace.take(NOW_S + 1, can_wait=True)
    assert pace.patient_due_s(NOW_S + 1) - NOW_S == pytest.approx(1.1)
    pace.answered(NOW_S + 11.1, looked=False)
    assert pace.rate(NOW_S + 11.1) == math.inf


def test_a_second_refusal_teaches_the_rate_at_which_it_came_about() -> None:
    pace = _learned(passed=400, took_s=9.0, wait_s=1.0)
    rates = [pace.rate(NOW_S + 1 + age_s) for age_s in (0, 60, 120, 180, 240)]
    assert rates == pytest.approx([32, 39.5, 41, 42.5, 50])
    assert rates == sorted(rates)


def test_what_was_learned_lasts_as_long_as_windows_do_and_is_forgotten_in_the_end() -> None:
    for wait_s, back_s in ((1.0, 120.0), (60.0, 600.0), (300.0, 3000.0), (1000.0, 3000.0)):
        pace = _learned(passed=400, took_s=9.0, wait_s=wait_s)
        top, opens_s = 400 / (9 + wait_s), NOW_S + wait_s
        assert pace.rate(opens_s + back_s) == pytest.approx(max(1.0, top) + 1)
        pace.answered(opens_s + 2.7 * back_s, looked=False)
        assert math.isfinite(pace.rate(opens_s + 2.7 * back_s))
        pace.answered(opens_s + 2.8 * back_s, looked=False)
        assert pace.rate(opens_s + 2.8 * back_s) == math.inf


def test_nothing_teaches_less_than_one_a_second() -> None:
    assert _learned(passed=3, took_s=100.0, wait_s=100.0).rate(NOW_S + 100) == 0.8


def test_what_passed_long_ago_does_not_count() -> None:
    pace = Pace(LONGEST_S)
    pace.refused(1.0, NOW_S)
    for second in range(3600):
        pace.answered(NOW_S + 1 + second, looked=False)
    for _ in range(600):
        pace.answered(NOW_S + 3600, looked=False)
    pace.refused(1.0, NOW_S + 3600)
    assert 6 < pace.rate(NOW_S + 3601) < 10


def test_where_port_tells_of_its_window_a_refusal_has_us_ask_for_less_of_it_for_a_while() -> None:
    pace = Pace(LONGEST_S)
    pace.told(_window(0, -50, left_s=1.0, usual_rate=45.0))
    pace.refused(1.0, NOW_S)
    opens_s = NOW_S + 1.0
    assert pace.rate(opens_s) == pytest.approx(0.8 * 45)
    assert pace.rate(opens_s + 120) == pytest.approx(45)
    assert pace.rate(opens_s + 1000) == pytest.approx(45), "never more than the window allows"
    for number in range(20):
        pace.answered(opens_s + number, looked=False)
        pace.told(Window(0, -50, 1.0, opens_s + number + 1, 45.0))
        pace.refused(0.5, opens_s + number)
    assert pace.rate(opens_s + 21) == pytest.approx(0.1 * 0.8 * 45, rel=0.05)


def test_a_refusal_of_the_same_window_is_no_second_one() -> None:
    """Port may refuse without a word of how long: whoever asks too early is refused again, and learns only that."""
    told = Pace(LONGEST_S)
    told.told(_window(0, -50, left_s=10.0, usual_rate=45.0))
    learned = _learned(passed=300, took_s=20.0, wait_s=0.5)
    for number in range(10):
        told.refused(0.3, NOW_S + number * 0.35)
        learned.refused(0.5, NOW_S + 1 + number * 4)
    assert told.rate(NOW_S + 10.1) == pytest.approx(0.8 * 45, rel=0.05)
    assert learned.rate(NOW_S + 37.5) == pytest.approx(0.8 * 300 / 57.5)
    never = Pace(LONGEST_S)
    never.refused(1.0, NOW_S)
    never.refused(1.0, NOW_S + 2)
    assert never.rate(NOW_S + 3) == 10


def test_once_word_of_windows_is_old_refusals_teach_again() -> None:
    pace = _learned()
    pace.told(_window(450, 400, left_s=10.0, usual_rate=45.0))
    assert pace.rate(NOW_S + 5) == 40
    for _ in range(200):
        pace.answered(NOW_S + 20, looked=False)
    pace.refused(1.0, NOW_S + 21)
    assert pace.rate(NOW_S + 22) == pytest.approx(0.8 * 200 / 21)
