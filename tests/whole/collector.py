"""A collector of traces: takes them over OTLP/HTTP as they come, and gives them out decoded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status


@dataclass(frozen=True)
class Collected:
    """One span as it came. Ids are hex; ``resource`` and ``attributes`` are texts and numbers."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    began_s: float
    ended_s: float
    failed: bool
    attributes: Mapping[str, str | int]
    resource: Mapping[str, str | int]


@dataclass
class Collector:
    """An OTLP receiver on loopback; ``headers`` are those of the last request, lower-case."""

    url: str = ""
    spans: list[Collected] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def serve(cls) -> Iterator[Self]:
        """The collector, listening until the block ends."""
        collector = cls()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                taken = self.path == "/v1/traces"
                if taken:
                    collector.headers = {name.lower(): value for name, value in self.headers.items()}
                    collector.take(body)
                self.send_response(200 if taken else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="collector")
        thread.start()
        try:
            collector.url = f"http://127.0.0.1:{server.server_address[1]}"
            yield collector
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def take(self, body: bytes) -> None:
        """Keeps what one request brings."""
        self.spans += _decoded(body)

    def of(self, trace_id: str) -> dict[str, Collected]:
        """The spans of one trace by their names. Fails where a name comes twice."""
        found = [span for span in tuple(self.spans) if span.trace_id == trace_id]
        by_name = {span.name: span for span in found}
        assert len(by_name) == len(found), found
        return by_name


def _decoded(body: bytes) -> Iterator[Collected]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    for resource_spans in request.resource_spans:
        resource = {pair.key: _plain(pair.value) for pair in resource_spans.resource.attributes}
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield Collected(
                    span.name,
                    WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano / 1e9,
                    span.end_time_unix_nano / 1e9,
                    span.status.code == Status.STATUS_CODE_ERROR,
                    {pair.key: _plain(pair.value) for pair in span.attributes},
                    resource,
                )


def _plain(value: AnyValue) -> str | int:
    return value.string_value or value.int_value
