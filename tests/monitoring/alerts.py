"""The rules and their cases as these tests read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "files" / "alerts.yaml"
CASES = sorted(Path(__file__).parent.glob("rules_*.yaml"))
RUNBOOKS = ROOT / "docs" / "alerts.md"

WORDS_OF_PROMQL = re.compile(r'"[^"]*"|#.*|\[[^]]*\]|\b(?:by|without|on|ignoring) \([^)]*\)')


@dataclass(frozen=True)
class Rule:
    """One alert. ``threshold`` is the number that the chart may change; ``after`` is empty if it fires at once."""

    name: str
    expr: str
    severity: str
    after: str
    annotations: dict[str, str]

    @property
    def threshold(self) -> float | None:
        found = re.findall(r"([\d.]+)\s*# threshold", self.expr)
        assert len(found) <= 1, f"{self.name} has more than one threshold"
        return float(found[0]) if found else None

    @property
    def metrics(self) -> set[str]:
        return metrics_of(self.expr)


def metrics_of(expr: str) -> set[str]:
    """The names of metrics in an expression; they alone have an underscore and no bracket after them."""
    return set(re.findall(r"\b([a-z]+(?:_[a-z0-9]+)+|up)\b(?!\s*[(=!])", WORDS_OF_PROMQL.sub("", expr)))


def rules() -> list[Rule]:
    document = yaml.safe_load(RULES.read_text())
    return [
        Rule(rule["alert"], rule["expr"], rule["labels"]["severity"], rule.get("for", ""), rule["annotations"])
        for group in document["groups"]
        for rule in group["rules"]
    ]


def cases() -> Iterator[tuple[str, bool]]:
    """Each alert that is looked for in a case, and whether it is to fire there."""
    for path in CASES:
        for test in yaml.safe_load(path.read_text())["tests"]:
            looked_for: list[dict[str, Any]] = test["alert_rule_test"]
            for one in looked_for:
                yield one["alertname"], bool(one["exp_alerts"])
