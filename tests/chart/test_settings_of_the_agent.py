"""From values to the agent's settings: each can be reached, and arrives as it was meant."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

from agent.settings import Settings
from tests.chart.derived import MADE_BY_OTHER_VALUES, SCHEMA
from tests.chart.documented_values import HELM
from tests.chart.rendering import RefusedError, Rendered, Values, render

SCHEMA_OF_SETTINGS: dict[str, Any] = json.loads(SCHEMA.read_text("utf-8"))["definitions"]["settings"]["properties"]
EXAMPLES: dict[str, Any] = {
    "PORT_API_BASE_URL": "https://api.us.port.io",
    "STREAMER_NAME": "POLLING",
    "KAFKA_CONSUMER_GROUP_ID": "org_1.mine",
    "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": "kafka-1:9092,kafka-2:9092",
    "KAFKA_RUNS_TOPIC": "runs",
    "KAFKA_CHANGE_LOG_TOPIC": "changes",
    "AGENT_RUN_ID_PATH": ".id",
    "AGENT_HTTP_HOST": "127.0.0.1",
}
"""Values of settings that are texts of any kind."""


def another_value(name: str) -> Any:
    """A value that is not the default."""
    schema, default = SCHEMA_OF_SETTINGS[name], Settings.model_fields[name].default
    if name in EXAMPLES:
        return EXAMPLES[name]
    if "enum" in schema:
        return next(word for word in schema["enum"] if word and str(word).lower() != str(default).lower())
    match schema["type"][0]:
        case "boolean":
            return not default
        case "integer" | "number":
            return default + 1_000_000 if "maximum" not in schema and default else schema.get("maximum", 7)
        case _:
            return f"/some/{name.lower()}"


def settings_in(one: Rendered, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What the agent reads in the rendered pod; files stand for made-up credentials."""
    for name in os.environ:
        if {name, name.removesuffix("_FILE")} & Settings.model_fields.keys():
            monkeypatch.delenv(name)
    for name, value in one.env.items():
        monkeypatch.setenv(name, value)
    return Settings(PORT_CLIENT_ID="id", PORT_CLIENT_SECRET="s3cret")  # type: ignore[call-arg,arg-type]


def test_the_schema_knows_every_setting() -> None:
    assert SCHEMA_OF_SETTINGS.keys() == Settings.model_fields.keys()


@pytest.mark.chart
def test_every_setting_can_be_given_and_arrives(helm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: another_value(name) for name in Settings.model_fields if name not in MADE_BY_OTHER_VALUES}
    loaded = settings_in(render(helm, {"settings": given}), monkeypatch)
    for name, value in given.items():
        arrived, default = getattr(loaded, name), Settings.model_fields[name].default
        meant = type(arrived)(value)
        assert str(arrived).lower() == str(meant).lower(), name
        assert arrived != default, f"{name}: the example is the default"


