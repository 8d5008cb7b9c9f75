"""The W3C's text of a place in a trace, and which trace a run has."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from weakref import WeakKeyDictionary

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.domain.invocation import RunId
from agent.domain.trace import RunTrace, SpanContext, read_traceparent, trace_id_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HERE = SpanContext(TRACE, SPAN, sampled=True)


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f" 00-{TRACE}-{SPAN}-01\t", True),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", True),
    ],
)
def test_a_header_names_a_span(text: str, *, sampled: bool) -> None:
    assert read_traceparent(text) == SpanContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0\N{ARABIC-INDIC DIGIT ONE}",
        f"00-{TRACE}-{SPAN}-01\n00-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_no_header_names_nothing(text: str) -> None:
    assert read_traceparent(text) is None


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    found = read_traceparent(text)
    assert found is None or found.trace_id in text


@pytest.mark.parametrize("sampled", [True, False])
def test_what_is_handed_on_can_be_read(*, sampled: bool) -> None:
    here = replace(HERE, sampled=sampled)
    assert read_traceparent(here.traceparent) == here


def test_a_child_is_in_the_same_trace_below_its_parent() -> None:
    below = HERE.child("c" * 16)
    assert below == SpanContext(TRACE, "c" * 16, sampled=True, parent_id=SPAN)
    assert replace(HERE, sampled=False).child("c" * 16).sampled is False


def test_a_trace_is_made_of_its_runs_id_so_that_it_can_be_looked_up() -> None:
    assert trace_id_of(RunId("r_1")) == sha256(b"r_1").hexdigest()[:32]
    assert trace_id_of(RunId("r_1")) != trace_id_of(RunId("r_2"))
    assert len(trace_id_of(RunId("r_\ud800"))) == 32


def test_each_runs_trace_is_itself_alone_and_is_forgotten_with_it() -> None:
    one, other = (RunTrace(HERE, HERE.child("c" * 16), 1.0, 2.0) for _ in range(2))
    assert one != other
    known = WeakKeyDictionary({one: 1, other: 2})
    del other
    assert list(known.values()) == [1]


def test_only_a_trace_that_is_recorded_can_be_looked_up() -> None:
    assert RunTrace(HERE, HERE, 1.0, 2.0).recorded_id == TRACE
    assert RunTrace(replace(HERE, sampled=False), HERE, 1.0, 2.0).recorded_id is None
