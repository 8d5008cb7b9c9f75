"""The image under test, run as a strict cluster runs it: a read-only root, no capabilities, no new privileges."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

Ended = subprocess.CompletedProcess[str]

PODMAN = shutil.which("podman") or "podman"

STRICT = (
    "--pull=never",
    "--read-only",
    "--read-only-tmpfs=false",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    # Podman would raise these, which not every machine lets it.
    "--ulimit=nofile=4096:4096",
    "--ulimit=nproc=4096:4096",
)
"""Podman's filter of system calls is on beside these, as with ``RuntimeDefault`` in a cluster."""

NO_NETWORK = ("--network=none",)

ANY_USER = (
    "--user=54321:0",
    "--passwd=false",
    "--mount=type=tmpfs,destination=/tmp,tmpfs-mode=0777",
    "--mount=type=tmpfs,destination=/var/lib/action-agent,tmpfs-mode=0777",
)
"""As OpenShift does it: a user that the image has no name for, in group 0, with an ``emptyDir`` on each volume."""


def image() -> str:
    """The name of the image under test; fails the test where nobody said it."""
    name = os.environ.get("IMAGE")
    if not name:
        pytest.fail('IMAGE is not set: make image BASE_IMAGE="$(.ci/image/base)", then IMAGE=action-agent pytest …')
    return name


def podman(*arguments: str, check: bool = True) -> Ended:
    """Podman's command, run to its end; fails the test if it fails, unless ``check`` is off."""
    ended = subprocess.run([PODMAN, *arguments], capture_output=True, text=True, timeout=90, check=False)
    assert not check or ended.returncode == 0, ended.stdout + ended.stderr
    return ended


def run(*command: str, options: tuple[str, ...] = NO_NETWORK) -> Ended:
    """The image, run strictly with a command of the agent, to its end; its exit code is the agent's."""
    return podman("run", "--rm", *STRICT, *options, image(), *command, check=False)


def told_by(program: str, *arguments: str, options: tuple[str, ...] = NO_NETWORK) -> str:
    """What another program of the image prints, run strictly; fails the test if it fails."""
    return podman("run", "--rm", *STRICT, *options, f"--entrypoint={program}", image(), *arguments).stdout


def inspected(name: str) -> dict[str, Any]:
    """What podman knows of an image."""
    (told,) = json.loads(podman("image", "inspect", name).stdout)
    return dict(told)
