"""Figures of a benchmark: repeated values, their median and spread, and how they stand to a goal and a floor."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """On which side of its bound a figure is good."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Goal:
    """What must be true: of the median, or of the ratio to the floor where it is one ``of_ratio``."""

    side: Side
    bound: float
    of_ratio: bool = False

    def is_met_by(self, value: float) -> bool:
        """Whether ``value`` is on the right side; the bound itself is."""
        return value >= self.bound if self.side is Side.AT_LEAST else value <= self.bound


def at_least(bound: float) -> Goal:
    """The median must not be lower."""
    return Goal(Side.AT_LEAST, bound)


def at_most(bound: float) -> Goal:
    """The median must not be higher."""
    return Goal(Side.AT_MOST, bound)


def ratio_at_least(bound: float) -> Goal:
    """The median of the ratios must not be lower."""
    return Goal(Side.AT_LEAST, bound, of_ratio=True)


def ratio_at_most(bound: float) -> Goal:
    """The median of the ratios must not be higher."""
    return Goal(Side.AT_MOST, bound, of_ratio=True)


@dataclass(frozen=True, slots=True)
class Floor:
    """What the same was for a bare loop or another setup. ``values`` pair with the figure's own, one by one."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was measured, at least once. ``values`` are in the order in which they were measured."""

    name: str
    unit: str
    values: Sequence[float]
    goal: Goal | None = None
    floor: Floor | None = None

    def __post_init__(self) -> None:
        """Raises `ValueError` for what cannot be read: nothing measured, or pairs that are none."""
        if not self.values:
            raise ValueError(f"{self.name}: nothing was measured")
        if self.floor is not None and len(self.floor.values) != len(self.values):
            raise ValueError(f"{self.name}: {len(self.values)} values, {len(self.floor.values)} of the floor")
        if self.goal is not None and self.goal.of_ratio and self.floor is None:
            raise ValueError(f"{self.name}: a goal for a ratio, and no floor")

    @property
    def median(self) -> float:
        """In ``unit``."""
        return statistics.median(self.values)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Each value divided by the floor's of the same moment; none where there is no floor."""
        if self.floor is None:
            return ()
        return tuple(
            mine / bare if bare else 0.0 for mine, bare in zip(self.values, self.floor.values, strict=True)
        )

    @property
    def ratio(self) -> float | None:
        """The median of `ratios`, which is not the ratio of the medians."""
        return statistics.median(self.ratios) if self.floor is not None else None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; ``None`` where there is none."""
        if self.goal is None:
            return None
        judged = self.ratio if self.goal.of_ratio else self.median
        return judged is not None and self.goal.is_met_by(judged)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least this share of them does not exceed. Raises `ValueError` for none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]
