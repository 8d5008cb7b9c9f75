"""The offset map: what became of the messages above the committed offset, as text for the commit's metadata.

An offset is committed below the lowest message that is not settled; runs above it may have ended long ago. The map
says which, and which were begun, so that whoever reads the partition next neither executes them again nor has to
ask. It always fits: a partition's span is capped at `MAX_SPAN`, and three states in five to a byte take no more.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import permutations
from types import MappingProxyType
from typing import Final

from agent.domain.earlier import Earlier, Ending, Past

MAX_CHARS: Final = 4_095
"""What a broker takes by default (``offset.metadata.max.bytes``: 4,096), less the NUL that librdkafka adds."""

MAX_SPAN: Final = 12_000
"""How many offsets one map covers at most."""

MAX_NOTES: Final = 200
"""How many messages have a note of their own; see `OffsetMap.crowded`."""

MANY: Final = 127
"""So often and more: no route allows as many attempts."""

MOST_ATTEMPTS: Final = 100
"""More than so many are `MANY`."""

_MAGIC = "AM2"
_PART = "[A-Za-z0-9_-]*"
_TEXT = re.compile(rf"AM2([rtRT])([nc])([A-Za-z0-9_-]{{6}})({_PART})\.({_PART})(?:@([A-Za-z0-9._-]{{1,64}}))?")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_AGENT_CHARS = 64
_TRITS = 5
_WORTH_DEFLATING_BYTES = 60
_VARINT_BITS = 63
_GOES_ON = 0x80
_ENDINGS: Final = {124: Ending.SUCCESS, 125: Ending.FAILURE, 126: Ending.ACCEPTED}
"""In place of a number of attempts, which then does not matter any more."""
_ENDED: Final = {ending: code for code, ending in _ENDINGS.items()}
_RUN = re.compile(rb"\x00+|\x01+|\x02+")
_CHANGES: Final = tuple(bytes(pair) for pair in permutations(range(3), 2))


class Mark(IntEnum):
    """What is known of one message. An offset that holds no message counts as done."""

    OPEN = 0
    STARTED = 1
    DONE = 2


@dataclass(frozen=True, slots=True)
class Note:
    """What a mark does not say: how often the work was begun, and whether it went on when the map was made.

    ``ended``: how it came to its end; such a note is of a message that was started, says 1, and nothing goes on.
    """

    begun: int
    goes_on: bool = False
    ended: Ending | None = None


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """The marks of the offsets from ``base`` on, one byte each; what lies beyond them is open.

    ``notes`` holds what differs from the rule: an open message was never begun, a started one once, by ``agent``,
    which is gone; an empty text where they are of several agents. Where more differ than have room the map is
    ``crowded``: a started message without a note was begun `MANY` times and may go on, which is the careful reading
    of both. Of open messages below ``unsure_below`` it is not known whether they were begun: they were there before
    the first map was made.
    """

    base: int
    marks: bytes = b""
    notes: Mapping[int, Note] = field(default_factory=lambda: MappingProxyType({}))
    crowded: bool = False
    unsure_below: int = 0
    agent: str = ""

    def mark(self, offset: int) -> Mark:
        """The mark of ``offset``; what lies below ``base`` is done."""
        if offset < self.base:
            return Mark.DONE
        index = offset - self.base
        return Mark(self.marks[index]) if index < len(self.marks) else Mark.OPEN

    def note(self, offset: int) -> Note:
        """What is known of ``offset`` beside its mark."""
        note = self.notes.get(offset)
        if note is not None:
            return note
        if self.mark(offset) is not Mark.STARTED:
            return Note(0)
        return Note(MANY, goes_on=True) if self.crowded else Note(1)

    def earlier(self, offset: int) -> Earlier | None:
        """What whoever has the message now must know; ``None`` for one that was surely never begun, or is done."""
        mark, note = self.mark(offset), self.note(offset)
        if mark is Mark.STARTED:
            if note.ended is not None:
                return Earlier(Past.ENDED, note.begun, self.agent, note.ended)
            past = Past.HANDED_OVER if note.goes_on else Past.INTERRUPTED
            return Earlier(past, note.begun, self.agent)
        if mark is Mark.DONE:
            return None
        if note.begun:
            return Earlier(Past.STOPPED, note.begun, self.agent)
        return Earlier(Past.UNKNOWN) if offset < self.unsure_below else None

    def beyond(self, offset: int) -> bytes:
        """The marks from ``offset`` on."""
        return self.marks[max(0, offset - self.base) :]

    def encode(self) -> str:
        """ASCII text of at most `MAX_CHARS` characters; never empty, for an empty one would be nobody's.

        Raises `ValueError` for more than `MAX_SPAN` marks: the caller caps the span.
        """
        marks = self.marks.rstrip(bytes([Mark.OPEN]))
        if len(marks) > MAX_SPAN:
            raise ValueError(f"{len(marks)} marks do not fit into an offset map of at most {MAX_SPAN}")
        kind, body = _shortest(marks)
        crowded = self.crowded or len(self.notes) > MAX_NOTES
        notes = _as_notes(self.base, max(0, self.unsure_below - self.base), sorted(self.notes.items())[:MAX_NOTES])
        agent = fit_name(self.agent) if Mark.STARTED in marks or self.notes else ""
        head = f"{_MAGIC}{kind}{'c' if crowded else 'n'}"
        checksum = _text(_checksum(head, self.base, body, notes, agent))
        return f"{head}{checksum}{_text(body)}.{_text(notes)}" + (f"@{agent}" if agent else "")

    @classmethod
    def decode(cls, text: str, base: int) -> OffsetMap | None:
        """The map that was committed together with ``base``.

        ``None`` for a text of somebody else (such as an empty one), of another version, or one that is damaged or
        belongs to another offset: nothing is known then.
        """
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        kind, crowded, checksum, body, noted = found[1], found[2], _raw(found[3]), _raw(found[4]), _raw(found[5])
        agent = found[6] or ""
        if body is None or noted is None:
            return None
        if checksum != _checksum(f"{_MAGIC}{kind}{crowded}", base, body, noted, agent):
            return None
        try:
            if kind.isupper():
                body = _inflated(body)
            marks = _from_runs(body) if kind in "rR" else _from_trits(body)
            unsure, notes = _from_notes(base, noted)
        except ValueError:
            return None
        marks = marks.rstrip(bytes([Mark.OPEN]))
        if agent and not notes and Mark.STARTED not in marks:
            return None  # nobody is named who began nothing
        return cls(base, marks, MappingProxyType(notes), crowded == "c", base + unsure if unsure else 0, agent)


def fit_name(agent: str) -> str:
    """The name of an agent as maps spell it."""
    return _UNFIT.sub("-", agent)[:_AGENT_CHARS]


def _checksum(head: str, base: int, body: bytes, notes: bytes, agent: str) -> bytes:
    """Over the offset as well: a map beside an offset that somebody moved by hand says nothing true."""
    said = f"{head}{base}:{len(body)}:{agent}:".encode() + body + notes
    return zlib.crc32(said).to_bytes(4, "big")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _raw(text: str) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None


def _inflated(body: bytes) -> bytes:
    """Raises `ValueError` for what does not inflate, or to more than any map needs."""
    inflater = zlib.decompressobj()
    try:
        raw = inflater.decompress(body, 3 * MAX_SPAN)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not inflater.eof:
        raise ValueError("too long, or cut off")
    return raw


# ── marks ────────────────────────────────────────────────────────────────────────────────────────────


def _shortest(marks: bytes) -> tuple[str, bytes]:
    """The kind and body of the shortest spelling; commits are made often, so it looks no further than it must."""
    if _runs_in(marks) * _TRITS > len(marks) + _TRITS:  # a run takes a byte or more
        kind, body = "t", _as_trits(marks)
    else:
        kind, body = "r", _as_runs(marks)
        if len(body) * _TRITS > len(marks):
            trits = _as_trits(marks)
            kind, body = min(("t", trits), (kind, body), key=lambda candidate: len(candidate[1]))
    if len(body) > _WORTH_DEFLATING_BYTES:
        deflated = zlib.compress(body, 6)
        kind, body = min((kind, body), (kind.upper(), deflated), key=lambda candidate: len(candidate[1]))
    return kind, body


def _runs_in(marks: bytes) -> int:
    """How many `_as_runs` would spell out one by one, which is dear where there are many."""
    return 1 + sum(map(marks.count, _CHANGES))


def _as_runs(marks: bytes) -> bytes:
    """Runs of equal marks: varints of the length, the mark in the two lowest bits."""
    out = bytearray()
    for run in _RUN.finditer(marks):
        start, end = run.span()
        _put_varint(out, (end - start) << 2 | marks[start])
    return bytes(out)


def _from_runs(body: bytes) -> bytes:
    """Raises `ValueError` for what `_as_runs` never makes."""
    marks = bytearray()
    for number in _varints(body):
        length, mark = number >> 2, number & 3
        if mark > Mark.DONE or not length or len(marks) + length > MAX_SPAN:
            raise ValueError("a run is none")
        marks += bytes([mark]) * length
    return bytes(marks)


def _as_trits(marks: bytes) -> bytes:
    """Five marks to a byte."""
    padded = marks + bytes(-len(marks) % _TRITS)
    a, b, c, d, e = (padded[i::_TRITS] for i in range(_TRITS))
    return bytes(v + 3 * (w + 3 * (x + 3 * (y + 3 * z))) for v, w, x, y, z in zip(a, b, c, d, e, strict=True))


def _from_trits(body: bytes) -> bytes:
    """Raises `ValueError` for what `_as_trits` never makes."""
    if len(body) * _TRITS > MAX_SPAN or any(byte >= 3**_TRITS for byte in body):
        raise ValueError("not marks")
    marks = bytearray()
    for packed in body:
        rest = packed
        for _ in range(_TRITS):
            rest, mark = divmod(rest, 3)
            marks.append(mark)
    return bytes(marks)


# ── notes ────────────────────────────────────────────────────────────────────────────────────────────


def _as_notes(base: int, unsure: int, notes: Iterable[tuple[int, Note]]) -> bytes:
    """How far it is unsure, then for each note how far its offset lies above the one before, and what it says."""
    notes = list(notes)
    out = bytearray()
    if not unsure and not notes:
        return b""
    _put_varint(out, unsure)
    last = base
    for offset, note in notes:
        _put_varint(out, offset - last)
        out.append(_as_byte(note))
        last = offset
    return bytes(out)


def _from_notes(base: int, body: bytes) -> tuple[int, dict[int, Note]]:
    """Raises `ValueError` for what `_as_notes` never makes."""
    if not body:
        return 0, {}
    unsure, at = _take_varint(body, 0)
    notes: dict[int, Note] = {}
    offset = base
    while at < len(body):
        above, at = _take_varint(body, at)
        if at == len(body):
            raise ValueError("the last note is cut off")
        offset += above
        if offset - base >= MAX_SPAN or len(notes) == MAX_NOTES:
            raise ValueError("a note too far away, or too many")
        notes[offset] = _from_byte(body[at])
        at += 1
    return unsure, notes


def _as_byte(note: Note) -> int:
    if note.ended is not None:
        return _ENDED[note.ended]
    begun = note.begun if note.begun <= MOST_ATTEMPTS else MANY
    return begun | (_GOES_ON if note.goes_on else 0)


def _from_byte(byte: int) -> Note:
    """Raises `ValueError` for what `_as_byte` never makes."""
    if (ending := _ENDINGS.get(byte)) is not None:
        return Note(1, ended=ending)
    begun = byte & MANY
    if MOST_ATTEMPTS < begun < MANY:
        raise ValueError("a note that says nothing")
    return Note(begun, goes_on=bool(byte & _GOES_ON))


# ── varints: seven bits to a byte, the lowest first, the eighth bit says that more follow ────────────


def _put_varint(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _take_varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends. Raises `ValueError`."""
    number = shift = 0
    while at < len(body) and shift <= _VARINT_BITS:
        byte = body[at]
        number |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if not byte & 0x80:
            return number, at
    raise ValueError("a number is cut off, or too long")


def _varints(body: bytes) -> Iterable[int]:
    """Raises `ValueError`."""
    at = 0
    while at < len(body):
        number, at = _take_varint(body, at)
        yield number
