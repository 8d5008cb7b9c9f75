"""Whether a cluster would take a manifest: the schemas of Kubernetes from 1.28 to 1.36, and of custom resources."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.chart.rendering import Manifest, tools

VERSIONS = tuple(f"1.{minor}" for minor in range(28, 37))


def complaints(manifest: Manifest, version: str) -> list[str]:
    """What a cluster of this version would say against it."""
    validator = _validator(manifest["kind"], manifest["apiVersion"], version)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(manifest)]


@cache
def _validator(kind: str, api_version: str, version: str) -> Draft202012Validator:
    custom = tools() / "crds" / f"{kind}.json"
    if custom.exists():
        schema = json.loads(custom.read_text("utf-8"))
        assert api_version in {"keda.sh/v1alpha1", "monitoring.coreos.com/v1"}
        return Draft202012Validator(schema)
    # rbac.authorization.k8s.io/v1 is rbac-v1 in the names of files.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    path = tools() / "kubernetes" / version / f"{kind.lower()}-{group}.json"
    assert path.exists(), f"Kubernetes {version} knows no {api_version} {kind}"
    return Draft202012Validator(json.loads(path.read_text("utf-8")), registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    path = tools() / "kubernetes" / version / "_definitions.json"
    resource: Resource[Any] = Resource.from_contents(json.loads(path.read_text("utf-8")))
    registry: Registry[Any] = Registry()
    return resource @ registry
