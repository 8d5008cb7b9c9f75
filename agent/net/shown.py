"""URLs as they may be shown: credentials and query strings hold secrets."""

from __future__ import annotations

import httpx

_DEFAULT_PORTS = {"http": 80, "https": 443}


def shown_url(url: httpx.URL) -> str:
    """Scheme, host, port and path, in their spelling on the wire."""
    path = url.raw_path.decode("ascii").partition("?")[0]
    return f"{url.scheme}://{url.netloc.decode('ascii')}{path}"


def shown_place(url: httpx.URL) -> str:
    """``host:port``, also where the URL leaves the port to its scheme."""
    host = url.netloc.decode("ascii")
    return host if url.port else f"{host}:{_DEFAULT_PORTS.get(url.scheme, 0)}"
