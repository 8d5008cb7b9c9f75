"""The internal service that HTTP routes call: works as long as it is asked to, whether the caller waits or not."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.broker.worklog import Worklog


class Target:
    """Serves ``url`` from its construction until `close`, and notes what it does in ``worklog``."""

    def __init__(self, worklog: Worklog) -> None:
        self._server = _Server(worklog)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stops serving. Idempotent."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, worklog: Worklog) -> None:
        self.worklog = worklog
        super().__init__(("127.0.0.1", 0), _Work)

    def handle_error(self, request: object, client_address: object) -> None:
        """Callers that were killed are no error of this server's."""


class _Work(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Does the work, then answers."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, _Server)
        with self.server.worklog.noted(body["run_id"], str(body["ATTEMPT"]), body["AGENT"]):
            time.sleep(float(body["takes_s"]))
        with contextlib.suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Says nothing: the worklog tells."""
