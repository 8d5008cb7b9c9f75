"""Spans over OTLP/HTTP, by the OpenTelemetry SDK: the only module that imports it, imported where traces are on.

The SDK reads its own variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``, …).
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
from opentelemetry.trace import NonRecordingSpan, StatusCode, TraceFlags, set_span_in_context
from opentelemetry.trace import SpanContext as SdkContext
from opentelemetry.trace import SpanKind as SdkKind

from agent.domain.events import SpansSent
from agent.domain.trace import SpanContext
from agent.observability.repeats import Repeats
from agent.observability.spans import Span, SpanKind
from agent.ports import Clock, Observer

_KINDS = {
    SpanKind.CONSUMER: SdkKind.CONSUMER,
    SpanKind.INTERNAL: SdkKind.INTERNAL,
    SpanKind.CLIENT: SdkKind.CLIENT,
}
_LOGGER = "opentelemetry"
_QUERY = re.compile(r"\?\S+")
_USER = re.compile(r"//[^\s/@]*@")

log = structlog.get_logger(__name__)


class OtlpSpans:
    """Sends spans to a collector, in a thread of the SDK, a batch at a time.

    A collector that is slow or away costs spans, and nothing else: what does not fit in the queue is dropped.
    ``about`` describes this agent in each span's resource, as far as the variables do not; raises ``ValueError``
    and the like where one of them is wrong. What else the SDK has to say is told to ``hear``, on any thread, or
    logged. `sample` and `put` belong to the event loop's thread, and never block.
    """

    def __init__(
        self, about: dict[str, str], observer: Observer, clock: Clock, hear: Callable[[str], None] | None = None
    ) -> None:
        _listen(_Heard(clock) if hear is None else _Told(hear))
        resource = Resource.create(about).merge(OTELResourceDetector().detect())
        self._sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
        self._ids = _GivenIds()
        # What is not to be recorded never gets to this provider.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False, id_generator=self._ids
        )
        self._exporter = _Counted(OTLPSpanExporter(), observer)
        # As its variable says it; how full the queue is the SDK tells nobody.
        self._queue_size: int = BatchSpanProcessor._default_max_queue_size()  # type: ignore[no-untyped-call]  # noqa: SLF001
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter, self._queue_size))
        self._observer = observer
        self._put = self._dropped = 0
        self._tracer = self._provider.get_tracer("port-action-agent", about.get("service.version"))

    def sample(self, trace_id: str, parent: SpanContext | None) -> bool:
        """What the sampler that the variables name says to a run's trace."""
        above = Context() if parent is None else _context(parent, parent.span_id, is_remote=True)
        result = self._sampler.should_sample(above, int(trace_id, 16), "run", SdkKind.CONSUMER)
        return result.decision is Decision.RECORD_AND_SAMPLE

    def put(self, span: Span) -> None:
        """Queues a span that has ended; where the queue is full, the SDK drops the oldest one for it."""
        self._ids.given = context = span.context
        above = Context()
        if context.parent_id:
            above = _context(context, context.parent_id, is_remote=span.kind is SpanKind.CONSUMER)
        sdk_span = self._tracer.start_span(
            span.name,
            context=above,
            kind=_KINDS[span.kind],
            attributes=span.attributes,
            start_time=_nanoseconds(span.began_s),
        )
        if span.failed:
            sdk_span.set_status(StatusCode.ERROR)
        if self._put - self._dropped - self._exporter.taken >= self._queue_size:
            self._dropped += 1
            self._observer.notify(SpansSent(1, "dropped"))
        self._put += 1
        sdk_span.end(_nanoseconds(span.ended_s))

    def probe(self) -> bool:
        """Whether the collector takes a request without any span; else ``hear`` is told why. Blocks, as `close`."""
        return self._exporter.probe()

    def close(self) -> None:
        """Sends what waits, and ends the thread. Blocks, for half a minute at worst: not for the loop's thread."""
        self._provider.shutdown()


class _GivenIds(IdGenerator):
    """Ids were chosen before: others go on below spans that have not ended."""

    given: SpanContext

    def generate_span_id(self) -> int:
        return int(self.given.span_id, 16)

    def generate_trace_id(self) -> int:
        return int(self.given.trace_id, 16)


class _Counted(SpanExporter):
    """Says what became of each batch. ``taken``: how many spans have come off the queue."""

    def __init__(self, exporter: SpanExporter, observer: Observer) -> None:
        self._exporter = exporter
        self._observer = observer
        self.taken = 0

    def probe(self) -> bool:
        return self._exporter.export(()) is SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        result = self._exporter.export(spans)
        word = "sent" if result is SpanExportResult.SUCCESS else "failed"
        self._observer.notify(SpansSent(len(spans), word))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def shown(said: str) -> str:
    """What the SDK says, with no URL's query, user or password."""
    return _USER.sub("//", _QUERY.sub("?…", said))


class _Told(logging.Handler):
    """What the SDK has to say, for whoever asked."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._hear = hear

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._hear(shown(record.getMessage()))
        except Exception:  # noqa: BLE001 - as below
            self.handleError(record)


class _Heard(logging.Handler):
    """What the SDK has to say, for the log: each kind of it once a minute at most."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(logging.WARNING)
        self._clock = clock
        self._repeats = Repeats()
        self._mutex = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            with self._mutex:
                repeated = self._repeats.ask((record.name, record.msg), self._clock.monotonic())
            if repeated is not None:
                detail = shown(record.getMessage())
                log.warning("OpenTelemetry has trouble", detail=detail, repeated=repeated or None)
        except Exception:  # noqa: BLE001 - whoever logs must not fail for it; this is what logging itself does
            self.handleError(record)


def _listen(handler: logging.Handler) -> None:
    logger = logging.getLogger(_LOGGER)
    logger.handlers[:] = [handler]
    logger.propagate = False


def _context(here: SpanContext, span_id: str, *, is_remote: bool) -> Context:
    """Below the span of this id, in the trace that ``here`` is part of."""
    flags = TraceFlags(TraceFlags.SAMPLED if here.sampled else TraceFlags.DEFAULT)
    span = NonRecordingSpan(SdkContext(int(here.trace_id, 16), int(span_id, 16), is_remote, flags))
    return set_span_in_context(span, Context())


def _nanoseconds(epoch_s: float) -> int:
    return int(epoch_s * 1e9)
