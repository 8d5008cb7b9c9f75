"""What the chart says of itself is true and up to date."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from agent import __version__
from tests.chart import derived
from tests.chart.combinations import COMBINATIONS, ROUTES
from tests.chart.documented_values import HELM, documented_values
from tests.chart.rendering import NEEDED, merged, notes, render, render_alone
from tests.docs.test_documents import blocks

CHART: dict[str, Any] = yaml.safe_load((HELM / "Chart.yaml").read_text("utf-8"))
VALUES: dict[str, Any] = yaml.safe_load((HELM / "values.yaml").read_text("utf-8"))
SCHEMA: dict[str, Any] = json.loads((HELM / "values.schema.json").read_text("utf-8"))
STALE = "is stale: make chart"
NOT_IN_VALUES = {"global", "enabled"}
"""Which parent charts give."""


def test_the_chart_is_of_this_version_of_the_agent() -> None:
    assert CHART["appVersion"] == CHART["version"] == __version__


def test_the_readmes_table_is_up_to_date() -> None:
    assert derived.readme() == derived.README.read_text("utf-8"), f"helm/README.md {STALE}"
    assert len(documented_values()) > 100


def test_the_schema_is_up_to_date() -> None:
    assert derived.schema() == derived.SCHEMA.read_text("utf-8"), f"helm/values.schema.json {STALE}"


def test_the_schema_is_of_its_own_and_allows_nothing_else() -> None:
    assert SCHEMA["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert {ref for ref in refs(SCHEMA) if not ref.startswith("#/definitions/")} == set()
    assert SCHEMA["additionalProperties"] is False


def refs(schema: Any) -> Iterator[str]:
    """Every $ref in it."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for one in schema:
            yield from refs(one)


def test_values_and_schema_know_the_same() -> None:
    compare(VALUES, SCHEMA, "")


def compare(values: dict[str, Any], schema: dict[str, Any], where: str) -> None:
    known = schema["properties"].keys() - (NOT_IN_VALUES if not where else set())
    if not where or not schema.get("description"):
        assert known == values.keys(), where
    for name in known & values.keys():
        inner = schema["properties"][name]
        if isinstance(values[name], dict) and "properties" in inner:
            compare(values[name], inner, f"{where}.{name}")


@pytest.mark.chart
def test_every_example_of_the_readme_renders(helm: str) -> None:
    examples = [text for language, _, text in blocks(HELM / "README.md") if language == "yaml"]
    assert len(examples) >= 4
    for text in examples:
        values = merged(NEEDED, yaml.safe_load(text))
        if values["port"].get("clientId"):
            values["port"]["existingSecret"] = ""
        assert render_alone(helm, values).workload


@pytest.mark.chart
def test_what_helm_says_after_the_installation() -> None:
    said = notes({"image": {"registry": "registry.internal"}, "routes": {"path": "routes.yaml"}})
    assert "helm -n actions test release --logs" in said
    assert "Organisation org_1, consumer group org_1.action-agent." in said
    assert "Routes from routes.yaml." in said
    assert "NOTE" not in said
    assert "WARNING" not in said


def test_every_document_promises_the_same_of_keda() -> None:
    """2.19 knows the trigger, but asks the pods of every Service of the namespace."""
    for path in (HELM / "values.yaml", HELM / "README.md", HELM.parent / "docs" / "scaling.md"):
        promised = re.findall(r"KEDA(?: is)? (2\.\d+)", path.read_text("utf-8"))
        assert promised, path
        assert set(promised) == {"2.20"}, path


@pytest.mark.chart
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "Routes are not given: only messages for agents are acted on"),
        ({"controlThePayloadConfig": "[]"}, "Routes from the mapping file in controlThePayloadConfig"),
        ({}, f"the image action-agent:{__version__} names no registry of yours"),
        ({"replicaCount": 3}, "3 replicas share the partitions of org_1.runs"),
        ({"persistence": {"enabled": True}}, "rollout status statefulset/release-action-agent"),
        ({"resources": {"limits": {"cpu": 1}}}, "resources.limits.cpu is 1: a throttled agent misses heartbeats"),
        ({"env": {"normal": {"KAFKA_CONSUMER_GROUP_ID": "mine"}}}, "allow only groups that begin with org_"),
        (
            {"env": {"normal": {"GITLAB_URL": "https://gitlab.com/"}}, "routes": {"list": ROUTES}},
            "GITLAB_URL is a variable and no more where there are routes",
        ),
        (
            {"env": {"secret": {"GITLAB_URL": "https://gitlab.com/"}}, "routes": {"list": ROUTES}},
            "GITLAB_URL is a variable and no more where there are routes",
        ),
        (
            {"env": {"normal": {"KAFKA_CONSUMER_BROKERS": "kafka:9092"}}},
            "KAFKA_CONSUMER_BROKERS does nothing. The brokers are those that Port names",
        ),
        ({"port": {"orgId": "BneDt"}}, "port.orgId is BneDt; those of Port begin with org_"),
        ({"routes": {"list": ROUTES}}, "routes call ./scripts/create.sh, and scripts.* are not given"),
        ({"routes": {"list": ROUTES}}, "routes call Python actions, and python.* are not given"),
        (
            {"rolloutStrategy": "Recreate", "persistence": {"enabled": True}},
            "rolloutStrategy is not used: a StatefulSet (persistence.enabled) replaces its pods one after another",
        ),
    ],
)
def test_helm_says_what_the_values_call_for(values: dict[str, Any], said: str) -> None:
    assert said in notes(values)


@pytest.mark.chart
def test_of_routes_whose_programs_and_actions_are_given_nothing_is_said() -> None:
    assert "routes call" not in notes(COMBINATIONS["everything from values"])


@pytest.mark.chart
def test_names_do_not_repeat_themselves(helm: str) -> None:
    assert render(helm, {"fullnameOverride": "x" * 60}).workload["metadata"]["name"] == "x" * 52
    named = render(helm, {"nameOverride": "lease"})
    assert named.workload["metadata"]["name"] == "release"
