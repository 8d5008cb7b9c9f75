"""Any bytes in any pieces through a redactor: what is shown is exactly what no needle covers.

The oracle marks byte by byte. Needles come from the search as well: short ones over few letters, which overlap
themselves and each other, and whole secrets in all the forms in which the redactor looks for them.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from random import Random
from urllib.parse import quote, quote_plus

from agent.domain.json import Json
from agent.domain.redaction import MASK, Redactor, is_maskable, needles
from tests.fuzz.choices import Choices
from tests.fuzz.mutation import mutated_bytes
from tests.fuzz.target import Target, within

_LETTERS = b"aab\x00\xc3\xa9/+-=%\\\"' \n1.e"
_MOST_NEEDLES = 5
_LONGEST_NEEDLE = 6
_MOST_LETTERS = 16
_LIMIT_S = 0.05
_SECRETS = (
    "hunter2hunter2",
    "pä$s/w+rd'1 2\\é",
    "user:long password",
    "one line\nand another",
    "https://me:letmein@host/path",
    '{"key": "of an account"}',
    "1234567.5",
    "\ud800 lone \udc00",
    "aaaaaaa",
)
_FORMS: tuple[Callable[[str], str], ...] = (
    lambda secret: secret,
    lambda secret: json.dumps(secret)[1:-1],
    lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    lambda secret: quote(_encoded(secret), safe=""),
    lambda secret: quote_plus(_encoded(secret)),
    lambda secret: b64encode(_encoded(secret)).decode(),
    lambda secret: urlsafe_b64encode(_encoded(secret)).decode(),
    lambda secret: repr(secret)[1:-1],
)
"""Other hands that print a secret: whole, so that the mask must be found in its place."""


def check(source: bytes) -> None:
    """Builds a redactor, a stream and its pieces from ``source`` and compares what is shown with the oracle."""
    choices = Choices(source)
    check_one = choices.one_of((_check_stream, _check_stream, _check_growing, _check_text, _check_json))
    check_one(choices)


def oracle(raw: bytes, found: Sequence[tuple[int, int]]) -> bytes:
    """``raw`` with a mask in the place of each unbroken stretch that the ``found`` places cover."""
    covered = bytearray(len(raw))
    for start, end in found:
        covered[start:end] = b"\1" * (end - start)
    shown = bytearray()
    for index, hidden in enumerate(covered):
        if not hidden:
            shown.append(raw[index])
        elif index == 0 or not covered[index - 1]:
            shown += MASK.encode()
    return bytes(shown)


def _places(raw: bytes, wanted: Sequence[bytes], begin: int = 0) -> Iterator[tuple[int, int]]:
    """Where ``wanted`` stand in ``raw`` at or after ``begin``."""
    for needle in wanted:
        for start in range(begin, len(raw) - len(needle) + 1):
            if raw.startswith(needle, start):
                yield start, start + len(needle)


def _check_stream(choices: Choices) -> None:
    redactor, wanted = _redactor(choices)
    raw, chunks = _pieces(choices)
    expected = oracle(raw, list(_places(raw, wanted)))

    def shown() -> bytes:
        stream = redactor.stream()
        return b"".join(map(stream.feed, chunks)) + stream.close() + stream.close()

    assert within(_LIMIT_S, shown) == expected
    stream, fed, let_out = redactor.stream(), 0, 0
    for chunk in chunks:
        fed += len(chunk)
        let_out += len(stream.feed(chunk))
        assert len(stream._pending) < max(map(len, wanted), default=1)
    assert let_out <= len(expected)


def _check_growing(choices: Choices) -> None:
    """A secret that is added while the stream flows counts for what is held back and for what comes."""
    redactor, wanted = _redactor(choices)
    raw, chunks = _pieces(choices)
    added = choices.one_of(_SECRETS)
    if choices.flag():
        chunks[-1] += _encoded(added)
        raw += _encoded(added)
    turn = choices.number(0, len(chunks))
    stream = redactor.stream()
    shown = b"".join(map(stream.feed, chunks[:turn]))
    released = len(b"".join(chunks[:turn])) - len(stream._pending)
    assert redactor.copy().add(added) is is_maskable(added)
    redactor.add(added)
    shown += b"".join(map(stream.feed, chunks[turn:])) + stream.close()
    late = sorted(needles(added))
    assert shown == oracle(raw, [*_places(raw, wanted), *_places(raw, late, released)])


def _check_text(choices: Choices) -> None:
    """Text with a secret in it, in the form that some other hand gives it."""
    secret = choices.one_of(_SECRETS) if choices.flag() else _text(choices, 24)
    before, after = _text(choices, 12), _text(choices, 12)
    redactor = Redactor([secret])
    wanted = sorted(needles(secret))
    assert bool(wanted) is is_maskable(secret)
    form = choices.one_of(_FORMS)(secret)
    text = before + form + after
    raw = _encoded(text)
    masked = within(_LIMIT_S, lambda: redactor.mask_text(text))
    assert _encoded(masked) == oracle(raw, list(_places(raw, wanted)))
    assert not is_maskable(secret) or MASK in masked
    begun = redactor.mask_text(text, is_cut=True)
    assert _encoded(masked).startswith(_encoded(begun))
    assert redactor.mask_text(text + _text(choices, 8)).startswith(begun)
    assert redactor.mask_text(text) == masked


def _check_json(choices: Choices) -> None:
    """Whatever is in a value, what comes back can be sent and shows no secret."""
    redactor = Redactor(_SECRETS[: choices.number(0, len(_SECRETS))])
    value = _json(choices, depth=4)
    masked = redactor.mask_json(value)
    json.dumps(masked, allow_nan=False)
    for leaf in _leaves(masked):
        assert not any(needle in _encoded(leaf) for needle in redactor._needles)
    assert redactor.mask_json(masked) == masked
    if not redactor._needles and _is_json(value):
        assert masked == value


def _redactor(choices: Choices) -> tuple[Redactor, tuple[bytes, ...]]:
    """A redactor, and what it looks for: real secrets, or short needles over few letters."""
    if choices.flag():
        redactor = Redactor([choices.one_of(_SECRETS) for _ in range(choices.number(0, 2))])
    else:
        redactor = Redactor()
        some = [_letters(choices, _LONGEST_NEEDLE) for _ in range(choices.number(1, _MOST_NEEDLES))]
        redactor._search_for(filter(None, some))
    return redactor, tuple(redactor._needles)


def _pieces(choices: Choices) -> tuple[bytes, list[bytes]]:
    """A stream's bytes, letters and secrets, and the pieces in which it comes: it is cut anywhere."""
    raw = b""
    for _ in range(choices.number(1, 8)):
        match choices.number(0, 4):
            case 0 | 1:
                secret = _encoded(choices.one_of(_FORMS)(choices.one_of(_SECRETS)))
                lost = choices.one_of((0, 0, 1, 3))
                raw += secret[lost : len(secret) - choices.one_of((0, 0, 1, 3))]
            case 2:
                raw += choices.raw(choices.number(0, 12))
            case _:
                raw += _letters(choices, _MOST_LETTERS)
    cuts = sorted(choices.number(0, len(raw)) for _ in range(choices.number(0, 12)))
    return raw, [raw[begin:end] for begin, end in pairwise([0, *cuts, len(raw)])]


