"""Any text as a commit's metadata, and any map as text: what is read is what was written, or nothing.

The search would hardly come past the checksum: for texts that a defect would write it is taken out of the way.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import islice
from random import Random
from string import ascii_letters, digits
from unittest.mock import patch

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
from agent.domain.earlier import Ending
from tests.fuzz.choices import Choices
from tests.fuzz.mutation import mutated_bytes
from tests.fuzz.target import Target, within

_LIMIT_S = 0.1
_LARGEST_OFFSET = 2**63 - 1
_AGENTS = ("", "agent-7d9f-x2x", "a" * 64)
_BASES = (0, 1234, 2**31, 2**62, _LARGEST_OFFSET - MAX_SPAN)


def check(source: bytes) -> None:
    """Makes a text or a map of ``source``."""
    choices = Choices(source)
    base = choices.one_of(_BASES)
    choices.one_of((_check_text, _check_unguarded_text, _check_map))(choices, base)


def _check_text(choices: Choices, base: int) -> None:
    """A text of somebody else says nothing, or what one of ours would say."""
    text = choices.rest().decode(errors="surrogateescape")
    found = within(_LIMIT_S, lambda: OffsetMap.decode(text, base))
    if found is not None:
        _check_found(found, base)


def _check_unguarded_text(choices: Choices, base: int) -> None:
    """What no encoder of ours made is refused, or can be passed on as what it was read as."""
    with _UNGUARDED:
        _check_text(choices, base)


def _check_map(choices: Choices, base: int) -> None:
    """What is written is read again; beside another offset, or damaged, it says nothing or the same."""
    written = _map(choices, base)
    text = within(_LIMIT_S, written.encode)
    assert text.isascii()
    assert text.isprintable()
    found = within(_LIMIT_S, lambda: OffsetMap.decode(text, base))
    assert found is not None
    for offset in _places(written):
        assert found.mark(offset) == written.mark(offset)
        assert len(written.notes) > MAX_NOTES or found.earlier(offset) == written.earlier(offset)
    _check_found(found, base)
    other = choices.number(0, _LARGEST_OFFSET)
    assert other == base or OffsetMap.decode(text, other) is None
    damaged = mutated_bytes(text.encode(), Random(choices.number(0, 2**16))).decode(errors="replace")  # noqa: S311 - no secrets
    read = within(_LIMIT_S, lambda: OffsetMap.decode(damaged, base))
    assert read is None or read == found


def _check_found(found: OffsetMap, base: int) -> None:
    """A map that was read is a value: it can be asked about any offset, and written again."""
    assert found.base == base
    assert len(found.marks) <= MAX_SPAN
    assert not found.marks.endswith(bytes([Mark.OPEN]))
    for offset in _places(found):
        found.earlier(offset)
    text = found.encode()
    assert len(text) <= MAX_CHARS
    assert OffsetMap.decode(text, base) == found


def _places(about: OffsetMap) -> Iterator[int]:
    """Offsets below, in and above the map."""
    end = about.base + len(about.marks)
    yield from (about.base - 1, end, end + 1, about.base + MAX_SPAN)
    yield from range(about.base, end, 1 + len(about.marks) // 48)
    yield from islice(about.notes, 48)


def _map(choices: Choices, base: int) -> OffsetMap:
    """A map as a ledger makes them; ``_AGENTS`` are names that stay as they are."""
    marks = _marks(choices)
    noted = {
        base + choices.number(0, MAX_SPAN - 1): _note(choices)
        for _ in range(choices.number(0, choices.one_of((0, 3, MAX_NOTES + 10))))
    }
    unsure = choices.one_of((0, base + choices.number(1, 2**40)))
    named = bool(noted) or Mark.STARTED in marks
    agent = choices.one_of(_AGENTS) if named else ""
    return OffsetMap(base, marks, noted, choices.flag(), unsure, agent)


def _note(choices: Choices) -> Note:
    """One as a ledger makes them; more than `MOST_ATTEMPTS` are `MANY` once they were written."""
    if choices.number(0, 3) == 0:
        return Note(1, ended=choices.one_of(tuple(Ending)))
    begun = choices.number(0, MOST_ATTEMPTS + 1)
    return Note(begun if begun <= MOST_ATTEMPTS else MANY, goes_on=choices.flag())


def _marks(choices: Choices) -> bytes:
    """Marks as a ledger makes them: in runs, at random, and singly."""
    marks = bytearray()
    for _ in range(choices.number(0, 12)):
        length = choices.number(0, choices.one_of((3, 20, 20, 70, 200, MAX_SPAN)))
        match choices.number(0, 3):
            case 0:
                marks += bytes([choices.number(0, Mark.DONE)]) * length
            case 1:
                chance = Random(choices.number(0, 2**16))  # noqa: S311 - no secrets
                marks += bytes(chance.choices(list(Mark), k=length))
            case _:
                marks += bytes(byte % len(Mark) for byte in choices.raw(length % 12))
    return bytes(marks[:MAX_SPAN])


# ── inputs ───────────────────────────────────────────────────────────────────────────────────────────

_UNGUARDED = patch.object(zlib, "crc32", lambda *_: 0)
_CHANCE = Random(1)  # noqa: S311 - no secrets
_MARKS = (
    b"\2",
    b"\2" * 300 + b"\1",
    b"\0\2" * 500,
    bytes(_CHANCE.choices(range(3), k=200)),
    bytes(_CHANCE.choices(range(3), (1, 1, 40), k=2000)),
)
"""They come as runs and as trits, deflated and not."""
with _UNGUARDED:
    _TEXTS = [OffsetMap(0, marks).encode().encode() for marks in _MARKS]
_SEEDS = [
    *(b"\0\1" + text for text in _TEXTS),
    *(b"\0\0" + text for text in (*_TEXTS, b"AM1r1Ek1DABbIJHAY", b"NO_METADATA", b'{"committed":1}')),
    b"\1\0AM2rnZSm2WwBbIJHAYF.rwKyAgEDgg@agent-1",
    *(bytes([place, 2]) + Random(place).randbytes(20 + 20 * place) for place in range(15)),  # noqa: S311 - no secrets
]
_WORDS = [bytes([letter]) for letter in (ascii_letters + digits + "-_.@").encode()]


def _mutate(source: bytes, chance: Random) -> bytes:
    """Another decision, or another letter."""
    made = bytearray(mutated_bytes(source, chance, _WORDS) or b"\0")
    if chance.random() < 0.5:
        made[chance.randrange(len(made))] = (
            chance.choice(_WORDS)[0] if chance.random() < 0.7 else chance.randrange(3)
        )
    return bytes(made)


TARGET = Target(check, _SEEDS, _mutate, max_bytes=4096)
