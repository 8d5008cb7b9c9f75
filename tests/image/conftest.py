"""What all tests of the built image share. What takes long begins with the first test, beside the others."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.image.container import ANY_USER, NO_NETWORK, Ended, run
from tests.whole.world import World, opened

ROOT = Path(__file__).parents[2]
USERS = {"its own user": (), "any user of group 0": ANY_USER}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("image")) as world:
        yield world
        world.check_nothing_ended_twice()


@pytest.fixture(scope="session")
def sandboxes() -> Iterator[dict[str, Future[Ended]]]:
    """``sandbox --once``, by each kind of user."""
    with ThreadPoolExecutor() as threads:
        yield {
            user: threads.submit(run, "sandbox", "--once", options=(*NO_NETWORK, *options))
            for user, options in USERS.items()
        }


@pytest.fixture(scope="session")
def sbom_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Path]]:
    """What ``make sbom`` writes."""
    file = tmp_path_factory.mktemp("sbom") / "sbom.cdx.json"

    def make() -> Path:
        command = ["/usr/bin/env", "make", "--no-print-directory", "sbom", f"SBOM={file}"]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
        assert made.returncode == 0, made.stdout + made.stderr
        return file

    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(make)


@pytest.fixture(scope="session", autouse=True)
def _begun_early(request: pytest.FixtureRequest) -> None:
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = {name for item in items for name in item.fixturenames}
    for name in ("sandboxes", "sbom_file"):
        if name in wanted:
            request.getfixturevalue(name)
