"""The clients of all http routes: routes that trust the same and present the same share one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx

from agent import __version__
from agent.net.client import open_client
from agent.net.proxy import ProxyRules
from agent.net.tls import tls_context

KEEPALIVE_S = 4.0
"""Many servers close after 5 s of silence; ours must be gone by then, lest a request meets the closing."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What makes two routes need different clients."""

    verify: bool = True
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    allow_link_local: bool = False

    def fingerprint(self) -> tuple[object, ...]:
        """Equal for equal options as long as the files stay as they are: a renewed certificate is a new client."""
        files = (self.ca_file, self.client_cert, self.client_key)
        return (self, *(_modified_ns(path) for path in files))


class ClientPool:
    """Opens clients on demand and closes them together. Not thread-safe."""

    def __init__(self, proxies: ProxyRules, max_connections: int) -> None:
        self._proxies = proxies
        self._max_connections = max_connections
        self._clients: dict[tuple[object, ...], httpx.AsyncClient] = {}

    def client(self, options: ClientOptions) -> httpx.AsyncClient:
        """The client for these options, which needs no loop until it sends. Raises `TlsFileError`."""
        key = options.fingerprint()
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = self._open(options)
        return client

    async def close(self) -> None:
        """Closes every client with all its connections. Idempotent."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    def _open(self, options: ClientOptions) -> httpx.AsyncClient:
        tls = tls_context(
            verify=options.verify,
            ca_file=options.ca_file,
            client_cert=options.client_cert,
            client_key=options.client_key,
        )
        return open_client(
            tls=tls,
            max_connections=self._max_connections,
            timeout=httpx.Timeout(None),
            user_agent=f"port-action-agent/{__version__}",
            keepalive_s=KEEPALIVE_S,
            allow_link_local=options.allow_link_local,
            proxies=self._proxies,
        )


def _modified_ns(path: Path | None) -> int | None:
    try:
        return None if path is None else path.stat().st_mtime_ns
    except OSError:
        return None
