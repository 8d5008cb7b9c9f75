"""Who decides over the replicas, and by what."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agent.observability.metric_table import RUNS_WAITING_FOR_SLOT
from tests.chart.combinations import COMBINATIONS
from tests.chart.rendering import Values, render

pytestmark = pytest.mark.chart
PODS = "release-action-agent-[a-z0-9]+(-[a-z0-9]{5})?"
SLOWLY = {
    "stabilizationWindowSeconds": 600,
    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 300}],
}


def scaled(helm: str, keda: Values, **others: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The ScaledObject's specification, and its trigger."""
    one = render(helm, {"keda": {"enabled": True, "maxReplicas": 6, **keda}, **others})
    spec: dict[str, Any] = one.one("ScaledObject")["spec"]
    assert "replicas" not in one.workload["spec"]
    return spec, spec["triggers"][0]


def test_replicas_are_said_where_nobody_else_decides(helm: str) -> None:
    assert render(helm, {}).workload["spec"]["replicas"] == 1
    assert render(helm, {"replicaCount": 0}).workload["spec"]["replicas"] == 0


def test_keda_asks_the_pods_for_waiting_runs_by_default(helm: str) -> None:
    # The scaler takes the first series of that name: there must be one.
    assert RUNS_WAITING_FOR_SLOT.labels == ()
    spec, trigger = scaled(helm, {})
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "release-action-agent"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 6)
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 6}
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"] == SLOWLY
    assert trigger == {
        "type": "metrics-api",
        "metadata": {
            "url": "http://release-action-agent.actions.svc:8080/metrics",
            "format": "prometheus",
            "valueLocation": RUNS_WAITING_FOR_SLOT.name,
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "sum",
            "targetValue": "10",
        },
    }


def test_keda_may_ask_prometheus(helm: str) -> None:
    prometheus = {"serverAddress": "http://prometheus:9090"}
    _, trigger = scaled(helm, {"trigger": "prometheus", "prometheus": prometheus, "waitingRuns": 50})
    assert trigger["metadata"] == {
        "serverAddress": "http://prometheus:9090",
        "query": f'sum({RUNS_WAITING_FOR_SLOT.name}{{namespace="actions", pod=~"{PODS}"}})',
        "threshold": "50",
        "ignoreNullValues": "false",
    }
    assert "authenticationRef" not in trigger
    asked = {**prometheus, "query": "max(up)", "authenticationRef": "login"}
    _, trigger = scaled(helm, {"trigger": "prometheus", "prometheus": asked})
    assert trigger["metadata"]["query"] == "max(up)"
    assert trigger["authenticationRef"] == {"name": "login"}


@pytest.mark.parametrize(
    ("values", "pods", "others"),
    [
        (
            {"fullnameOverride": "agent"},
            ["agent-5d4f8c7b9-x2k8p", "agent-bcdfg-00000"],
            ["agent-eu-5d4f8c7b9-x2k8p", "agent-eu-0", "my-agent-5d4f8c7b9-x2k8p"],
        ),
        (
            {"fullnameOverride": "agent", "persistence": {"enabled": True}},
            ["agent-0", "agent-12"],
            ["agent-eu-0", "agent-eu-5d4f8c7b9-x2k8p", "my-agent-0"],
        ),
        # 58 characters and five: what Kubernetes makes of a long name.
        ({"fullnameOverride": "x" * 52}, [f"{'x' * 52}-5d4f8x2k8p"], [f"{'x' * 51}-5d4f8c7b9-x2k8p"]),
    ],
)
def test_prometheus_is_asked_for_this_releases_pods_alone(
    helm: str, values: Values, pods: list[str], others: list[str]
) -> None:
    prometheus = {"serverAddress": "http://prometheus:9090"}
    _, trigger = scaled(helm, {"trigger": "prometheus", "prometheus": prometheus}, **values)
    (asked,) = re.findall(r'pod=~"(.*)"', trigger["metadata"]["query"])
    assert [pod for pod in pods + others if re.fullmatch(asked, pod)] == pods


@pytest.mark.parametrize(
    ("keda", "name"),
    [
        ({"waitingRuns": 1_000_000}, "targetValue"),
        (
            {"waitingRuns": 1_000_000, "trigger": "prometheus", "prometheus": {"serverAddress": "http://p"}},
            "threshold",
        ),
        ({"trigger": "kafka", "kafka": {"bootstrapServers": "b:1", "lagThreshold": 1_000_000}}, "lagThreshold"),
    ],
)
def test_large_numbers_are_told_as_they_are_written(helm: str, keda: Values, name: str) -> None:
    assert scaled(helm, keda)[1]["metadata"][name] == "1000000"


