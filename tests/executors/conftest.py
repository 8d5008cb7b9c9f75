"""Executors whose clients trust the usual roots share them."""

from __future__ import annotations

import pytest

from agent.executors import http_pool
from tests.net.usual_tls import shared_tls_context


@pytest.fixture(autouse=True)
def _usual_roots_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "tls_context", shared_tls_context)
