"""`tests.bench.server` as a child process: what an agent talks to, and what is asked about it."""

from __future__ import annotations

import json
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.bench.server import Counts, Stamps
from tests.broker.child import Child
from tests.broker.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Manners:
    """How Port and the target behave. ``limit``: requests to Port per ``period_s``, ``None`` for any number.

    Of the limit Port tells in every answer, or only by refusals where it is ``secretive``. With ``tls`` both are
    reached by https only.
    """

    latency_s: float = 0.0
    keeps_stamps: bool = False
    limit: int | None = None
    period_s: float = 10.0
    secretive: bool = False
    tls: bool = False

    def arguments(self) -> list[str]:
        """The server's own, but for the key that ``tls`` takes."""
        stamps = ["--stamps"] if self.keeps_stamps else []
        limit = [] if self.limit is None else [f"--limit={self.limit}", f"--period={self.period_s}"]
        secretive = ["--secretive"] if self.secretive else []
        return [f"--latency={self.latency_s}", *stamps, *limit, *secretive]


@dataclass(frozen=True, slots=True)
class Identity:
    """How a server shows by TLS who it is. PEM files: its key with its certificate, and whom to trust."""

    key_file: Path
    ca_file: Path


class Counterpart:
    """A running server. `end` must be called at the end. ``credentials`` are what agents get for Kafka.

    ``identity`` is used where ``manners`` ask for TLS.
    """

    def __init__(
        self,
        org: str,
        credentials: Mapping[str, object],
        home: Path,
        manners: Manners,
        identity: Identity | None = None,
    ) -> None:
        argv = [sys.executable, "-m", "tests.bench.server", f"--org={org}", f"--kafka={json.dumps(credentials)}"]
        argv += manners.arguments()
        scheme = "http"
        trusted: ssl.SSLContext | bool = True
        if manners.tls:
            assert identity is not None, "who speaks TLS needs a key"
            scheme, trusted = "https", ssl.create_default_context(cafile=identity.ca_file)
            argv.append(f"--tls={identity.key_file}")
        self._child = Child(argv, home / "server.log", {"LC_ALL": "C.UTF-8"})
        self._child.start()
        began = re.compile(r"\d+\n")
        wait_until(lambda: began.match(self._child.output()), timeout_s=30, what=self._child.tail)
        port = int(self._child.output().split()[0])
        self.url = f"{scheme}://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=30, verify=trusted)

    def counts(self) -> Counts:
        """What came since the last `reset`."""
        return Counts(**self._get("/_stats"))

    def stamps(self) -> Stamps:
        """When what happened to each run since the last `reset`."""
        return Stamps(**self._get("/_stamps"))

    def reset(self) -> None:
        """Begins to count anew."""
        self._get("/_reset")

    def release(self) -> None:
        """Answers all requests that are held."""
        self._get("/_release")

    def end(self) -> None:
        """Ends it. Idempotent."""
        self._http.close()
        self._child.end()

    def _get(self, path: str) -> dict[str, Any]:
        body: dict[str, Any] = self._http.get(path).raise_for_status().json()
        return body
