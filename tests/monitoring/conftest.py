"""Where Prometheus' programs are. A missing one fails; it never skips."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def prometheus_bin() -> Path:
    """The directory that holds `prometheus` and `promtool`."""
    where = os.environ.get("PROMETHEUS_BIN")
    assert where, 'set PROMETHEUS_BIN="$(.ci/prometheus/fetch)"'
    return Path(where)
