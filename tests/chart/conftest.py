"""Every test that renders does so with Helm 3 and Helm 4."""

from __future__ import annotations

import pytest

from tests.chart.rendering import HELMS


@pytest.fixture(params=HELMS)
def helm(request: pytest.FixtureRequest) -> str:
    """Which Helm."""
    return str(request.param)
