"""The alerts: what each asks, when it fires and when not, and that somebody wrote down what to do."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from agent.observability import metric_table as table
from tests.monitoring.alerts import CASES, RULES, RUNBOOKS, Rule, cases, rules
from tests.monitoring.alerts_table import PREFIX, alerts_table, runbooks

EVERY_RULE = pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)


def test_names_are_told_apart_and_belong_to_us() -> None:
    names = [rule.name for rule in rules()]
    assert len(set(names)) == len(names)
    assert all(name.startswith(PREFIX) for name in names)


@EVERY_RULE
def test_an_alert_asks_for_metrics_that_exist(rule: Rule) -> None:
    ours = {counter.name for counter in table.COUNTERS} | {gauge.name for gauge in table.GAUGES}
    histograms = {f"{spec.name}{end}" for spec in table.HISTOGRAMS for end in ("_bucket", "_count", "_sum")}
    assert rule.metrics
    assert rule.metrics <= ours | histograms | {"up", "process_start_time_seconds"}


@EVERY_RULE
def test_every_selector_names_the_job_so_that_the_chart_can_name_its_own(rule: Rule) -> None:
    selectors = re.findall(r"\{([^}]*)\}", rule.expr)
    named = re.findall(r"\b(?:agent_\w+|up|process_\w+)\s*\{", rule.expr)
    assert len(named) == len(re.findall(r"\b(?:agent_\w+|up|process_start_time_seconds)\b", rule.expr))
    assert selectors
    assert all('job="action-agent"' in selector for selector in selectors)


@EVERY_RULE
def test_an_alert_says_how_bad_it_is_and_what_it_means(rule: Rule) -> None:
    assert rule.severity in ("critical", "warning")
    assert rule.annotations.keys() == {"summary", "description", "runbook_url"}
    assert len(rule.annotations["summary"]) < 80
    assert rule.annotations["description"].endswith((".", ")."))
    assert rule.annotations["runbook_url"] == f"docs/alerts.md#{rule.name.lower()}"


@EVERY_RULE
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(rule: Rule) -> None:
    kinds = {fires for name, fires in cases() if name == rule.name}
    assert kinds == {True, False}


def test_no_case_is_about_an_alert_that_is_gone() -> None:
    assert {name for name, _ in cases()} == {rule.name for rule in rules()}


@EVERY_RULE
def test_an_alert_has_a_section_that_says_what_to_do(rule: Rule) -> None:
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL))
    points = re.findall(r"^- (\w+): \S", sections[rule.name], re.MULTILINE)
    assert points == ["Meaning", "Impact", "Check", "Fix"]


def test_no_section_is_about_an_alert_that_is_gone_and_links_among_them_lead_somewhere() -> None:
    text = RUNBOOKS.read_text()
    sections = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert Counter(sections) == Counter(rule.name for rule in rules())
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= {name.lower() for name in sections}


def test_the_documents_table_is_up_to_date() -> None:
    assert runbooks() == RUNBOOKS.read_text("utf-8"), (
        "renew the table in docs/alerts.md with: python -m tests.monitoring.alerts_table"
    )
    assert alerts_table() in RUNBOOKS.read_text("utf-8")


def promtool(where: Path, *arguments: str) -> None:
    done = subprocess.run([str(where / "promtool"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
def test_promtool_finds_nothing_wrong(prometheus_bin: Path) -> None:
    promtool(prometheus_bin, "check", "rules", "--lint=all", "--lint-fatal", str(RULES))


@pytest.mark.prometheus
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_every_case_comes_true(prometheus_bin: Path, path: Path) -> None:
    promtool(prometheus_bin, "test", "rules", str(path))
