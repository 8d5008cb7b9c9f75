"""What the chart mounts, the agent takes: its own `check`, with files and variables of the rendered pod."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.combinations import COMBINATIONS
from tests.chart.rendering import Manifest, Rendered, Values, merged, render

pytestmark = pytest.mark.chart
INLINE: Values = {"port": {"existingSecret": "", "clientId": "my-id", "clientSecret": "my-s3cret"}}


def lay_out(one: Rendered, root: Path) -> None:
    """Writes below ``root`` what Kubernetes would mount from the release's own ConfigMaps and Secrets."""
    for volume in one.pod["spec"]["volumes"]:
        directory = root / one.mount(volume["name"])["mountPath"].lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        source = volume.get("configMap") or volume.get("secret") or {}
        for name, content in contents(one, volume).items():
            (directory / name).write_bytes(content)
            (directory / name).chmod(source.get("defaultMode", 0o644))


def contents(one: Rendered, volume: Manifest) -> dict[str, bytes]:
    """The files of one volume."""
    if "configMap" in volume:
        (config,) = [
            found for found in one.all("ConfigMap") if found["metadata"]["name"] == volume["configMap"]["name"]
        ]
        return {name: text.encode() for name, text in config["data"].items()}
    if "secret" in volume:
        asked = volume["secret"]
        (secret,) = [found for found in one.all("Secret") if found["metadata"]["name"] == asked["secretName"]]
        return {item["path"]: base64.b64decode(secret["data"][item["key"]]) for item in asked["items"]}
    return {}


def check(one: Rendered, root: Path) -> str:
    """What `action-agent check` says in the pod, with ``root`` for its root directory."""
    mounts = [mount["mountPath"] for mount in one.container["volumeMounts"]]
    environment = {
        name: f"{root}{value}" if any(value.startswith(mount) for mount in mounts) else value
        for name, value in one.env.items()
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("action-agent"), "check"],
        cwd=root / "etc/action-agent",  # the image's working directory
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_routes_scripts_and_python_actions_are_found(helm: str, tmp_path: Path) -> None:
    values = merged(COMBINATIONS["everything from values"], INLINE, {"python": {"path": ""}})
    one = render(helm, values)
    lay_out(one, tmp_path)
    said = check(one, tmp_path)
    assert "settings and routes are in order: 2 routes" in said
    assert "note:" not in said
    assert "warning" not in said


def test_a_broken_route_is_told_by_the_agent(helm: str, tmp_path: Path) -> None:
    values = merged(INLINE, {"routes": {"list": [{"name": "a", "match": {"action": "a"}, "proces": {}}]}})
    one = render(helm, values)
    lay_out(one, tmp_path)
    assert "proces" in check(one, tmp_path)
