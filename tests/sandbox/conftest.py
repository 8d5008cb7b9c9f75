"""What the sandbox's tests need of the machine."""

from __future__ import annotations

import shutil

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium, which .ci/run installs")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found is not None, (
        "these tests need Chromium: apt-get install chromium, or deselect the marker `browser`"
    )
    return found
