"""The scripts that build an image and list what is in it, with an engine that only notes what it is told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SCRIPTS = Path(__file__).parents[2] / ".ci" / "image"


def _script(name: str, *arguments: str, engine: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / name, *arguments],
        env={"PATH": os.environ["PATH"], "ENGINE": engine},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _noting(tmp_path: Path) -> tuple[str, Path]:
    engine, notes = tmp_path / "nerdctl", tmp_path / "notes"
    engine.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{notes}"\n')
    engine.chmod(0o755)
    return str(engine), notes


def test_an_image_is_built_by_its_name_alone(tmp_path: Path) -> None:
    engine, notes = _noting(tmp_path)
    ended = _script("build", "some-name", engine=engine)
    assert ended.returncode == 0, ended.stderr
    assert notes.read_text().splitlines()[:3] == ["build", "--tag", "some-name"]


def test_an_engine_that_the_list_cannot_be_had_from_is_named(tmp_path: Path) -> None:
    engine, _ = _noting(tmp_path)
    ended = _script("sbom", "some-name", str(tmp_path / "sbom.json"), engine=engine)
    assert ended.returncode == 1
    assert (
        ended.stderr
        == f"how {engine} gives out an image is not known here: set ENGINE to docker, buildah or podman\n"
    )
