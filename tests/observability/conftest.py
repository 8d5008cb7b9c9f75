"""Every test of this room leaves the process's logging as it found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.observability.helpers import logging_as_before


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    with logging_as_before():
        yield
