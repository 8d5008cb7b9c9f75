"""What the built image is made of, and what it says of itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import agent
from tests.image.container import image, inspected, told_by

pytestmark = pytest.mark.image

ROOT = Path(__file__).parents[2]
PYTHON = "/opt/action-agent/bin/python"
MOST_ADDED_BYTES = 110_000_000
LIST_PACKAGES = """
import importlib.metadata, json, sysconfig
found = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
print(json.dumps({package.name: package.version for package in found}))
"""
LIST_UNCOMPILED = """
import importlib.util, pathlib, sysconfig
modules = pathlib.Path(sysconfig.get_path("purelib")).rglob("*.py")
print(*(module for module in modules if not pathlib.Path(importlib.util.cache_from_source(str(module))).exists()))
"""
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = open(sys.argv[1], encoding="utf-8").read()
sys.exit(JsonStrictValidator(SchemaVersion.from_version(sys.argv[2])).validate_str(text))
"""


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    return inspected(image())


@pytest.fixture(scope="module")
def python_packages() -> dict[str, str]:
    """Every Python package beside the agent, itself included, with its version."""
    found = json.loads(told_by(PYTHON, "-c", LIST_PACKAGES))
    return {canonicalize_name(name): version for name, version in found.items()}


@pytest.fixture(scope="module")
def sbom(sbom_file: Future[Path]) -> dict[str, Any]:
    """What ``make sbom`` says, which is a valid CycloneDX document."""
    file = sbom_file.result()
    document = dict(json.loads(file.read_text("utf-8")))
    validator = [str(ROOT / ".cache/image/venv/bin/python"), "-c", VALIDATE, str(file), document["specVersion"]]
    valid = subprocess.run(validator, capture_output=True, text=True, timeout=60, check=False)
    assert valid.returncode == 0, valid.stderr
    return document


def listed(sbom: dict[str, Any], kind: str) -> set[tuple[str, str]]:
    """Names and versions of the packages of a kind."""
    return {(c["name"], c["version"]) for c in sbom["components"] if c.get("purl", "").startswith(f"pkg:{kind}/")}


def test_it_says_which_version_and_commit_it_is(about: dict[str, Any]) -> None:
    labels = about["Labels"]
    assert labels["org.opencontainers.image.version"] == agent.__version__
    git = ["/usr/bin/env", "git", "rev-parse", "HEAD"]
    head = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == (head or "unknown")


def test_it_is_configured_as_the_dockerfile_says(about: dict[str, Any]) -> None:
    config = about["Config"]
    assert config["User"] == "10001:10001"
    assert (config["Entrypoint"], config["Cmd"]) == (["action-agent"], ["run"])
    assert set(config["Volumes"]) == {"/tmp", "/var/lib/action-agent"}
    assert set(config["ExposedPorts"]) == {"8080/tcp"}


def test_it_adds_little_to_its_base(about: dict[str, Any]) -> None:
    base = inspected(about["Labels"]["org.opencontainers.image.base.name"])
    added = about["Size"] - base["Size"]
    assert 0 < added < MOST_ADDED_BYTES, f"{added:,} bytes"


def test_its_python_packages_are_those_that_are_pinned_and_no_others(python_packages: dict[str, str]) -> None:
    text = (ROOT / "requirements" / "otel.txt").read_text("utf-8")
    pins = [Requirement(line.rstrip("\\ ")) for line in text.splitlines() if re.match(r"\w", line)]
    allowed = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    always = {canonicalize_name(pin.name) for pin in pins if pin.marker is None}
    installed = dict(python_packages)
    assert installed.pop("port-action-agent") == agent.__version__
    assert installed.items() <= allowed.items()
    assert always <= installed.keys()


def test_how_its_builder_reached_the_packages_is_not_in_it(about: dict[str, Any]) -> None:
    everything = json.dumps(about)
    for word in ("PIP_", "_PROXY", "_proxy", "pip.conf", "ca.pem", "index-url"):
        assert word not in everything
    told = told_by("sh", "-c", "ls -A /run/secrets /build /etc/pip.conf 2>&1; true").splitlines()
    assert len(told) == 3
    assert all("No such file" in line for line in told)


def test_every_module_comes_with_bytecode_that_nobody_has_to_write() -> None:
    """Else each start on a read-only root would compile it anew."""
    assert told_by(PYTHON, "-c", LIST_UNCOMPILED).split() == []


def test_the_sbom_lists_every_python_package(sbom: dict[str, Any], python_packages: dict[str, str]) -> None:
    named = {(canonicalize_name(name), version) for name, version in listed(sbom, "pypi")}
    assert python_packages.items() <= named


def test_the_sbom_lists_every_debian_package(sbom: dict[str, Any]) -> None:
    told = told_by("dpkg-query", "--show", "--showformat=${Package} ${Version}\n")
    packages = {tuple(line.split()) for line in told.splitlines()}
    assert len(packages) > 50
    assert listed(sbom, "deb") == packages


def test_the_sbom_says_of_which_image_it_is(sbom: dict[str, Any]) -> None:
    component = sbom["metadata"]["component"]
    assert (component["type"], component["name"]) == ("container", os.environ["IMAGE"])
