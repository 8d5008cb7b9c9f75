"""A key with nothing below it: where all of it is commented out, YAML says null."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.chart.documented_values import HELM
from tests.chart.rendering import NEEDED, RefusedError, Values, merged, render_alone
from tests.chart.schemas import complaints

pytestmark = pytest.mark.chart
EVERYTHING: Values = {
    "keda": {"enabled": True, "maxReplicas": 3},
    "networkPolicy": {"enabled": True},
    "replicaCount": 2,
    "metrics": {name: {"enabled": True} for name in ("podMonitor", "prometheusRule", "dashboard")},
}
"""So that as much as can be is rendered."""
NOT_EMPTY = {
    "image", "persistence", "tmp", "serviceAccount", "podSecurityContext", "containerSecurityContext", "strategy",
    "probes", "podDisruptionBudget", "resources",
}  # fmt: skip
SENTENCE = "which takes away what the chart has there: leave the key out, or say what is to be"


def maps_in(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the chart's values are maps."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield (*above, key)
            yield from maps_in(value, (*above, key))


def texts_in(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where the chart's values are texts, and which."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from texts_in(value, (*above, key))
        elif isinstance(value, str):
            yield (*above, key), value


def nested(path: tuple[str, ...]) -> Values:
    """Values with nothing at this place."""
    values: Any = None
    for key in reversed(path):
        values = {key: values}
    return dict(values)


MAPS = list(maps_in(yaml.safe_load((HELM / "values.yaml").read_text("utf-8"))))


@pytest.mark.parametrize("path", MAPS, ids=".".join)
def test_an_emptied_map_is_empty_or_refused_with_a_sentence(helm: str, path: tuple[str, ...]) -> None:
    emptied = nested(path)
    needed = merged(NEEDED, {"env": {"normal": {"PORT_ORG_ID": "org_1"}}} if path == ("port",) else {})
    try:
        rendered = render_alone(helm, merged(EVERYTHING, needed, emptied))
    except RefusedError as refused:
        said = str(refused)
        assert f"nothing stands at {path[0]}, {SENTENCE}" in said or "the credentials are missing" in said
    else:
        for manifest in rendered.manifests:
            assert complaints(manifest, "1.36") == []


def test_a_file_in_which_everything_is_commented_out_is_as_none(helm: str) -> None:
    off = [path for path in MAPS if len(path) == 1 and path[0] not in {*NEEDED, *NOT_EMPTY}]
    emptied = {path[0]: None for path in off}
    assert len(emptied) > 15
    assert render_alone(helm, merged(NEEDED, emptied)) == render_alone(helm, NEEDED)


def test_all_that_cannot_be_empty_is_said_at_once(helm: str) -> None:
    with pytest.raises(RefusedError) as refused:
        render_alone(helm, merged(NEEDED, dict.fromkeys(["image", "tmp"])))
    assert f"nothing stands at image, tmp, {SENTENCE}" in str(refused.value)


KAFKA: Values = {"enabled": True, "maxReplicas": 3, "trigger": "kafka", "kafka": {"bootstrapServers": "kafka:9092"}}


@pytest.mark.parametrize(
    ("place", "others"),
    [
        ("image.repository", {}),
        ("persistence.enabled", {}),
        ("persistence.mountPath", {}),
        ("persistence.size", {"persistence": {"enabled": True}}),
        ("port.clientIdKey", {}),
        ("port.clientSecretKey", {}),
        ("keda.trigger", {"keda": {"enabled": True, "maxReplicas": 3}}),
        ("keda.waitingRuns", {"keda": {"enabled": True, "maxReplicas": 3}}),
        *((f"keda.kafka.{name}", {"keda": KAFKA}) for name in ("sasl", "tls", "version", "usernameKey")),
    ],
    ids=str,
)
def test_an_emptied_value_that_is_needed_is_refused_with_a_sentence(helm: str, place: str, others: Values) -> None:
    emptied = nested(tuple(place.split(".")))
    with pytest.raises(RefusedError) as refused:
        render_alone(helm, merged(NEEDED, others, emptied))
    assert f"nothing stands at {place}, {SENTENCE}" in str(refused.value)


def test_an_emptied_text_is_as_the_empty_one(helm: str) -> None:
    """Where the chart's own is empty too."""
    emptied: Values = {}
    for path, text in texts_in(yaml.safe_load((HELM / "values.yaml").read_text("utf-8"))):
        if not text and path[0] not in NEEDED:
            emptied = merged(emptied, nested(path))
    assert len(emptied) > 10
    assert render_alone(helm, merged(EVERYTHING, NEEDED, emptied)) == render_alone(helm, merged(EVERYTHING, NEEDED))
