from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme
import uvloop

from agent.net.tls import tls_context


@pytest.fixture(scope="session", autouse=True)
def usual_tls() -> ssl.SSLContext:
    """Everybody's who trusts the usual roots, as long as this is kept: to read them takes a tenth of a second."""
    return tls_context()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["uvloop", "asyncio"], autouse=True)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are made otherwise on each loop: `run` has uvloop's, commands and other tests asyncio's."""
    if request.param == "uvloop":
        monkeypatch.setattr(asyncio, "run", uvloop.run)
