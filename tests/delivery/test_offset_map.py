from __future__ import annotations

import base64
import random
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.delivery.offset_map import MAX_CHARS, MAX_SPAN, Mark, OffsetMap

BASES = st.integers(0, 2**63 - 1)
MARKS = st.lists(st.sampled_from(Mark), max_size=400).map(bytes)
RUNS = st.lists(st.tuples(st.sampled_from(Mark), st.integers(1, 600)), max_size=25).map(
    lambda runs: b"".join(bytes([mark]) * length for mark, length in runs)
)


def decoded(text: str, base: int) -> OffsetMap:
    found = OffsetMap.decode(text, base)
    assert found is not None
    return found


def framed(kind: str, body: bytes, base: int = 0) -> str:
    """A text with a good checksum around any body: what a defect would write."""
    checksum = zlib.crc32(f"AM1{kind}{base}:".encode() + body).to_bytes(4, "big")
    return f"AM1{kind}" + "".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (checksum, body))


@given(BASES, MARKS | RUNS)
def test_what_is_encoded_is_decoded(base: int, marks: bytes) -> None:
    text = OffsetMap(base, marks).encode()
    found = decoded(text, base)
    assert found == OffsetMap(base, marks.rstrip(b"\0"))
    for index, mark in enumerate(marks):
        assert found.mark(base + index) is Mark(mark)
    assert found.mark(base + len(marks)) is Mark.OPEN
    assert found.mark(base - 1) is Mark.DONE


@pytest.mark.parametrize("seed", range(8))
def test_the_worst_that_the_span_allows_fits_into_the_metadata(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secrets are made of it
    marks = bytes(chance.choices(list(Mark), k=MAX_SPAN - 1)) + bytes([Mark.DONE])
    text = OffsetMap(2**62, marks).encode()
    assert len(text) <= MAX_CHARS
    assert set(text) <= set(string.ascii_letters + string.digits + "-_")
    assert decoded(text, 2**62).marks == marks


def test_a_strict_alternation_of_the_whole_span_is_short() -> None:
    marks = bytes([Mark.OPEN, Mark.DONE]) * (MAX_SPAN // 2)
    text = OffsetMap(7, marks).encode()
    assert len(text) < 100
    assert decoded(text, 7).marks == marks


def test_one_run_that_is_stuck_under_thousands_that_ended_costs_a_few_characters() -> None:
    marks = bytes([Mark.STARTED]) + bytes([Mark.DONE]) * (MAX_SPAN - 1)
    assert len(OffsetMap(1, marks).encode()) <= 20


def test_more_than_the_span_is_refused() -> None:
    with pytest.raises(ValueError, match="15001 marks"):
        OffsetMap(0, bytes([Mark.DONE]) * (MAX_SPAN + 1)).encode()


def test_nothing_known_is_an_empty_text_and_the_reverse() -> None:
    assert OffsetMap(3, bytes(50)).encode() == ""
    assert decoded("", 3) == OffsetMap(3)


@given(BASES, MARKS | RUNS, st.data())
def test_a_text_that_was_damaged_says_nothing(base: int, marks: bytes, data: st.DataObject) -> None:
    text = OffsetMap(base, marks + bytes([Mark.DONE])).encode()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(codec="utf-8"))
    damaged = text[:place] + letter + text[place + 1 :]
    found = OffsetMap.decode(damaged, base)
    assert found is None or found == OffsetMap.decode(text, base)


@given(BASES, BASES, MARKS)
def test_a_map_beside_an_offset_that_was_moved_says_nothing(base: int, other: int, marks: bytes) -> None:
    text = OffsetMap(base, marks + bytes([Mark.DONE])).encode()
    assert (OffsetMap.decode(text, other) is None) is (base != other)


@given(BASES, st.text() | st.binary().map(lambda raw: "AM1t" + base64.urlsafe_b64encode(raw).decode()))
def test_metadata_of_others_says_nothing(base: int, text: str) -> None:
    assert OffsetMap.decode(text, base) in (None, OffsetMap(base)) or not text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("r", bytes([0x80])),  # a run that is cut off
        ("r", bytes([0x80, 0x80, 0x80, 0x01])),  # longer than any span
        ("r", bytes([0x80, 0x80, 0x80, 0x80])),
        ("r", bytes([0b111])),  # a mark that is none
        ("r", bytes([0b010])),  # no offsets
        ("r", bytes([0xFE, 0xFF, 0x7F])),  # more offsets than a map covers
        ("t", bytes([243])),  # more than five marks hold
        ("t", bytes(MAX_SPAN // 5 + 1)),
        ("T", b"not deflated"),
        ("T", zlib.compress(bytes(10))[:-5]),
        ("R", zlib.compress(bytes(10_000_000))),
    ],
)
def test_a_body_that_no_encoder_makes_says_nothing(kind: str, body: bytes) -> None:
    assert OffsetMap.decode(framed(kind, body), 0) is None


def test_a_text_that_is_not_whole_base64_says_nothing() -> None:
    assert OffsetMap.decode("AM1rAAAAAAB", 0) is None


@given(st.sampled_from("rtRT"), st.binary(max_size=200))
def test_any_body_is_read_or_refused(kind: str, body: bytes) -> None:
    found = OffsetMap.decode(framed(kind, body), 0)
    assert found is None or len(found.marks) <= MAX_SPAN


def test_texts_of_this_version_stay_readable() -> None:
    """Written by the first version; an agent that is upgraded reads what the one before it committed."""
    marks = bytes([Mark.STARTED]) + bytes([Mark.DONE]) * 300 + bytes([Mark.OPEN] * 7) + bytes([Mark.DONE])
    assert OffsetMap(1234, marks).encode() == "AM1r1Ek1DABbIJHAY"
    assert decoded("AM1r1Ek1DABbIJHAY", 1234).marks == marks
