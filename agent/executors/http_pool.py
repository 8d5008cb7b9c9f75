"""The clients of all http routes: routes that trust the same and present the same share one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from agent import __version__
from agent.net.client import Client, open_client
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

    def fingerprint(self) -> tuple[int | None, ...]:
        """Another one once a file was renewed."""
        return tuple(map(_modified_ns, (self.ca_file, self.client_cert, self.client_key)))


@dataclass(eq=False, slots=True)
class _Shared:
    """A client and the number of requests that it is busy with. Before the first one it holds nothing open."""

    client: Client
    fingerprint: tuple[int | None, ...]
    requests: int = 0
    used: bool = False


class ClientPool:
    """One client for each `ClientOptions` that was prepared; closes them together. Not thread-safe.

    A client whose files were renewed makes room for a new one, and is closed once no request needs it any more.
    """

    def __init__(self, proxies: ProxyRules, max_connections: int) -> None:
        self._proxies = proxies
        self._max_connections = max_connections
        self._current: dict[ClientOptions, _Shared] = {}
        self._outdated: set[_Shared] = set()

    def prepare(self, options: ClientOptions) -> None:
        """Reads the files of ``options``, if there is no client yet that knows them as they are.

        Needs no loop. Raises `TlsFileError`; then a client made of older files stays.
        """
        fingerprint = options.fingerprint()
        known = self._current.get(options)
        if known is not None and known.fingerprint == fingerprint:
            return
        self._current[options] = _Shared(self._open(options), fingerprint)
        if known is not None and known.used:
            self._outdated.add(known)

    @asynccontextmanager
    async def client(self, options: ClientOptions) -> AsyncIterator[Client]:
        """The client for ``options``, which were prepared, for the time of one request."""
        shared = self._current[options]
        shared.requests += 1
        shared.used = True
        try:
            yield shared.client
        finally:
            shared.requests -= 1
            for idle in [outdated for outdated in self._outdated if outdated.requests == 0]:
                await idle.client.aclose()
                self._outdated.discard(idle)

    async def close(self) -> None:
        """Closes every client with all its connections. Idempotent."""
        for shared in (*self._current.values(), *self._outdated):
            await shared.client.aclose()
        self._current.clear()
        self._outdated.clear()

    def _open(self, options: ClientOptions) -> Client:
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
