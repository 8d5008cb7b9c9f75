"""Executors' clients share one TLS context."""

from tests.net.conftest import usual_tls

__all__ = ["usual_tls"]
