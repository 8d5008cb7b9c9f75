"""Traces, where the settings want them; nothing of OpenTelemetry is imported where they do not."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from agent import __version__
from agent.domain.errors import ConfigurationError, Problem
from agent.observability.spans import SpanObserver
from agent.observability.tracer import RunTracer, new_span_id
from agent.ports import Clock, Observer
from agent.settings import Settings, sdk_is_disabled

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

    def probe(self) -> bool:
        """Whether the collector answers as it should. Blocks: not for the event loop's thread."""
        return self._spans.probe()

    def close(self) -> None:
        """Sends what waits to be sent. Blocks: not for the event loop's thread."""
        self._spans.close()


def is_silenced(settings: Settings, environment: Mapping[str, str]) -> bool:
    """Whether traces are wanted, and the SDK's own switch turns them off all the same."""
    return settings.AGENT_TRACES != "off" and sdk_is_disabled(environment)


def open_tracing(
    settings: Settings,
    environment: Mapping[str, str],
    observer: Observer,
    clock: Clock,
    hear: Callable[[str], None] | None = None,
) -> Tracing | None:
    """``None`` where they are off. Raises `ConfigurationError` where it is not possible.

    What the SDK has to say beside that is told to ``hear``, on any thread, or logged.
    """
    if not _is_on(settings, environment):
        return None
    try:
        from agent.observability.otlp import OtlpSpans, shown  # noqa: PLC0415 - an extra, and 8 MB
    except ModuleNotFoundError as error:
        missing = f"is {settings.AGENT_TRACES}, but OpenTelemetry is not installed ({error})"
        problem = Problem("AGENT_TRACES", missing, hint=_HOW_TO_INSTALL)
        raise ConfigurationError(settings.placed(problem)) from error
    about = {
        "service.name": "action-agent",
        "service.version": __version__,
        "service.instance.id": socket.gethostname(),
    }
    try:
        spans = OtlpSpans(about, observer, clock, hear)
    except Exception as error:  # the SDK says in many ways that it does not like a variable
        said = shown(f"OpenTelemetry cannot be set up: {type(error).__name__}: {error}")
        problem = Problem("AGENT_TRACES", said, hint="look at the OTEL_* variables")
        raise ConfigurationError(settings.placed(problem)) from error
    return Tracing(spans, clock)


def _is_on(settings: Settings, environment: Mapping[str, str]) -> bool:
    return settings.AGENT_TRACES != "off" and not sdk_is_disabled(environment)


def collector_secrets(settings: Settings, environment: Mapping[str, str]) -> Iterable[str]:
    """What is secret of the headers for the collector, also of those that are not written as they should be.

    Nothing where traces are off: to mask a word in all that the agent says has its price.
    """
    if not _is_on(settings, environment):
        return
    for name in _HEADERS:
        for pair in environment.get(name, "").split(","):
            value = pair.partition("=")[2].strip()
            yield from filter(None, {pair.strip(), value, unquote(value)})
