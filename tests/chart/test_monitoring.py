"""What the chart gives to Prometheus and Grafana."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.chart.rendering import Manifest, RefusedError, Values, render
from tests.monitoring.alerts import rules
from tests.monitoring.dashboard import dashboard

pytestmark = pytest.mark.chart
KINDS = ("podMonitor", "serviceMonitor", "prometheusRule", "dashboard")
ALERTS = "PrometheusRule"


def metrics(**values: Values) -> Values:
    return {"metrics": {name: {"enabled": True, **value} for name, value in values.items()}}


def alerts(rule: Manifest) -> dict[str, Any]:
    """The alerts by name."""
    return {one["alert"]: one for group in rule["spec"]["groups"] for one in group["rules"]}


def test_nothing_of_it_is_there_unless_it_is_wanted(helm: str) -> None:
    assert not render(helm, {}).kinds & {"PodMonitor", "ServiceMonitor", ALERTS}
    assert all("dashboard" not in one["metadata"]["name"] for one in render(helm, {}).all("ConfigMap"))


@pytest.mark.parametrize("name", KINDS)
def test_each_stands_where_its_reader_looks_and_has_the_labels_by_which_it_is_found(helm: str, name: str) -> None:
    given: Values = {
        "namespace": "monitoring",
        "labels": {"release": "prometheus", "app.kubernetes.io/version": "x"},
        "annotations": {"note": "a note"},
    }
    kind = name[0].upper() + name[1:] if name != "dashboard" else "ConfigMap"
    metadata = render(helm, metrics(**{name: given})).one(kind, "dashboard" if name == "dashboard" else "")[
        "metadata"
    ]
    assert metadata["namespace"] == "monitoring"
    assert given["labels"].items() <= metadata["labels"].items()
    assert metadata["labels"]["app.kubernetes.io/instance"] == "release"
    assert metadata["annotations"] == {"note": "a note"}


def test_a_pod_monitor_finds_the_agents_and_nothing_else(helm: str) -> None:
    rendered = render(helm, metrics(podMonitor={}))
    spec = rendered.one("PodMonitor")["spec"]
    selected = spec["selector"]["matchLabels"].items()
    assert spec["namespaceSelector"] == {"matchNames": ["actions"]}
    assert selected <= rendered.pod["metadata"]["labels"].items()
    assert not selected <= rendered.doctor["metadata"]["labels"].items()
    assert spec["podMetricsEndpoints"][0]["port"] in {port["name"] for port in rendered.container["ports"]}


def test_a_service_monitor_finds_the_service(helm: str) -> None:
    rendered = render(helm, metrics(serviceMonitor={}))
    spec, service = rendered.one("ServiceMonitor")["spec"], rendered.one("Service")
    assert spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert spec["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


@pytest.mark.parametrize(("name", "kind"), [("podMonitor", "PodMonitor"), ("serviceMonitor", "ServiceMonitor")])
def test_how_it_is_scraped_can_be_said(helm: str, name: str, kind: str) -> None:
    drop = {"action": "drop", "sourceLabels": ["__name__"], "regex": "process_.*"}
    zone = {"targetLabel": "zone", "replacement": "a"}
    given = {"interval": "15s", "scrapeTimeout": "5s", "relabelings": [zone], "metricRelabelings": [drop]}
    spec = render(helm, metrics(**{name: given})).one(kind)["spec"]
    (endpoint,) = spec.get("podMetricsEndpoints") or spec["endpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == ("15s", "5s")
    assert endpoint["relabelings"][1:] == [zone]
    assert endpoint["metricRelabelings"] == [drop]


def test_scraped_twice_everything_would_count_twice(helm: str) -> None:
    with pytest.raises(RefusedError, match="enable one of the two"):
        render(helm, metrics(podMonitor={}, serviceMonitor={}))


@pytest.mark.parametrize(("name", "kind"), [("podMonitor", "PodMonitor"), ("serviceMonitor", "ServiceMonitor")])
def test_the_alerts_ask_for_the_job_that_the_scrape_is_given(helm: str, name: str, kind: str) -> None:
    rendered = render(helm, metrics(**{name: {}, "prometheusRule": {}}))
    spec = rendered.one(kind)["spec"]
    (endpoint,) = spec.get("podMetricsEndpoints") or spec["endpoints"]
    (job,) = endpoint["relabelings"]
    assert job["targetLabel"] == "job"
    ours = f'namespace="actions", job="{job["replacement"]}"'
    assert {name: rule["expr"] for name, rule in alerts(rendered.one(ALERTS)).items()} == {
        rule.name: rule.expr.replace('job="action-agent"', ours) for rule in rules()
    }


def test_what_prometheus_fills_in_is_left_to_it(helm: str) -> None:
    found = alerts(render(helm, metrics(prometheusRule={})).one(ALERTS))
    assert {name: rule["annotations"] for name, rule in found.items()} == {
        rule.name: rule.annotations for rule in rules()
    }
    assert any("{{ $labels.pod }}" in rule["annotations"]["description"] for rule in found.values())


@pytest.mark.parametrize(("value", "told"), [(1_000_000, "1000000"), (0.05, "0.05"), (0, "0")])
def test_a_threshold_can_be_changed_and_nothing_else_is(helm: str, value: float, told: str) -> None:
    before = alerts(render(helm, metrics(prometheusRule={})).one(ALERTS))
    after = alerts(render(helm, metrics(prometheusRule={"thresholds": {"Saturated": value}})).one(ALERTS))
    assert after.pop("ActionAgentSaturated")["expr"] == before.pop("ActionAgentSaturated")["expr"].replace(
        ">= 0.75  #", f">= {told}  #"
    )
    assert after == before


def test_a_threshold_can_be_given_on_the_command_line(helm: str) -> None:
    """Where Helm makes a text of everything that is no whole number."""
    where = "metrics.prometheusRule"
    rendered = render(helm, metrics(prometheusRule={}), "--set", f"{where}.thresholds.Saturated=0.5")
    assert re.search(r" 0\.5\s+# threshold", alerts(rendered.one(ALERTS))["ActionAgentSaturated"]["expr"])


def test_single_alerts_can_be_left_out_or_have_another_patience_or_severity(helm: str) -> None:
    given = {
        "disabled": ["LagGrowing", "ConfigReloadFailed", "JournalNotWritable", "QuarantineFailing"],
        "for": {"Saturated": "1h", "StandsStill": "2m"},
        "severities": {"AuthFailing": "warning"},
        "ruleLabels": {"team": "platform"},
        "runbookUrl": "https://wiki.example/alerts",
        "selector": 'cluster="c", job="agents"',
    }
    rule = render(helm, metrics(prometheusRule=given)).one(ALERTS)
    found = alerts(rule)
    assert found.keys() == {one.name for one in rules()} - {f"ActionAgent{name}" for name in given["disabled"]}
    assert all(group["rules"] for group in rule["spec"]["groups"])
    assert (found["ActionAgentSaturated"]["for"], found["ActionAgentStandsStill"]["for"]) == ("1h", "2m")
    assert found["ActionAgentAuthFailing"]["labels"] == {"severity": "warning", "team": "platform"}
    assert found["ActionAgentAbsent"]["labels"] == {"severity": "critical", "team": "platform"}
    assert found["ActionAgentAbsent"]["expr"] == 'absent(agent_ready{cluster="c", job="agents"})'
    runbook = "https://wiki.example/alerts#actionagentabsent"
    assert found["ActionAgentAbsent"]["annotations"]["runbook_url"] == runbook


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"disabled": ["LagGrows"]},
            "metrics.prometheusRule.disabled: there is no alert LagGrows; they are Absent,",
        ),
        ({"for": {"ActionAgentAbsence": "1m"}}, "metrics.prometheusRule.for: there is no alert Absence"),
        ({"severities": {"Slow": "page"}}, "metrics.prometheusRule.severities: there is no alert Slow"),
        (
            {"thresholds": {"Absent": 1}},
            "metrics.prometheusRule.thresholds: no alert Absent has a threshold; these have:",
        ),
    ],
)
@pytest.mark.parametrize("enabled", [True, False])
def test_an_alert_that_does_not_exist_is_a_mistake(
    helm: str, values: Values, sentence: str, *, enabled: bool
) -> None:
    with pytest.raises(RefusedError) as refused:
        render(helm, metrics(prometheusRule={**values, "enabled": enabled}))
    assert sentence in str(refused.value)


def test_alerts_may_be_given_by_their_full_names(helm: str) -> None:
    short: Values = {
        "disabled": ["LagGrowing"],
        "thresholds": {"QueueWaitHigh": 120},
        "for": {"Saturated": "1h"},
        "severities": {"Absent": "warning"},
    }
    full = {
        key: [f"ActionAgent{name}" for name in value]
        if isinstance(value, list)
        else {f"ActionAgent{name}": one for name, one in value.items()}
        for key, value in short.items()
    }
    rule = render(helm, metrics(prometheusRule=full)).one(ALERTS)
    assert rule == render(helm, metrics(prometheusRule=short)).one(ALERTS)
    assert rule != render(helm, metrics(prometheusRule={})).one(ALERTS)


def test_the_dashboard_is_the_file_and_grafanas_sidecar_finds_it(helm: str) -> None:
    found = render(helm, metrics(dashboard={})).one("ConfigMap", "-dashboard")
    assert json.loads(found["data"]["release-action-agent.json"]) == dashboard()
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
