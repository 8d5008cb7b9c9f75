"""The values that `action-agent migrate` writes render, and give a pod what the old ones gave it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.commands.migrate import Given, migrate
from tests.chart.combinations import COMBINATIONS, OFFICIAL
from tests.chart.rendering import Rendered, render_alone

pytestmark = pytest.mark.chart


def migrated(helm: str, values: dict[str, Any], home: Path) -> Rendered:
    old = home / "old.yaml"
    old.write_text(yaml.safe_dump(values))
    said: list[str] = []
    assert migrate(Given(values=old, out=home / "new"), {}, said.append) == 0, said
    return render_alone(helm, yaml.safe_load((home / "new" / "values.yaml").read_text()))


def test_the_old_chart_s_values(helm: str, tmp_path: Path) -> None:
    before, after = render_alone(helm, OFFICIAL), migrated(helm, OFFICIAL, tmp_path)
    gone = {"CONTROL_THE_PAYLOAD_CONFIG_PATH", "GROUP_PROJECT_TOKEN"}
    assert {n: v for n, v in before.env.items() if n not in gone}.items() <= after.env.items()
    assert "CONTROL_THE_PAYLOAD_CONFIG_PATH" not in after.env
    assert after.env["AGENT_ROUTES_PATH"]
    assert after.container["envFrom"] == [{"secretRef": {"name": "action-agent-credentials"}}]
    assert after.volume("credentials")["secret"]["secretName"] == "action-agent-credentials"
    assert [one["metadata"]["name"] for one in after.all("Secret")] == ["port-agent-cert"]
    assert after.workload["spec"]["strategy"] == before.workload["spec"]["strategy"]
    assert after.workload["spec"]["replicas"] == before.workload["spec"]["replicas"]
    for part in ("securityContext", "imagePullSecrets", "nodeSelector"):
        assert after.pod["spec"][part] == before.pod["spec"][part]
    routes = next(one for one in after.all("ConfigMap") if "routes.yaml" in one["data"])
    assert routes["data"]["routes.yaml"] == (tmp_path / "new" / "routes.yaml").read_text()


@pytest.mark.parametrize("mapping", ["[]", '[{"enabled": false, "url": "\\"https://ci.internal/\\""}]'])
def test_those_of_a_mapping_file_that_takes_nothing(helm: str, tmp_path: Path, mapping: str) -> None:
    after = migrated(helm, OFFICIAL | {"controlThePayloadConfig": mapping}, tmp_path)
    assert "AGENT_ROUTES_PATH" not in after.env
    path = Path(after.env["CONTROL_THE_PAYLOAD_CONFIG_PATH"])
    files = [one["data"][path.name] for one in after.all("ConfigMap") if path.name in one["data"]]
    assert [yaml.safe_load(text) for text in files] == [[]]


def test_those_with_a_secret_of_their_own(helm: str, tmp_path: Path) -> None:
    values = COMBINATIONS["port-agent with a secret of its own"]
    before, after = render_alone(helm, values), migrated(helm, values, tmp_path)
    assert after.all("Secret") == []
    for part in ("envFrom", "volumeMounts"):
        assert after.container[part] == before.container[part]
    assert after.pod["spec"]["serviceAccountName"] == "old-account"
    assert after.volume("ca") == before.volume("ca")
