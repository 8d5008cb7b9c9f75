from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from agent.domain.duration import DURATION_PATTERN, duration_schema, parse_duration_s


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("2d", 172_800.0),
        (" 5s ", 5.0),
        (30, 30.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_lengths_of_time(written: str | float, seconds: float) -> None:
    assert parse_duration_s(written) == seconds


@pytest.mark.parametrize(
    "written", ["", "30", "s", "-5s", "1 h", "5 seconds", "1e3s", "5s\n5", -1, float("inf"), float("nan")]
)
def test_anything_else_says_what_was_expected(written: str | float) -> None:
    with pytest.raises(ValueError, match="is not a length of time"):
        parse_duration_s(written)


@given(st.from_regex(DURATION_PATTERN, fullmatch=True))
def test_all_that_the_schema_admits_can_be_read(written: str) -> None:
    assert re.fullmatch(DURATION_PATTERN, written)
    assert parse_duration_s(written) >= 0


@pytest.mark.parametrize(
    ("written", "fits", "fits_where_it_may_be_zero"),
    [("1h30m", True, True), (0.5, True, True), (0, False, True), (-1, False, False), ("30", False, False)],
)
def test_the_schema_of_an_option(written: str | float, fits: bool, fits_where_it_may_be_zero: bool) -> None:  # noqa: FBT001 - a table
    for may_be_zero, expected in ((False, fits), (True, fits_where_it_may_be_zero)):
        schema = dict(duration_schema("How long.", may_be_zero=may_be_zero))
        assert schema["description"] == "How long."
        assert Draft202012Validator(schema).is_valid(written) is expected
