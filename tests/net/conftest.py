from __future__ import annotations

import ssl

import pytest
import trustme

from agent.net.tls import tls_context


@pytest.fixture(scope="session", autouse=True)
def usual_tls() -> ssl.SSLContext:
    """Everybody's who trusts the usual roots, as long as this is kept: to read them takes a tenth of a second."""
    return tls_context()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()