@pytest.mark.chart
def test_those_of_other_values_arrive_too(helm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values: Values = {
        "port": {"orgId": "org_2", "baseUrl": "https://api.us.port.io"},
        "routes": {"path": "my/routes.yaml"},
        "python": {"path": "/opt/actions"},
        "persistence": {"mountPath": "/state"},
        "terminationGracePeriodSeconds": 600,
    }
    one = render(helm, values)
    loaded = settings_in(one, monkeypatch)
    arrived = {name: getattr(loaded, name) for name in MADE_BY_OTHER_VALUES}
    assert {name: str(arrived[name]) for name in arrived if "CLIENT" not in name} == {
        "PORT_ORG_ID": "org_2",
        "PORT_API_BASE_URL": "https://api.us.port.io",
        "AGENT_ROUTES_PATH": "my/routes.yaml",
        "AGENT_PYTHONPATH": "/opt/actions",
        "AGENT_STATE_DIR": "/state",
        "AGENT_TERMINATION_GRACE_S": "600.0",
    }
    assert one.mount("state")["mountPath"] == "/state"


@pytest.mark.chart
@pytest.mark.parametrize("name", sorted(MADE_BY_OTHER_VALUES))
def test_where_another_value_makes_a_setting_it_is_named(helm: str, name: str) -> None:
    with pytest.raises(RefusedError, match=rf"settings\.{name} cannot be given there: give \w+"):
        render(helm, {"settings": {name: "77"}})


def read_by_the_chart() -> set[str]:
    """Settings that the templates make something of besides a variable."""
    text = "".join(path.read_text("utf-8") for path in (HELM / "templates").rglob("*") if path.is_file())
    return set(re.findall(r'"action-agent\.setting" \(list \S+ "(\w+)"', text)) - MADE_BY_OTHER_VALUES


def test_what_the_chart_reads_is_found() -> None:
    assert {"AGENT_HTTP_PORT", "AGENT_DRAIN_TIMEOUT_S", "KAFKA_CONSUMER_GROUP_ID"} <= read_by_the_chart()


@pytest.mark.chart
@pytest.mark.parametrize("name", sorted(MADE_BY_OTHER_VALUES | read_by_the_chart()))
def test_what_the_chart_makes_or_reads_does_not_come_past_it(helm: str, name: str) -> None:
    right = rf"settings\.{name}" if name in read_by_the_chart() else r"\w+"
    with pytest.raises(RefusedError, match=rf"extraEnv\.{name} cannot be given there: give {right}"):
        render(helm, {"extraEnv": [{"name": name, "value": "77"}]})
    if name not in {"PORT_CLIENT_ID", "PORT_CLIENT_SECRET"}:
        with pytest.raises(RefusedError, match=rf"env\.secret\.{name} cannot be given there: give {right}"):
            render(helm, {"env": {"secret": {name: "77"}}})


@pytest.mark.chart
@pytest.mark.parametrize(
    ("given", "arrives"),
    [
        (1000000, "1000000"),
        ("1000000", "1000000"),
        (0.5, "0.5"),
        (True, "true"),
        ("True", "True"),
        ("", None),
        (None, None),
    ],
)
def test_values_arrive_as_they_are_written(helm: str, given: Any, arrives: str | None) -> None:
    names = {bool: "WEBHOOK_VERIFY_SSL", int: "AGENT_MAX_WAITING_RUNS", float: "AGENT_JQ_TIMEOUT_S"}
    name = names.get(type(given), "WEBHOOK_VERIFY_SSL" if given == "True" else "AGENT_MAX_WAITING_RUNS")
    assert render(helm, {"settings": {name: given}}).env.get(name) == arrives


@pytest.mark.chart
def test_a_text_with_a_unit_is_refused_with_the_unit_that_is_meant(helm: str) -> None:
    """All at once: where the schema has no pattern for a number, the templates have a sentence."""
    numbers = {
        name
        for name, schema in SCHEMA_OF_SETTINGS.items()
        if {"integer", "number"} & set(schema.get("type", ())) and "pattern" not in schema
    }
    meant = {name: "milliseconds" if name.endswith("_MS") else "seconds" for name in numbers}
    meant |= {name: "bytes" for name in numbers if name.endswith("_BYTES")}
    assert set(meant.values()) == {"seconds", "milliseconds", "bytes"}
    given = dict.fromkeys(numbers - MADE_BY_OTHER_VALUES, "10m")
    with pytest.raises(RefusedError) as refused:
        render(helm, {"settings": given})
    for name in given:
        assert f"{name} is 10m: give {meant[name]}, as a " in str(refused.value)


@pytest.mark.chart
def test_a_changed_setting_rolls_the_pods(helm: str) -> None:
    before, after = (render(helm, {"settings": {"LOG_LEVEL": level}}) for level in ("INFO", "DEBUG"))
    assert before.pod != after.pod


@pytest.mark.chart
def test_the_port_is_the_same_everywhere(helm: str) -> None:
    keda = {"enabled": True, "maxReplicas": 3}
    one = render(helm, {"settings": {"AGENT_HTTP_PORT": 9090}, "keda": keda, "networkPolicy": {"enabled": True}})
    assert one.env["AGENT_HTTP_PORT"] == "9090"
    assert one.container["ports"] == [{"name": "http", "containerPort": 9090}]
    assert one.one("Service")["spec"]["ports"] == [{"name": "http", "port": 9090, "targetPort": "http"}]
    assert one.one("NetworkPolicy")["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "http"}]
    (trigger,) = one.one("ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["url"] == "http://release-action-agent.actions.svc:9090/metrics"


def test_env_example_names_what_the_chart_takes() -> None:
    text = (HELM.parent / ".env.example").read_text("utf-8")
    named = {line.removeprefix("# ").partition("=")[0] for line in text.splitlines() if "=" in line}
    assert SCHEMA_OF_SETTINGS.keys() <= named
