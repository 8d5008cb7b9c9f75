from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.figures import (
    Figure,
    Floor,
    Goal,
    Side,
    at_least,
    at_most,
    quantile,
    ratio_at_least,
    ratio_at_most,
)


def test_the_median_of_an_even_number_lies_between_the_two_in_the_middle() -> None:
    assert Figure("f", "ms", [4, 1, 3, 2]).median == 2.5


def test_the_ratio_is_the_median_of_pairs_and_not_the_ratio_of_medians() -> None:
    figure = Figure("f", "/s", [10, 20, 90], floor=Floor("bare", [100, 20, 30]))
    assert figure.ratios == (0.1, 1.0, 3.0)
    assert figure.ratio == 1.0  # the medians', 20 and 30, would make two thirds


def test_without_a_floor_there_is_no_ratio() -> None:
    figure = Figure("f", "/s", [1])
    assert figure.ratios == ()
    assert figure.ratio is None


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (None, None),
        (at_least(2), True),
        (at_least(2.1), False),
        (at_most(2), True),
        (at_most(1.9), False),
        (ratio_at_least(0.5), True),
        (ratio_at_least(0.51), False),
        (ratio_at_most(0.5), True),
        (ratio_at_most(0.49), False),
    ],
)
def test_a_goal_is_judged_by_the_median_or_by_the_ratio(
    goal: Goal | None,
    met: bool | None,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert Figure("f", "", [2], goal, Floor("bare", [4])).is_met is met


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Figure("f", "", [])
    with pytest.raises(ValueError, match="2 values, 1 of the floor"):
        Figure("f", "", [1, 2], floor=Floor("bare", [1]))
    with pytest.raises(ValueError, match="a goal for a ratio, and no floor"):
        Figure("f", "", [1], Goal(Side.AT_LEAST, 1, of_ratio=True))


@given(st.lists(st.integers(0, 99), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed(values: list[int], share: float) -> None:
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert all(sum(value <= lower for value in values) < share * len(values) for lower in values if lower < found)


def test_of_nothing_there_is_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
