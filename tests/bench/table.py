"""Figures as a Markdown table for people, and as JSON for programs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from tests.bench.figures import Figure, Goal

HEAD = "| figure | median | spread | goal | floor | ratio |\n|---|---|---|---|---|---|"


def row(figure: Figure) -> str:
    """One line of the table that `HEAD` begins."""
    floor = ratio = ""
    if figure.floor is not None and figure.ratio is not None:
        floor = f"{figure.floor.name}: {number(statistics.median(figure.floor.values))}"
        ratio = " ".join([number(figure.ratio), *(f"({spread})" for spread in [_spread(figure.ratios)] if spread)])
    cells = [
        figure.name,
        f"{number(figure.median)} {figure.unit}".strip(),
        _spread(figure.values),
        _goal(figure.goal, is_met=figure.is_met),
        floor,
        ratio,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def as_json(figure: Figure) -> dict[str, Any]:
    """All of it, with what is derived from it; parts that it does not have are ``None``."""
    goal, floor = figure.goal, figure.floor
    return {
        "name": figure.name,
        "unit": figure.unit,
        "values": list(figure.values),
        "median": figure.median,
        "goal": None if goal is None else {"side": str(goal.side), "bound": goal.bound, "of_ratio": goal.of_ratio},
        "met": figure.is_met,
        "floor": None
        if floor is None
        else {"name": floor.name, "values": list(floor.values), "median": statistics.median(floor.values)},
        "ratio": figure.ratio,
        "ratios": list(figure.ratios),
    }


def number(value: float) -> str:
    """Three digits that count; whole from a hundred on, with a comma between thousands."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _spread(values: Sequence[float]) -> str:
    return f"{number(min(values))} … {number(max(values))}" if len(values) > 1 else ""


def _goal(goal: Goal | None, *, is_met: bool | None) -> str:
    if goal is None:
        return ""
    return f"{'ratio ' if goal.of_ratio else ''}{goal.side} {number(goal.bound)}: {'met' if is_met else 'MISSED'}"
