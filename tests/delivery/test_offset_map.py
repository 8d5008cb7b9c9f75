from __future__ import annotations

import base64
import random
import re
import zlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.delivery import offset_map
from agent.delivery.offset_map import (
    MANY,
    MAX_CHARS,
    MAX_NOTES,
    MAX_SPAN,
    MOST_ATTEMPTS,
    Mark,
    Note,
    OffsetMap,
)
from agent.domain.earlier import Earlier, Ending, Past

BASES = st.integers(0, 2**63 - 1)
MARKS = st.lists(st.sampled_from(Mark), max_size=400).map(bytes)
RUNS = st.lists(st.tuples(st.sampled_from(Mark), st.integers(1, 600)), max_size=20).map(
    lambda runs: b"".join(bytes([mark]) * length for mark, length in runs)
)
COUNTS = st.integers(0, MOST_ATTEMPTS) | st.just(MANY)
NOTE = st.builds(Note, COUNTS, st.booleans()) | st.builds(Note, st.just(1), ended=st.sampled_from(Ending))
NOTES = st.dictionaries(st.integers(0, MAX_SPAN - 1), NOTE, max_size=MAX_NOTES)
AGENTS = st.sampled_from(["", "agent-7d9f-x2x", "a" * 64])


@st.composite
def maps(draw: st.DrawFn) -> OffsetMap:
    """Any map as the ledger makes it."""
    base = draw(BASES)
    marks = draw(MARKS | RUNS).rstrip(b"\0")
    notes = {base + above: note for above, note in draw(NOTES).items()}
    unsure = base + above if (above := draw(st.just(0) | st.integers(1, 10**9))) else 0
    agent = draw(AGENTS) if notes or Mark.STARTED in marks else ""
    return OffsetMap(base, marks, notes, draw(st.booleans()), unsure, agent)


def decoded(text: str, base: int) -> OffsetMap:
    found = OffsetMap.decode(text, base)
    assert found is not None
    return found


