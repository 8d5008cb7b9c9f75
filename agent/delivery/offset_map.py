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
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from typing import Final

MAX_CHARS: Final = 4_095
"""What a broker takes by default (``offset.metadata.max.bytes``: 4,096), less the NUL that librdkafka adds."""

MAX_SPAN: Final = 15_000
"""How many offsets one map covers at most."""

_MAGIC = "AM1"
_TEXT = re.compile(r"AM1([rtRT])([A-Za-z0-9_-]{6})([A-Za-z0-9_-]*)")
_TRITS = 5
_WORTH_DEFLATING_BYTES = 60
_VARINT_BITS = 21
"""Three bytes hold any length up to the span, and its mark."""


class Mark(IntEnum):
    """What is known of one message. An offset that holds no message counts as done."""

    OPEN = 0
    STARTED = 1
    DONE = 2


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """The marks of the offsets from ``base`` on, one byte each; what lies beyond them is open."""

    base: int
    marks: bytes = b""

    def mark(self, offset: int) -> Mark:
        """The mark of ``offset``; what lies below ``base`` is done."""
        if offset < self.base:
            return Mark.DONE
        index = offset - self.base
        return Mark(self.marks[index]) if index < len(self.marks) else Mark.OPEN

    def beyond(self, offset: int) -> bytes:
        """The marks from ``offset`` on."""
        return self.marks[max(0, offset - self.base) :]

    def encode(self) -> str:
        """ASCII text of at most `MAX_CHARS` characters; empty where nothing is known above ``base``.

        Raises `ValueError` for more than `MAX_SPAN` marks: the caller caps the span.
        """
        marks = self.marks.rstrip(bytes([Mark.OPEN]))
        if len(marks) > MAX_SPAN:
            raise ValueError(f"{len(marks)} marks do not fit into an offset map of at most {MAX_SPAN}")
        if not marks:
            return ""
        plain = {"r": _as_runs(marks), "t": _as_trits(marks)}
        deflated = {
            kind.upper(): zlib.compress(body, 9)
            for kind, body in plain.items()
            if len(body) > _WORTH_DEFLATING_BYTES
        }
        kind, body = min((plain | deflated).items(), key=lambda candidate: len(candidate[1]))
        return f"{_MAGIC}{kind}{_text(_checksum(self.base, kind, body))}{_text(body)}"

    @classmethod
    def decode(cls, text: str, base: int) -> OffsetMap | None:
        """The map that was committed together with ``base``.

        ``None`` for a text of somebody else, of another version, or one that is damaged or belongs to another
        offset: nothing is known then. The empty text is an empty map.
        """
        if not text:
            return cls(base)
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        kind, checksum, body = found[1], _raw(found[2]), _raw(found[3])
        if body is None or checksum != _checksum(base, kind, body):
            return None
        try:
            if kind.isupper():
                body = _inflated(body)
            marks = _from_runs(body) if kind in "rR" else _from_trits(body)
        except ValueError:
            return None
        return cls(base, marks.rstrip(bytes([Mark.OPEN])))


def _checksum(base: int, kind: str, body: bytes) -> bytes:
    """Over the offset as well: a map beside an offset that somebody moved by hand says nothing true."""
    return zlib.crc32(f"{_MAGIC}{kind}{base}:".encode() + body).to_bytes(4, "big")


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


def _as_runs(marks: bytes) -> bytes:
    """Runs of equal marks: varints of the length, the mark in the two lowest bits."""
    out = bytearray()
    for mark, run in groupby(marks):
        number = sum(1 for _ in run) << 2 | mark
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)
    return bytes(out)


def _from_runs(body: bytes) -> bytes:
    """Raises `ValueError` for what `_as_runs` never makes."""
    marks = bytearray()
    number = shift = 0
    for byte in body:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80:
            if shift > _VARINT_BITS:
                raise ValueError("a run is too long")
            continue
        length, mark = number >> 2, number & 3
        if mark > Mark.DONE or not length or len(marks) + length > MAX_SPAN:
            raise ValueError("a run is none")
        marks += bytes([mark]) * length
        number = shift = 0
    if shift:
        raise ValueError("the last run is cut off")
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
