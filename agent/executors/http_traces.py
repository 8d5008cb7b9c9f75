"""What traces have of requests: a header that goes with each, and a fact once it has ended."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from agent.domain.events import TargetRequested
from agent.domain.trace import read_traceparent
from agent.executors.http_answer import Answer
from agent.executors.http_request import HttpRequest
from agent.executors.http_retry import retry_label
from agent.ports import Clock, Observer

_HEADER = "traceparent"


class TracedRequest:
    """One request under way. Its ``result`` is set as soon as there is one; ``None``: nobody waited for it."""

    def __init__(self, traceparent: str, request: HttpRequest) -> None:
        names = {name.lower() for name, _ in request.headers}
        self.headers = () if _HEADER in names else ((_HEADER, traceparent),)
        """What is sent beside the request's own: a route, or an action, that names a trace itself is left alone."""
        self.result: Answer | httpx.TransportError | None = None

    @property
    def code(self) -> str:
        """The answer's status, or a word for why there was none."""
        match self.result:
            case Answer(status):
                return str(status)
            case None:
                return "cancelled"
            case error:
                return retry_label(error)


class RequestTraces:
    """Follows requests in the traces of their runs."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._observer = observer
        self._clock = clock

    @contextmanager
    def request(self, traceparent: str, request: HttpRequest) -> Iterator[TracedRequest]:
        """While it goes on; in a trace that is recorded it becomes a span, which the target goes on below.

        ``traceparent`` is the run's. Lets everything through that is raised inside.
        """
        above = read_traceparent(traceparent)
        if above is None or not above.sampled:
            yield TracedRequest(traceparent, request)
            return
        span, began_s = above.child(secrets.token_hex(8)), self._clock.monotonic()
        traced = TracedRequest(span.traceparent, request)
        try:
            yield traced
        finally:
            took_s = self._clock.monotonic() - began_s
            self._observer.notify(TargetRequested(span, request.method, request.place, traced.code, took_s))