def test_keda_may_ask_kafka_for_the_groups_lag(helm: str) -> None:
    kafka = {"bootstrapServers": "b:9196", "existingSecret": "login"}
    _, trigger = scaled(helm, {"trigger": "kafka", "kafka": kafka})
    assert trigger["metadata"] == {
        "bootstrapServers": "b:9196",
        "consumerGroup": "org_1.action-agent",
        "topic": "org_1.runs",
        "lagThreshold": "50",
        "offsetResetPolicy": "earliest",
        "version": "2.8.0",
        "tls": "enable",
        "sasl": "scram_sha512",
    }


def test_kedas_group_topic_and_first_offset_are_the_agents(helm: str) -> None:
    kafka = {"bootstrapServers": "b:9092", "tls": False}
    settings = {
        "KAFKA_CONSUMER_GROUP_ID": "org_1.mine",
        "KAFKA_RUNS_TOPIC": "runs",
        "KAFKA_CONSUMER_AUTO_OFFSET_RESET": "END",
    }
    _, trigger = scaled(helm, {"trigger": "kafka", "kafka": kafka}, settings=settings)
    assert trigger["metadata"] == {
        "bootstrapServers": "b:9092",
        "consumerGroup": "org_1.mine",
        "topic": "runs",
        "lagThreshold": "50",
        "offsetResetPolicy": "latest",
        "version": "2.8.0",
        "tls": "disable",
    }
    assert "authenticationRef" not in trigger


@pytest.mark.parametrize(
    ("combination", "parameters"),
    [
        ("keda by lag", {"username", "password"}),
        ("keda by lag, brokers by an own ca", {"ca"}),
        ("keda by lag, by a secret's ca and without tls", {"ca"}),
        ("keda by lag, brokers by port-agent's certificate", {"username", "password", "ca"}),
    ],
)
def test_keda_gets_what_it_needs_to_log_in(helm: str, combination: str, parameters: set[str]) -> None:
    one = render(helm, COMBINATIONS[combination])
    authentication = one.one("TriggerAuthentication")
    (trigger,) = one.one("ScaledObject")["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    given = [parameter for target in authentication["spec"].values() for parameter in target]
    assert {parameter["parameter"] for parameter in given} == parameters


def test_a_stateful_set_is_scaled_as_such(helm: str) -> None:
    persistence = {"enabled": True}
    spec, _ = scaled(helm, {}, persistence=persistence)
    assert spec["scaleTargetRef"]["kind"] == "StatefulSet"
    one = render(helm, {"autoscaling": {"enabled": True, "maxReplicas": 2}, "persistence": persistence})
    assert one.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"


def test_a_horizontal_autoscaler_instead(helm: str) -> None:
    one = render(helm, {"autoscaling": {"enabled": True, "maxReplicas": 4}})
    spec = one.one("HorizontalPodAutoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
    assert spec["behavior"]["scaleDown"] == SLOWLY
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert "replicas" not in one.workload["spec"]
    assert "ScaledObject" not in one.kinds


@pytest.mark.parametrize(
    ("values", "has_budget"),
    [
        ({}, False),
        ({"replicaCount": 2}, True),
        ({"keda": {"enabled": True, "maxReplicas": 2}}, True),
        ({"autoscaling": {"enabled": True, "maxReplicas": 2}}, True),
        ({"replicaCount": 2, "podDisruptionBudget": {"enabled": False}}, False),
    ],
)
def test_a_budget_where_there_can_be_more_than_one_replica(helm: str, values: Values, has_budget: bool) -> None:  # noqa: FBT001 - a table
    budgets = render(helm, values).all("PodDisruptionBudget")
    assert bool(budgets) == has_budget
    for budget in budgets:
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_persistent_state_is_one_claim_for_each_replica(helm: str) -> None:
    one = render(helm, {"persistence": {"enabled": True, "size": "7Gi", "storageClass": "fast"}, "replicaCount": 3})
    spec = one.one("StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == one.mount("state")["name"] == "state"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "7Gi"}},
    }
    assert spec["serviceName"] == one.one("Service")["metadata"]["name"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert spec["replicas"] == 3
    assert "Deployment" not in one.kinds
