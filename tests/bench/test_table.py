from __future__ import annotations

import json

import pytest

from tests.bench.figures import Figure, Floor, at_least, ratio_at_least
from tests.bench.table import HEAD, as_json, number, row


def test_every_row_has_as_many_cells_as_the_head() -> None:
    figures = [
        Figure("a|b", "/s", [1.0]),
        Figure("c", "", [1.0, 2.0], ratio_at_least(1), Floor("bare", [1.0, 1.0])),
    ]
    columns = HEAD.splitlines()[0].count("|")
    assert [row(figure).replace("\\|", "").count("|") for figure in figures] == [columns, columns]


def test_a_row_tells_all_that_is_known() -> None:
    figure = Figure("runs", "/s", [900.0, 1100.0, 1000.0], ratio_at_least(0.8), Floor("bare", [2000.0] * 3))
    assert row(figure) == (
        "| runs | 1,000 /s | 900 … 1,100 | ratio ≥ 0.80: MISSED | bare: 2,000 | 0.50 (0.45 … 0.55) |"
    )


def test_a_row_leaves_empty_what_there_is_not() -> None:
    assert row(Figure("requests", "", [2.0])) == "| requests | 2 |  |  |  |  |"
    assert row(Figure("runs", "/s", [5.0], at_least(5))) == "| runs | 5 /s |  | ≥ 5: met |  |  |"


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.12"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346"), (3.0, "3")]
)
def test_numbers_have_the_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_json_holds_every_value_and_what_follows_from_them() -> None:
    figure = Figure("runs", "/s", [1.0, 3.0], ratio_at_least(0.5), Floor("bare", [2.0, 4.0]))
    assert json.loads(json.dumps(as_json(figure))) == {
        "name": "runs",
        "unit": "/s",
        "values": [1.0, 3.0],
        "median": 2.0,
        "goal": {"side": "≥", "bound": 0.5, "of_ratio": True},
        "met": True,
        "floor": {"name": "bare", "values": [2.0, 4.0], "median": 3.0},
        "ratio": 0.625,
        "ratios": [0.5, 0.75],
    }
    bare = as_json(Figure("runs", "/s", [1.0]))
    assert {name for name, value in bare.items() if value is None} == {"goal", "met", "floor", "ratio"}
