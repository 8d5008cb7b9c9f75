from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.retry import Backoff, is_transient, reset_wait_s, server_epoch_s, server_wait_s

NOW_S = 1_700_000_000.0
DATE = "Tue, 14 Nov 2023 22:13:30 GMT"  # ten seconds later


@pytest.mark.parametrize(
    ("attempt", "random01", "wait_s"),
    [
        (1, 0.0, 1.0),
        (2, 0.0, 2.0),
        (4, 0.0, 8.0),
        (5, 0.0, 10.0),
        (10_000, 0.0, 10.0),
        (2, 1.0, 1.0),
        (2, 0.5, 1.5),
    ],
)
def test_waits_double_up_to_the_cap_and_half_of_each_is_drawn_by_lot(
    attempt: int, random01: float, wait_s: float
) -> None:
    assert Backoff(first_s=1.0, cap_s=10.0, jitter=0.5).wait_s(attempt, random01) == wait_s


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_a_wait_is_never_negative_nor_over_the_cap(attempt: int, random01: float) -> None:
    assert 0 <= Backoff().wait_s(attempt, random01) <= Backoff().cap_s


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520, 599])
def test_answers_that_may_pass(status: int) -> None:
    assert is_transient(status)


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 403, 404, 409, 413, 422, 600])
def test_answers_that_stay(status: int) -> None:
    assert not is_transient(status)


@pytest.mark.parametrize(
    ("headers", "throttled", "wait_s"),
    [
        ({}, True, None),
        ({"retry-after": "7"}, False, 7.0),
        ({"retry-after": "0.5"}, False, 0.5),
        ({"retry-after": "-3"}, False, 0.0),
        ({"retry-after": DATE}, False, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 -0000"}, False, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:10 GMT"}, False, 0.0),
        ({"retry-after": "soon"}, False, None),
        ({"retry-after": "nan"}, True, None),
        ({"retry-after": "7", "x-ratelimit-reset": "60"}, True, 7.0),
        ({"retry-after": "soon", "x-ratelimit-reset": "60"}, True, 60.0),
        ({"x-ratelimit-reset": "60"}, True, 60.0),
        ({"x-ratelimit-reset": "60"}, False, None),
        ({"x-ratelimit-reset": "60", "x-ratelimit-remaining": "0"}, True, 60.0),
        ({"x-ratelimit-reset": "60", "x-ratelimit-remaining": "7"}, True, None),
    ],
)
def test_what_the_server_asks_for(headers: dict[str, str], throttled: bool, wait_s: float | None) -> None:  # noqa: FBT001 - a table's column
    assert server_wait_s(headers, NOW_S, throttled=throttled) == wait_s


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("42", 42.0),
        ("42.5", 42.5),
        ("99999999", 99_999_999.0),
        ("1700000042", 42.0),
        ("1699999999", 0.0),
        ("-1", 0.0),
        ("inf", None),
        ("later", None),
        (None, None),
    ],
)
def test_both_readings_of_the_reset(value: str | None, wait_s: float | None) -> None:
    assert reset_wait_s(value, NOW_S) == wait_s


@pytest.mark.parametrize(
    ("headers", "epoch_s"),
    [
        ({"date": DATE}, NOW_S + 10),
        ({"date": "yesterday"}, None),
        ({"date": "Tue, 14 Nov 999999 22:13:30 GMT"}, None),
        ({}, None),
    ],
)
def test_the_servers_clock(headers: dict[str, str], epoch_s: float | None) -> None:
    assert server_epoch_s(headers) == epoch_s
