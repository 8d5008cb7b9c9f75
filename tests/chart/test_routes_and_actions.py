"""Routes, scripts and Python actions: where they come from, and what a change of them does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.clock import SystemClock
from agent.composition import Silent, open_registry
from agent.routing.file import RoutesReader
from agent.settings import defaults
from tests.chart.combinations import ROUTES
from tests.chart.rendering import Rendered, Values, render

pytestmark = pytest.mark.chart
FILE = """\
# As it stands in a repository.
routes:
  - name: restart
    match: {action: "restart_*"}
    http: {url: "https://ops.internal/{{ .entity.identifier }}"}
"""


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RoutesReader]:
    (tmp_path / "my_actions.py").write_text("def scaffold(run):\n    return 'done'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = open_registry(defaults({}), {}, Silent(), SystemClock())
    made = RoutesReader(registry, {})
    yield made
    made.close()


def mounted_routes(one: Rendered) -> str:
    """The text of the file that AGENT_ROUTES_PATH names."""
    assert one.env["AGENT_ROUTES_PATH"] == f"{one.mount('routes')['mountPath']}/routes.yaml"
    config = one.one("ConfigMap", "-routes")
    assert one.volume("routes")["configMap"]["name"] == config["metadata"]["name"]
    return str(config["data"]["routes.yaml"])


def test_a_list_arrives_as_it_was_given_expressions_included(helm: str, reader: RoutesReader) -> None:
    text = mounted_routes(render(helm, {"routes": {"list": ROUTES}}))
    assert yaml.safe_load(text) == {"routes": ROUTES}
    assert [route.name for route in reader.parse(text.encode(), "routes.yaml").routes] == ["create", "scaffold"]


def test_a_file_arrives_byte_for_byte(helm: str, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(FILE)
    assert mounted_routes(render(helm, {}, "--set-file", f"routes.file={tmp_path}/routes.yaml")) == FILE


def test_json_is_a_routes_file_too(helm: str) -> None:
    text = '{"routes": [{"name": "a", "match": {"action": "b"}, "http": {}}]}'
    assert mounted_routes(render(helm, {"routes": {"file": text}})).strip() == text


def test_a_change_of_routes_or_scripts_restarts_nothing(helm: str) -> None:
    """The agent reads the one again, and starts the others anew for each run."""
    first = render(helm, {"routes": {"list": ROUTES}, "scripts": {"files": {"create.sh": "#!/bin/sh\n"}}})
    second = render(
        helm, {"routes": {"list": ROUTES[:1]}, "scripts": {"files": {"create.sh": "#!/bin/sh\nexit 1\n"}}}
    )
    assert first.pod == second.pod
    assert first.all("ConfigMap") != second.all("ConfigMap")


def test_a_change_of_python_actions_rolls_the_pods(helm: str) -> None:
    """Modules are read once."""
    first, second = (render(helm, {"python": {"files": {"a.py": text}}}) for text in ("a = 1\n", "a = 2\n"))
    assert first.pod["metadata"]["annotations"] != second.pod["metadata"]["annotations"]


def test_without_routes_nothing_is_mounted(helm: str) -> None:
    one = render(helm, {})
    assert "AGENT_ROUTES_PATH" not in one.env
    assert {volume["name"] for volume in one.pod["spec"]["volumes"]} == {"state", "tmp", "credentials"}


def test_a_config_map_of_theirs_is_mounted_as_a_directory(helm: str) -> None:
    one = render(helm, {"routes": {"existingConfigMap": "my-routes", "key": "r.yml"}})
    assert one.env["AGENT_ROUTES_PATH"] == "/etc/action-agent/routes/r.yml"
    assert one.volume("routes")["configMap"] == {"name": "my-routes"}
    assert one.all("ConfigMap") == []


@pytest.mark.parametrize("values", [{"files": {"create.sh": "#!/bin/sh\n"}}, {"existingConfigMap": "my-scripts"}])
def test_scripts_can_be_executed(helm: str, values: Values) -> None:
    one = render(helm, {"scripts": values})
    assert one.volume("scripts")["configMap"]["defaultMode"] == 0o555
    # Routes call them ./scripts/NAME: from the image's working directory.
    assert one.mount("scripts")["mountPath"] == "/etc/action-agent/scripts"


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"files": {"a.py": "a = 1\n"}}, "/etc/action-agent/python"),
        ({"existingConfigMap": "mine"}, "/etc/action-agent/python"),
        ({"path": "/opt/a:/opt/b"}, "/opt/a:/opt/b"),
        ({"files": {"a.py": "a = 1\n"}, "path": "/opt/a"}, "/etc/action-agent/python:/opt/a"),
        ({}, None),
    ],
)
def test_python_actions_are_found(helm: str, values: Values, path: str | None) -> None:
    one = render(helm, {"python": values})
    assert one.env.get("AGENT_PYTHONPATH") == path


def test_the_image_looks_where_the_chart_mounts() -> None:
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text("utf-8")
    assert "\nWORKDIR /etc/action-agent\n" in dockerfile
    assert "AGENT_STATE_DIR=/var/lib/action-agent\n" in dockerfile


def test_extra_cas_are_trusted_by_what_they_are_for(helm: str) -> None:
    def cas(extra: dict[str, Any]) -> dict[str, Any]:
        one = render(helm, {"extraCA": extra})
        assert one.mount("ca") == {"name": "ca", "mountPath": "/etc/action-agent/ca", "readOnly": True}
        return {name: value for name, value in one.env.items() if "CA_FILE" in name or "CERT_FILE" in name}

    assert cas({"configMap": "corporate"}) == {"SSL_CERT_FILE": "/etc/action-agent/ca/ca.crt"}
    assert cas({"secret": "corporate", "key": "all.pem", "kafka": True}) == {
        "SSL_CERT_FILE": "/etc/action-agent/ca/all.pem",
        "AGENT_KAFKA_CA_FILE": "/etc/action-agent/ca/all.pem",
    }
