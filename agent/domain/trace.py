"""Where a run stands in a distributed trace: ids, and the text in which they are handed on (W3C Trace Context).

Ids are lower-case hex, as on the wire: 32 digits of a trace, 16 of a span.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from agent.domain.invocation import RunId

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class SpanContext:
    """One span's place. ``sampled``: whether it is recorded; ``parent_id`` is empty where nothing is above it."""

    trace_id: str
    span_id: str
    sampled: bool
    parent_id: str = ""

    @property
    def traceparent(self) -> str:
        """For whoever goes on below this span: the value of a ``traceparent`` header."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self, span_id: str) -> SpanContext:
        """The place of a span below this one."""
        return SpanContext(self.trace_id, span_id, self.sampled, self.span_id)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class RunTrace:
    """The trace of one run, from the arrival of its message on; each is equal to itself only.

    ``root`` spans the whole of it, ``execution`` the executor's work: what that calls goes on below. The arrival
    stands in two clocks, monotonic seconds and those since 1970; ``origin`` and ``blueprint`` are for whoever
    reads the trace.
    """

    root: SpanContext
    execution: SpanContext
    arrived_s: float
    arrived_epoch_s: float
    origin: str = ""
    blueprint: str | None = None

    @property
    def recorded_id(self) -> str | None:
        """The trace's id where it is recorded, so that somebody can look it up."""
        return self.root.trace_id if self.root.sampled else None


def read_traceparent(text: str) -> SpanContext | None:
    """The span that a ``traceparent`` header names; ``None`` for what is none.

    Later versions of the format are read as far as this one goes.
    """
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    is_unknown = version == "ff" or (version == "00" and rest is not None)
    if is_unknown or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return SpanContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def trace_id_of(run_id: RunId) -> str:
    """The trace of a run that begins with us: always the same one, in whichever agent, and easy to look up."""
    return sha256(run_id.encode("utf-8", "replace")).hexdigest()[:32]
