"""What a panel of the dashboard is made of, and short words for the expressions that recur."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OURS = 'namespace=~"$namespace", job=~"$job"'
RATE = "$__rate_interval"
BY_POD = "namespace, pod"
"""Pods of two namespaces may have the same name."""
POD = "{{namespace}} {{pod}}"
RUNS_TOPIC = r', topic!~".*change\\.log"'
"""Not the topic of catalogue changes, which has no runs."""


@dataclass(frozen=True)
class Query:
    """An expression, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """``kind`` and ``unit`` are Grafana's words. ``steps``: (from which value on, colour), for single numbers."""

    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    steps: tuple[tuple[float, str], ...] = ()
    names: dict[float, str] = field(default_factory=dict)


def total(metric: str, by: str = "", where: str = "", of: str = "sum") -> str:
    """A gauge, over all pods or by a label."""
    return f"{of}{f' by ({by})' if by else ''} ({metric}{{{OURS}{where}}})"


def rate(metric: str, by: str = "", where: str = "") -> str:
    """A counter, per second."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{OURS}{where}}}[{RATE}]))"


def per_minute(metric: str, by: str = "", where: str = "") -> str:
    """A counter, per minute: what people do is too rare for seconds."""
    return f"60 * {rate(metric, by, where)}"


def quantile(share: float, metric: str, by: str = "") -> str:
    """Of a histogram; nothing where nothing was measured."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{OURS}}}[{RATE}])))"


def or_none(expr: str, label: str) -> str:
    """Series that come with what they count: until then one of zeros, called none."""
    return f'{expr} or on () label_replace(vector(0), "{label}", "none", "", "")'


def number(title: str, about: str, unit: str, expr: str, *steps: tuple[float, str], **more: Any) -> Panel:
    """A single number."""
    return Panel(title, about, unit, (Query(expr),), "stat", 4, steps=steps, **more)


def lines(title: str, about: str, unit: str, *queries: tuple[str, str], stacked: bool = False) -> Panel:
    """Series over time: expressions, and what their series are called."""
    return Panel(title, about, unit, tuple(Query(*query) for query in queries), stacked=stacked)
