"""A real Prometheus scrapes a busy agent: the dashboard has something to show, and every rule can be evaluated."""

from __future__ import annotations

import math
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.waiting import wait_until
from tests.monitoring.alerts import Rule, metrics_of, rules
from tests.monitoring.busy_agent import busy_agent
from tests.monitoring.dashboard import variables
from tests.monitoring.panels import Panel
from tests.monitoring.prometheus import LABELS, PATIENCE_S, Prometheus, scraping
from tests.monitoring.rows import ROWS
from tests.whole.one_agent import OneAgent

pytestmark = pytest.mark.prometheus

PANELS = [pytest.param(panel, id=f"{row}: {panel.title}") for row, panels in ROWS.items() for panel in panels]
WINDOW = "10s"
"""What Grafana would put in the place of its variable for a scrape each second: a rate over several scrapes."""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneAgent]:
    with busy_agent(tmp_path_factory.mktemp("busy")) as agent:
        yield agent


@pytest.fixture(scope="module")
def prometheus(
    agent: OneAgent, prometheus_bin: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    home = tmp_path_factory.mktemp("prometheus")
    with scraping(prometheus_bin, home, agent.process.url) as server:
        ended = 'sum (increase(agent_runs_finished_total{status="success", executor=~"process|http|python"}[1m]))'
        wait_until(
            lambda: server.query(f"{ended} > 20"),
            timeout_s=PATIENCE_S * 2,
            what=lambda: f"runs to end, {server.query(ended)}\n{agent.process.last_words()}",
        )
        yield server


def filled(expr: str) -> str:
    """As Grafana asks it, with "All" chosen."""
    for name, value in {"$namespace": ".*", "$job": ".*", "$__rate_interval": WINDOW}.items():
        expr = expr.replace(name, value)
    return expr


@pytest.mark.parametrize("panel", PANELS)
def test_no_panel_is_empty(prometheus: Prometheus, panel: Panel) -> None:
    """Nor filled by what stands after "or" alone, which is for agents that are better off than this one."""
    for query in panel.queries:
        expr = filled(query.expr.partition(" or ")[0])
        told_apart_by = set(re.findall(r"{{(\w+)}}", query.legend))

        def shown(expr: str = expr, labels: set[str] = told_apart_by) -> bool:
            found = [sample for sample in prometheus.query(expr) if labels <= sample["metric"].keys()]
            return any(not math.isnan(float(sample["value"][1])) for sample in found)

        wait_until(shown, timeout_s=PATIENCE_S, what=f"data of {expr}")
        assert prometheus.query(filled(query.expr))


def test_the_dashboards_variables_find_the_agent(prometheus: Prometheus) -> None:
    found = {}
    for variable in variables():
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", str(variable.get("definition")))
        if asked:
            found[variable["name"]] = prometheus.ask(f"label/{asked[2]}/values", **{"match[]": filled(asked[1])})
    assert found == {"namespace": [LABELS["namespace"]], "job": ["action-agent"]}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_what_an_alert_asks_about_is_there(prometheus: Prometheus, rule: Rule) -> None:
    for metric in metrics_of(rule.expr):
        wait_until(
            lambda metric=metric: prometheus.query(f'{metric}{{job="action-agent"}}'),  # type: ignore[misc]
            timeout_s=PATIENCE_S,
            what=f"{metric} of the agent",
        )


def test_prometheus_evaluates_every_rule_without_complaint(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, str]]:
        found = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        return [] if any(rule["health"] == "unknown" for rule in found) else found

    found = wait_until(evaluated, timeout_s=PATIENCE_S, what="every rule to be evaluated")
    assert {rule["name"] for rule in found} == {rule.name for rule in rules()}
    assert [rule for rule in found if rule["health"] != "ok"] == []


def test_messages_that_nobody_signed_are_an_alert_and_what_is_well_is_none(prometheus: Prometheus) -> None:
    def firing() -> set[str]:
        alerts = prometheus.ask("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    wait_until(lambda: "ActionAgentSignatureRejected" in firing(), timeout_s=PATIENCE_S, what="the alert")
    assert firing() <= {"ActionAgentSignatureRejected", "ActionAgentMessagesRejected"}


def test_the_runs_of_a_slow_bucket_are_exemplars(prometheus: Prometheus) -> None:
    """Which Prometheus reads in OpenMetrics only: so that is what it asks for, and it can read it."""
    now_s = time.time()
    asked = {"query": "agent_run_duration_seconds_bucket", "start": f"{now_s - 600}", "end": f"{now_s}"}
    found = [exemplar for series in prometheus.ask("query_exemplars", **asked) for exemplar in series["exemplars"]]
    assert found
    assert all(exemplar["labels"]["run_id"] for exemplar in found)


def test_promtool_finds_nothing_wrong_with_the_metrics(agent: OneAgent, prometheus_bin: Path) -> None:
    with urllib.request.urlopen(f"{agent.process.url}/metrics", timeout=PATIENCE_S) as answer:  # noqa: S310
        page = answer.read()
    command = [str(prometheus_bin / "promtool"), "check", "metrics", "--extended"]
    checked = subprocess.run(command, input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b""), checked.stdout.decode()
