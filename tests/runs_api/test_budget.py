from __future__ import annotations

import pytest

from agent.domain.events import RateBudget
from agent.runs_api.budget import RequestBudget


def _headers(remaining: str, limit: str | None, reset: str | None) -> dict[str, str]:
    named = {"x-ratelimit-remaining": remaining, "x-ratelimit-limit": limit, "x-ratelimit-reset": reset}
    return {name: value for name, value in named.items() if value is not None}


@pytest.mark.parametrize(
    ("remaining", "limit", "reset", "low_for_s"),
    [
        ("1501", "15000", "30", 0.0),
        ("1499", "15000", "30", 30.0),
        ("1499", "15000", "1030", 1030.0),
        ("0", "15000", "1700000030", 30.0),
        ("49", "100", "30", 30.0),
        ("51", "100", "30", 0.0),
        ("21", "40", "30", 0.0),  # a very small limit is not low all the time
        ("19", "40", "30", 30.0),
        ("49", None, "30", 30.0),
        ("50", None, "30", 0.0),
        ("49", "many", "30", 30.0),
        ("0", "100", None, 60.0),
        ("0", "100", "soon", 60.0),
    ],
)
def test_when_requests_that_can_wait_should_wait(
    remaining: str, limit: str | None, reset: str | None, low_for_s: float
) -> None:
    budget = RequestBudget()
    fact = budget.note(_headers(remaining, limit, reset), 100.0, 1_700_000_000.0)
    assert fact == RateBudget(int(remaining), int(limit) if limit and limit.isdigit() else None)
    assert budget.low_for_s(100.0) == low_for_s
    assert budget.low_for_s(100.0 + low_for_s) == 0.0


def test_a_better_answer_ends_it_and_one_without_headers_says_nothing() -> None:
    budget = RequestBudget()
    budget.note(_headers("0", "100", "30"), 100.0, 0.0)
    assert budget.note({}, 100.0, 0.0) is None
    assert budget.note({"x-ratelimit-remaining": "inf"}, 100.0, 0.0) is None
    assert budget.low_for_s(100.0) == 30.0
    budget.note(_headers("99", "100", "30"), 100.0, 0.0)
    assert budget.low_for_s(100.0) == 0.0


@pytest.mark.parametrize(
    ("limit", "period", "reset", "spare", "left_s", "usual_rate"),
    [
        ("500", "10", "4", 50.0, 4.0, 45.0),
        ("15000", "300", "1700000100", -1400.0, 100.0, 45.0),
        ("500", "2.5", "0", 50.0, 0.05, 180.0),
        ("500", "0", None, 50.0, 60.0, None),
        ("500", "nan", "4", 50.0, 4.0, None),
        ("0", "10", "4", 100.0, 4.0, None),
        (None, "10", "4", 50.0, 4.0, None),
    ],
)
def test_the_window_beyond_the_reserve(
    limit: str | None,
    period: str,
    reset: str | None,
    spare: float,
    left_s: float,
    usual_rate: float | None,
) -> None:
    budget = RequestBudget()
    budget.note({**_headers("100", limit, reset), "x-ratelimit-period": period}, 1000.0, 1_700_000_000.0)
    window = budget.window
    assert window is not None
    assert (window.remaining, window.spare, window.left_s) == (100, spare, left_s)
    assert window.usual_rate == usual_rate
    assert window.ends_s == 1000.0 + (0.0 if reset == "0" else left_s)
