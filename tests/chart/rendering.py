"""Renders the chart with a real Helm, as a user would."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.chart.documented_values import HELM

Values = dict[str, Any]
Manifest = dict[str, Any]

HELMS = ("helm3", "helm4")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OPTIONS = ("--namespace", "actions", "--values", "-")
NEEDED: Values = {"port": {"orgId": "org_1", "existingSecret": "port-credentials"}}
"""What nobody can do without."""


class RefusedError(Exception):
    """Helm refused the values; the text is what the user reads."""


def tools() -> Path:
    """Where `.ci/helm/fetch` has put Helm and the schemas."""
    given = os.environ.get("CHART_TOOLS", "")
    assert given, 'CHART_TOOLS is not set: CHART_TOOLS="$(.ci/helm/fetch)" .venv/bin/python -m pytest -m chart'
    return Path(given)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The manifests of one release."""

    manifests: tuple[Manifest, ...]

    def all(self, kind: str) -> list[Manifest]:
        """Those of one kind."""
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str = "") -> Manifest:
        """The only one of its kind, or of those the one whose name ends so."""
        (found,) = [one for one in self.all(kind) if one["metadata"]["name"].endswith(name)]
        return found

    @property
    def kinds(self) -> set[str]:
        """Which kinds there are."""
        return {manifest["kind"] for manifest in self.manifests}

    @property
    def workload(self) -> Manifest:
        """The Deployment or StatefulSet."""
        (found,) = [*self.all("Deployment"), *self.all("StatefulSet")]
        return found

    @property
    def pod(self) -> Manifest:
        """The agent's pod, as its template says."""
        template: Manifest = self.workload["spec"]["template"]
        return template

    @property
    def doctor(self) -> Manifest:
        """The doctor's pod."""
        return self.one("Pod")

    @property
    def container(self) -> Manifest:
        """The agent's container."""
        found: Manifest = self.pod["spec"]["containers"][0]
        return found

    @property
    def env(self) -> dict[str, Any]:
        """The container's variables: texts, or where they come from."""
        return {one["name"]: one.get("value", one.get("valueFrom")) for one in self.container["env"]}

    def volume(self, name: str) -> Manifest:
        """One of the pod's volumes."""
        (found,) = [one for one in self.pod["spec"]["volumes"] if one["name"] == name]
        return dict(found)

    def mount(self, name: str) -> Manifest:
        """Where the agent's container has it."""
        (found,) = [one for one in self.container["volumeMounts"] if one["name"] == name]
        return dict(found)


def merged(*parts: Values) -> Values:
    """The later ones over the earlier ones, as Helm does it with several values files."""
    whole: Values = {}
    for part in parts:
        for key, value in part.items():
            old = whole.get(key)
            whole[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return whole


def render(helm: str, values: Values, *arguments: str) -> Rendered:
    """The manifests for these values over `NEEDED`. Raises `RefusedError`."""
    return render_alone(helm, merged(NEEDED, values), *arguments)


def render_alone(helm: str, values: Values, *arguments: str) -> Rendered:
    """The manifests for these values and no others."""
    return Rendered(_template(helm, yaml.safe_dump(values), arguments))


@cache
def _template(helm: str, values: str, arguments: tuple[str, ...]) -> tuple[Manifest, ...]:
    command = [tools() / helm, "template", "release", HELM, *_OPTIONS, *arguments]
    done = run(command, values)
    return tuple(one for one in yaml.load_all(done, Loader=_LOADER) if one is not None)


def notes(values: Values) -> str:
    """What `helm install` says in the end for these values over `NEEDED`."""
    return notes_alone(merged(NEEDED, values))


def notes_alone(values: Values) -> str:
    """The same for these values and no others. By Helm 4: Helm 3 wants a cluster even for a dry run."""
    command = [tools() / "helm4", "install", "release", HELM, *_OPTIONS, "--dry-run=client"]
    return run(command, yaml.safe_dump(values)).partition("NOTES:\n")[2]


def run(command: list[Any], stdin: str = "") -> str:
    """What the command prints. Raises `RefusedError` with what it complains of."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RefusedError(done.stderr)
    assert "warning" not in done.stderr.lower(), done.stderr
    return done.stdout