def chars(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def framed(kind: str, body: bytes, notes: bytes = b"", agent: str = "") -> str:
    """A text for the offset 0 with a good checksum around anything: what a defect would write."""
    head = f"AM2{kind}n"
    checksum = zlib.crc32(f"{head}0:{len(body)}:{agent}:".encode() + body + notes).to_bytes(4, "big")
    return f"{head}{chars(checksum)}{chars(body)}.{chars(notes)}" + (f"@{agent}" if agent else "")


@given(maps())
def test_what_is_encoded_is_decoded(known: OffsetMap) -> None:
    text = known.encode()
    assert len(text) <= MAX_CHARS
    assert re.fullmatch("[A-Za-z0-9_.@-]+", text)
    found = decoded(text, known.base)
    assert found == known
    for index, mark in enumerate(known.marks):
        assert found.mark(known.base + index) is Mark(mark)
    assert found.mark(known.base + len(known.marks)) is Mark.OPEN
    assert found.mark(known.base - 1) is Mark.DONE


@pytest.mark.parametrize("seed", range(8))
def test_the_worst_that_the_span_allows_fits_into_the_metadata(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secrets are made of it
    base = 2**62
    marks = bytes(chance.choices(list(Mark), k=MAX_SPAN - 1)) + bytes([Mark.DONE])
    noted = [*chance.sample(range(MAX_SPAN), MAX_NOTES - 1), MAX_SPAN - 1]
    notes = {base + above: Note(MANY, goes_on=chance.random() < 0.5) for above in noted}
    known = OffsetMap(base, marks, notes, crowded=True, unsure_below=2**63 - 1, agent="a" * 200)
    text = known.encode()
    assert len(text) <= MAX_CHARS
    found = decoded(text, base)
    assert (found.marks, found.notes, found.agent) == (marks, notes, "a" * 64)


def test_a_strict_alternation_of_the_whole_span_is_short() -> None:
    marks = bytes([Mark.OPEN, Mark.DONE]) * (MAX_SPAN // 2)
    text = OffsetMap(7, marks).encode()
    assert len(text) < 100
    assert decoded(text, 7).marks == marks


def test_marks_that_alternate_are_not_even_spelled_by_their_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run costs a step, thousands of them milliseconds, and this is done with every start."""
    known = OffsetMap(0, bytes([Mark.OPEN, Mark.DONE]) * 5_000)
    expected = known.encode()
    monkeypatch.setattr(offset_map, "_as_runs", None)
    assert known.encode() == expected


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(1, 12)), min_size=1, max_size=200))
def test_no_other_spelling_is_shorter(runs: list[tuple[int, int]]) -> None:
    marks = b"".join(bytes([mark]) * length for mark, length in runs)
    _kind, body = offset_map._shortest(marks)
    assert len(body) <= min(len(offset_map._as_runs(marks)), len(offset_map._as_trits(marks)))


def test_one_run_that_is_stuck_under_thousands_that_ended_costs_a_few_characters() -> None:
    marks = bytes([Mark.STARTED]) + bytes([Mark.DONE]) * (MAX_SPAN - 1)
    assert len(OffsetMap(1, marks).encode()) <= 20


def test_more_than_the_span_is_refused() -> None:
    with pytest.raises(ValueError, match=f"{MAX_SPAN + 1} marks"):
        OffsetMap(0, bytes([Mark.DONE]) * (MAX_SPAN + 1)).encode()


def test_a_map_that_says_nothing_is_still_a_map_of_ours() -> None:
    """An empty text is what others commit: of their messages nothing is known."""
    text = OffsetMap(3, bytes(50)).encode()
    assert decoded(text, 3) == OffsetMap(3)
    assert OffsetMap.decode("", 3) is None


# ── what is known of a message ───────────────────────────────────────────────────────────────────────

OPEN, STARTED, DONE = Mark.OPEN, Mark.STARTED, Mark.DONE
TWICE = {10: Note(2)}


@pytest.mark.parametrize(
    ("mark", "notes", "crowded", "unsure", "expected"),
    [
        (OPEN, {}, False, 0, None),
        (OPEN, {}, True, 0, None),
        (OPEN, {}, False, 10, None),
        (OPEN, {}, False, 11, Earlier(Past.UNKNOWN)),
        (OPEN, TWICE, False, 11, Earlier(Past.STOPPED, 2, "one")),
        (STARTED, {}, False, 11, Earlier(Past.INTERRUPTED, 1, "one")),
        (STARTED, TWICE, False, 0, Earlier(Past.INTERRUPTED, 2, "one")),
        (STARTED, {10: Note(1, goes_on=True)}, False, 0, Earlier(Past.HANDED_OVER, 1, "one")),
        (STARTED, {}, True, 0, Earlier(Past.HANDED_OVER, MANY, "one")),
        (STARTED, {10: Note(101)}, False, 0, Earlier(Past.INTERRUPTED, MANY, "one")),
        (STARTED, {10: Note(1, ended=Ending.SUCCESS)}, False, 0, Earlier(Past.ENDED, 1, "one", Ending.SUCCESS)),
        (STARTED, {10: Note(1, ended=Ending.FAILURE)}, True, 11, Earlier(Past.ENDED, 1, "one", Ending.FAILURE)),
        (STARTED, {10: Note(1, ended=Ending.ACCEPTED)}, False, 0, Earlier(Past.ENDED, 1, "one", Ending.ACCEPTED)),
        (STARTED, {10: Note(1)}, True, 0, Earlier(Past.INTERRUPTED, 1, "one")),
        (DONE, {}, True, 11, None),
    ],
)
def test_what_whoever_has_it_now_must_know(
    mark: Mark,
    notes: Mapping[int, Note],
    crowded: bool,  # noqa: FBT001 - pytest gives it by name
    unsure: int,
    expected: Earlier | None,
) -> None:
    known = OffsetMap(10, bytes([mark, DONE]), notes, crowded, unsure, "one")
    assert decoded(known.encode(), 10).earlier(10) == expected
    assert known.earlier(9) is None


def test_more_notes_than_there_is_room_for_are_read_with_care() -> None:
    span = MAX_NOTES + 10
    notes = {offset: Note(3) for offset in range(span)}
    found = decoded(OffsetMap(0, bytes([STARTED]) * span, notes, agent="one").encode(), 0)
    assert found.crowded
    assert found.earlier(MAX_NOTES - 1) == Earlier(Past.INTERRUPTED, 3, "one")
    assert found.earlier(MAX_NOTES) == Earlier(Past.HANDED_OVER, MANY, "one")


def test_an_agents_name_is_made_fit() -> None:
    found = decoded(OffsetMap(0, bytes([STARTED]), agent="Bob's laptop @ home").encode(), 0)
    assert found.agent == "Bob-s-laptop-home"


# ── texts that are none ──────────────────────────────────────────────────────────────────────────────


@given(maps(), st.data())
def test_a_text_that_was_damaged_says_nothing(known: OffsetMap, data: st.DataObject) -> None:
    text = known.encode()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(codec="utf-8"))
    found = OffsetMap.decode(text[:place] + letter + text[place + 1 :], known.base)
    assert found in (None, known)


@given(maps(), BASES)
def test_a_map_beside_an_offset_that_was_moved_says_nothing(known: OffsetMap, other: int) -> None:
    assert (OffsetMap.decode(known.encode(), other) is None) is (known.base != other)


@given(BASES, st.text() | st.binary().map(lambda raw: f"AM2tn{chars(raw)}.{chars(raw)}"))
def test_metadata_of_others_says_nothing(base: int, text: str) -> None:
    assert OffsetMap.decode(text, base) is None


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


@pytest.mark.parametrize(
    "notes",
    [
        bytes([0x80]),  # how far it is unsure is cut off
        bytes([0, 0x80]),
        bytes([0, 5]),  # a place without a note
        bytes([0xFF] * 11),  # a number that is too long
        bytes([0, 0xE0, 0x5D, 1]),  # a place beyond the span: 12,000
        bytes([0, *([1, 1] * (MAX_NOTES + 1))]),
        bytes([0, 1, 101]),  # neither a number of attempts nor an end
        bytes([0, 1, 0x80 | 124]),  # an end that goes on
    ],
)
def test_notes_that_no_encoder_makes_say_nothing(notes: bytes) -> None:
    assert OffsetMap.decode(framed("r", b"", notes), 0) is None


def test_the_name_of_somebody_who_began_nothing_says_nothing() -> None:
    unsure = bytes([0xD4, 0x3B])
    assert OffsetMap.decode(framed("r", b"", unsure), 0) == OffsetMap(0, unsure_below=7636)
    assert OffsetMap.decode(framed("r", b"", unsure, "ngE"), 0) is None


@pytest.mark.parametrize("text", ["AM2rnAAAAAAB.", "AM2rnAAAAAA.B"])
def test_a_text_that_is_not_whole_base64_says_nothing(text: str) -> None:
    assert OffsetMap.decode(text, 0) is None


@given(st.sampled_from("rtRT"), st.binary(max_size=200), st.binary(max_size=50))
def test_any_body_is_read_or_refused(kind: str, body: bytes, notes: bytes) -> None:
    found = OffsetMap.decode(framed(kind, body, notes), 0)
    assert found is None or len(found.marks) <= MAX_SPAN


def test_texts_of_this_version_stay_readable() -> None:
    """Written by the first agent of this version; one that is upgraded reads what the one before it committed."""
    marks = bytes([STARTED]) + bytes([DONE]) * 300 + bytes([OPEN] * 7) + bytes([DONE, STARTED])
    known = OffsetMap(1234, marks, {1540: Note(1), 1543: Note(2, goes_on=True)}, unsure_below=1537, agent="agent-1")
    text = "AM2rnZSm2WwBbIJHAYF.rwKyAgEDgg@agent-1"
    assert known.encode() == text
    assert decoded(text, 1234) == known


def test_texts_of_the_version_before_say_nothing() -> None:
    """It marked starts a moment too late for anybody to rely on them."""
    assert OffsetMap.decode("AM1r1Ek1DABbIJHAY", 1234) is None
