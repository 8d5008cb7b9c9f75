"""One context for all tests of a process that look at no root: to read those takes a tenth of a second a time."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any

from agent.net.tls import tls_context

_USUAL = {"verify": True, "ca_file": None, "client_cert": None, "client_key": None}


@cache
def usual_tls() -> ssl.SSLContext:
    """What `tls_context` makes without options. Nobody may change it."""
    return tls_context()


def shared_tls_context(**options: Any) -> ssl.SSLContext:
    """In place of `tls_context`: with the usual options, however given, `usual_tls`."""
    return usual_tls() if _USUAL | options == _USUAL else tls_context(**options)
