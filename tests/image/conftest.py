"""What all tests of the built image share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.whole.world import World, opened


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("image")) as world:
        yield world
        world.check_nothing_ended_twice()
