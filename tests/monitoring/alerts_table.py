"""The table of docs/alerts.md, made from the rules themselves: ``python -m tests.monitoring.alerts_table``."""

from __future__ import annotations

import re

from tests.monitoring.alerts import RUNBOOKS, rules

PREFIX = "ActionAgent"
_HEAD = "| alert | severity | after | threshold |\n|---|---|---|---|\n"
_TABLE = re.compile(rf"{re.escape(_HEAD)}(?:\|.*\n)*")


def alerts_table() -> str:
    """Every alert with its severity, how long it must be so, and its threshold by the name that the chart has."""
    lines = [_HEAD]
    for rule in rules():
        threshold = (
            "" if rule.threshold is None else f"`thresholds.{rule.name.removeprefix(PREFIX)}`: {rule.threshold:g}"
        )
        link = f"[{rule.name}](#{rule.name.lower()})"
        lines.append(f"| {link} | {rule.severity} | {rule.after or 'at once'} | {threshold} |\n")
    return "".join(lines)


def runbooks() -> str:
    """The document with the table as it should be."""
    return _TABLE.sub(lambda _: alerts_table(), RUNBOOKS.read_text("utf-8"))


if __name__ == "__main__":
    RUNBOOKS.write_text(runbooks(), "utf-8")
