"""A real Prometheus on loopback, with our rules, that scrapes one agent as a PodMonitor would have it."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.broker.waiting import wait_until
from tests.monitoring.alerts import RULES

LABELS = {"namespace": "prod", "pod": "agent-0", "container": "agent"}
PATIENCE_S = 30.0

Sample = dict[str, Any]


class Prometheus:
    """The HTTP API of a server that is there already."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expr: str) -> list[Sample]:
        """The series of an expression now. Raises `AssertionError` with what Prometheus says against it."""
        result: list[Sample] = self.ask("query", query=expr)["result"]
        return result

    def ask(self, what: str, **parameters: str) -> Any:
        """The data of an answer of its API."""
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 - loopback
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready") as answer:  # noqa: S310
            return bool(answer.status == 200)
        return False


@contextlib.contextmanager
def scraping(bin_dir: Path, home: Path, agent_url: str) -> Iterator[Prometheus]:
    """A server that scrapes the agent every second and evaluates the rules as often, alive inside the block."""
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {
                "job_name": "action-agent",
                "static_configs": [{"targets": [agent_url.removeprefix("http://")], "labels": LABELS}],
            }
        ],
    }
    config_file, log = home / "prometheus.yml", home / "prometheus.log"
    config_file.write_text(json.dumps(config))  # which is YAML, too
    with contextlib.ExitStack() as stack:
        # Held here and not listened to: whoever takes just any port does not get it, and Prometheus does.
        holder = stack.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        command = [
            str(bin_dir / "prometheus"),
            f"--config.file={config_file}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address={address}",
            "--enable-feature=exemplar-storage",
        ]
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            server = Prometheus(f"http://{address}")
            wait_until(
                server.is_ready, timeout_s=PATIENCE_S, what=lambda: f"Prometheus; it says\n{log.read_text()}"
            )
            yield server
        finally:
            process.terminate()
            process.wait(PATIENCE_S)
