"""The agent as its users run it: ``python -m agent run`` with settings in the environment."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.broker.child import Child
from tests.broker.real_kafka import free_ports
from tests.broker.waiting import wait_until

_NO_ROOTS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""No TLS is spoken here. By itself httpx reads the roots for each request: a third of a core, for who waits."""


class AgentProcess(Child):
    """One agent. ``settings`` are environment variables; the HTTP server and the state directory are its own.

    ``module`` is what starts it, with its arguments before ``run``. An agent of the same name and home that is
    started later has its state directory.
    """

    def __init__(
        self, name: str, home: Path, settings: Mapping[str, str], module: Sequence[str] = ("agent",)
    ) -> None:
        self.name = name
        self._port = free_ports(1)[0]
        own = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "AGENT_HTTP_HOST": "127.0.0.1",
            "AGENT_HTTP_PORT": str(self._port),
            "AGENT_STATE_DIR": str(home / f"{name}.state"),
        }
        env = {**own, **settings}
        super().__init__([sys.executable, "-m", *module, "run"], home / f"{name}.log", env)

    def probe(self, path: str) -> int | None:
        """The HTTP status of ``/livez`` or ``/readyz``; ``None`` if nobody answers."""
        try:
            return self._get(path).status_code
        except httpx.TransportError:
            return None

    def metrics(self) -> dict[str, float] | None:
        """The sums of all series of each metric, by the name on ``/metrics``; ``None`` if nobody answers."""
        try:
            page = self._get("/metrics").text
        except httpx.TransportError:
            return None
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
        return sums

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Returns once it is in its group; fails with its last output if it ended or is not ready in time."""
        wait_until(
            self._is_ready,
            timeout_s=timeout_s,
            what=lambda: f"agent {self.name} to be ready:\n{self.tail()}",
        )

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs another command, such as ``doctor``, with the same settings."""
        argv = [sys.executable, "-m", "agent", *command]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=90, check=False)

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self._port}{path}", trust_env=False, timeout=5, verify=_NO_ROOTS)

    def _is_ready(self) -> bool:
        assert self.running, f"agent {self.name} ended with {self.exit_code}:\n{self.tail()}"
        return self.probe("/readyz") == 200
