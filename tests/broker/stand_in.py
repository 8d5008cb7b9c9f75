"""The stand-in for Port's API as a process of its own, and what the tests ask it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.broker.child import Child
from tests.broker.waiting import wait_until


class StandIn:
    """A running stand-in. `end` must be called at the end.

    ``credentials`` is what ``/v1/kafka-credentials`` gives out: brokers, username, password.
    """

    def __init__(self, org: str, credentials: Mapping[str, object], home: Path) -> None:
        argv = ["-m", "agent.sandbox.port_api", "--org-id", org, "--kafka", json.dumps(credentials)]
        self._child = Child(
            [sys.executable, *argv], home / "stand-in.log", {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        )
        self._child.start()
        wait_until(lambda: "\n" in self._child.output(), timeout_s=30, what="the stand-in for Port's API")
        said = json.loads(self._child.output().splitlines()[0])
        self.url: str = said["url"]
        self.client_id: str = said["client_id"]
        self.client_secret: str = said["client_secret"]
        self._http = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def create_run(self, run_id: str, action: str) -> None:
        """A run in progress, as after a click in Port."""
        self._post("/_runs", {"run_id": run_id, "action": action})

    def end_run(self, run_id: str) -> None:
        """Ends a run as SUCCESS, as another client of Port's API would."""
        login = {"clientId": self.client_id, "clientSecret": self.client_secret}
        token = self._http.post("/v1/auth/access_token", json=login).raise_for_status().json()["accessToken"]
        headers = {"Authorization": f"Bearer {token}"}
        patched = self._http.patch(f"/v1/actions/runs/{run_id}", json={"status": "SUCCESS"}, headers=headers)
        patched.raise_for_status()

    def misbehave(self, *faults: Mapping[str, object]) -> None:
        """Replaces the faults in force by these; none makes it well-behaved again."""
        self._post("/_faults", {"clear": True, "faults": faults})

    def expire_tokens(self) -> None:
        """Every token that was given out is worth nothing from now on."""
        self._post("/_faults", {"expire_tokens": True})

    def ledger(self) -> dict[str, Any]:
        """Everything that reached it: counts, runs, requests, catalogue."""
        return self._get("/_ledger")

    def unfinished(self) -> int:
        """How many runs have no terminal status yet."""
        return int(self._get("/_ledger/counts")["unfinished"])

    def runs(self) -> dict[str, dict[str, Any]]:
        """All runs by id: status, terminal_statuses, refused_statuses, requests, logs, links and so on."""
        runs: dict[str, dict[str, Any]] = self._get("/_ledger")["runs"]
        return runs

    def named(self) -> set[str]:
        """The ids of all runs that any request has named, whether they exist or not."""
        return {request["run_id"] for request in self._get("/_ledger")["requests"] if request["run_id"]}

    def end(self) -> None:
        """Ends it. Idempotent."""
        self._http.close()
        self._child.end()

    def _get(self, path: str) -> dict[str, Any]:
        body: dict[str, Any] = self._http.get(path).raise_for_status().json()
        return body

    def _post(self, path: str, body: Mapping[str, object]) -> None:
        self._http.post(path, json=body).raise_for_status()
