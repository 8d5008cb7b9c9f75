"""docs/metrics.md is the table of metrics, in words and order of `agent.observability.metric_table`."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

from agent.observability import metric_table as table

DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
SPECS = [
    spec
    for spec in vars(table).values()
    if isinstance(spec, table.CounterSpec | table.HistogramSpec | table.GaugeSpec)
]


def row(spec: table.CounterSpec | table.HistogramSpec | table.GaugeSpec) -> str:
    kind = type(spec).__name__.removesuffix("Spec").lower()
    labels = ", ".join(f"`{label}`" for label in spec.labels)
    return f"| `{spec.name}` | {kind} | {labels} | {spec.help} |".replace("|  |", "| |")


def test_every_metric_has_its_row_and_there_are_no_others() -> None:
    rows = [line for line in DOCUMENT.splitlines() if re.match(r"\| `agent_\w+` \| [a-z]+ \|", line)]
    assert rows == [row(spec) for spec in SPECS]


def test_every_bucket_is_told() -> None:
    for spec in table.HISTOGRAMS:
        [told] = re.findall(rf"^\| `{spec.name}` \| ([\d., ]+) \|$", DOCUMENT, re.MULTILINE)
        assert [float(bound) for bound in told.split(", ")] == list(spec.buckets)


def test_every_label_and_every_value_that_starts_at_0_is_told() -> None:
    words = set(re.findall(r"`(\w+)`", DOCUMENT))
    for spec in SPECS:
        assert set(spec.labels) <= words
    for counter in table.COUNTERS:
        assert {value for labels in counter.known for value in labels} <= words, counter.name
    assert set(table.STATUSES) <= words


def test_every_metric_of_the_process_is_told() -> None:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    names = {sample.name for metric in registry.collect() for sample in metric.samples}
    assert names == set(re.findall(r"`(process_\w+)`", DOCUMENT))