def _letters(choices: Choices, most: int) -> bytes:
    """A word over two letters, mostly."""
    letters = choices.one_of((b"ab", b"ab", b"aab", _LETTERS))
    return bytes(choices.one_of(letters) for _ in range(choices.number(1, most)))


def _text(choices: Choices, most: int) -> str:
    return choices.raw(choices.number(0, most)).decode("utf-8", "surrogateescape")


def _json(choices: Choices, depth: int) -> Json:
    match choices.number(0, 7 if depth else 5):
        case 0:
            return choices.one_of((None, True, False))
        case 1:
            power: int = choices.number(-(2**40), 2**40) ** choices.one_of((1, 1, 1, 3, 500))
            return power
        case 2:
            return choices.one_of((0.5, 1e300, math.inf, -math.inf, math.nan, 1234567.5, 11234567.55))
        case 3:
            return choices.one_of(_SECRETS) + _text(choices, 4)
        case 4 | 5:
            return _text(choices, 12)
        case 6:
            return [_json(choices, depth - 1) for _ in range(choices.number(0, 4))]
        case _:
            names = [_text(choices, 16) or choices.one_of(_SECRETS) for _ in range(choices.number(0, 4))]
            return {name: _json(choices, depth - 1) for name in names}


def _leaves(value: Json) -> Iterator[str]:
    """Every string and number below ``value``, names of members among them."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield name
            yield from _leaves(member)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _is_json(value: Json) -> bool:
    """Whether JSON can carry it as it is."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _mutate(source: bytes, chance: Random) -> bytes:
    """Other decisions at a few places; most of them are small numbers."""
    made = bytearray(source or b"\0")
    for _ in range(chance.randint(1, 4)):
        made[chance.randrange(len(made))] = chance.randrange(chance.choice((2, 16, 256)))
    return mutated_bytes(bytes(made), chance) if chance.random() < 0.3 else bytes(made)


_SEEDS = [Random(number).randbytes(60 + 6 * number) for number in range(60)]  # noqa: S311 - no secrets

TARGET = Target(check, _SEEDS, _mutate, max_bytes=512)
