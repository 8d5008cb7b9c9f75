"""What really happened, told by the targets themselves: every execution leaves one line or one request."""

from __future__ import annotations

import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agent.domain.json import as_object


class Executions:
    """Counts executions by run id: lines in ``file`` (processes and Python actions append them) and requests.

    Serves ``url`` from its construction until `close`.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.requests: list[dict[str, Any]] = []
        file.touch()
        self._server = _Target(self.requests)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where HTTP routes send their requests; every path answers 200."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def lines(self) -> list[str]:
        """What processes and Python actions appended: the run's id, a space, the name of their kind."""
        return self.file.read_text().splitlines()

    def by_run(self) -> Counter[str]:
        """How often each run was executed."""
        sent = (str(as_object(body.get("context")).get("runId")) for body in self.requests.copy())
        return Counter([line.partition(" ")[0] for line in self.lines()]) + Counter(sent)

    def close(self) -> None:
        """Stops serving. Idempotent."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Target(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, requests: list[dict[str, Any]]) -> None:
        self.requests = requests
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Notes the body and answers."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, _Target)
        self.server.requests.append(body)
        answer = b'{"ok":true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Says nothing: the tests read ``requests``."""
