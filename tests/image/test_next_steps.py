"""What `make image` says once it has built; that the chart takes what it says is tried in tests/chart."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def said(name: str) -> str:
    return subprocess.run(
        [ROOT / ".ci/image/next", name, "docker"], check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    ("name", "registry", "repository", "tag"),
    [
        ("registry.internal/action-agent:0.1.0", "registry.internal", "action-agent", "0.1.0"),
        ("localhost:5000/team/agent", "localhost:5000", "team/agent", "latest"),
        ("localhost/agent:1", "localhost", "agent", "1"),
    ],
)
def test_an_image_of_a_registry_is_pushed_and_installed(
    name: str, registry: str, repository: str, tag: str
) -> None:
    options = f"--set image.registry={registry} --set image.repository={repository} --set-string image.tag={tag}"
    assert said(name).splitlines() == [
        f"built {name}",
        f"push it:    docker push {name}",
        f"install it: helm install … {options}",
    ]


@pytest.mark.parametrize("name", ["action-agent", "team/action-agent:ci"])
def test_an_image_without_a_registry_needs_one_for_a_cluster(name: str) -> None:
    built, hint = said(name).splitlines()
    assert built == f"built {name}"
    assert hint.endswith(f"make image IMAGE=REGISTRY/{name.partition(':')[0]}:TAG")
    assert "push" not in hint


def test_it_is_said_at_the_end_of_every_build() -> None:
    assert (ROOT / ".ci/image/build").read_text().rstrip().endswith('"$root/.ci/image/next" "$name" "$engine"')
