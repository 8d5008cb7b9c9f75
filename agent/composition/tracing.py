"""Traces, where the settings want them; nothing of OpenTelemetry is imported where they do not."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from agent import __version__
from agent.domain.errors import ConfigurationError, Problem
from agent.observability.spans import SpanObserver
from agent.observability.tracer import RunTracer, new_span_id
from agent.ports import Clock, Observer
from agent.settings import Settings

if TYPE_CHECKING:
    from agent.observability.otlp import OtlpSpans

_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_HOW_TO_INSTALL = "pip install 'port-action-agent[otel]', or build the image with EXTRAS=otel"


class Tracing:
    """What follows runs: `tracer` gives them their traces, `observer` makes spans of facts."""

    def __init__(self, spans: OtlpSpans, clock: Clock) -> None:
        self.tracer = RunTracer(spans.sample, clock)
        self.observer = SpanObserver(spans.put, clock, new_span_id)
        self._spans = spans

    def close(self) -> None:
        """Sends what waits to be sent. Blocks: not for the event loop's thread."""
        self._spans.close()


def open_tracing(settings: Settings, observer: Observer, clock: Clock) -> Tracing | None:
    """``None`` where AGENT_TRACES is off. Raises `ConfigurationError` where it is not possible."""
    if settings.AGENT_TRACES == "off":
        return None
    try:
        from agent.observability.otlp import OtlpSpans  # noqa: PLC0415 - an extra, and 8 MB
    except ModuleNotFoundError as error:
        missing = f"is {settings.AGENT_TRACES}, but OpenTelemetry is not installed ({error})"
        raise ConfigurationError(Problem("AGENT_TRACES", missing, hint=_HOW_TO_INSTALL)) from error
    about = {
        "service.name": "action-agent",
        "service.version": __version__,
        "service.instance.id": socket.gethostname(),
    }
    try:
        spans = OtlpSpans(about, observer, clock)
    except Exception as error:  # the SDK says in many ways that it does not like a variable
        problem = f"OpenTelemetry cannot be set up: {type(error).__name__}: {error}"
        raise ConfigurationError(Problem("AGENT_TRACES", problem, hint="look at the OTEL_* variables")) from error
    return Tracing(spans, clock)


def collector_secrets(environment: Mapping[str, str]) -> Iterable[str]:
    """What is secret of the headers for the collector, also of those that are not written as they should be."""
    for name in _HEADERS:
        for pair in environment.get(name, "").split(","):
            value = pair.partition("=")[2].strip()
            yield from filter(None, {pair.strip(), value, unquote(value)})
