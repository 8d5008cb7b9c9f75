"""Masks secrets in text and in byte streams, however the bytes are cut into pieces.

A secret is looked for as it is and in the forms that tools print it in (`needles`). Every byte that any
needle covers disappears; each unbroken stretch of covered bytes becomes one `MASK`. A secret that a program
takes apart itself (one character per line, reversed, encrypted) is beyond this.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from shlex import quote as shell_quote
from urllib.parse import quote, quote_plus

from agent.domain.json import Json

MASK = "[masked]"
"""What stands in the place of a secret, everywhere."""

MIN_SECRET_CHARS = 6
"""Shorter values occur by chance: masking them would shred the text and thereby tell what they are."""

_MASK = MASK.encode()
_BASE64_LEAD = (0, 2, 3)
"""How many base64 characters are touched by the 0, 1 or 2 bytes that stand before the secret in its group."""
_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")
_NUMERIC = re.compile(rb"[0-9.e+-]+")
_LONGEST_INT_BITS = 14_000
"""A little below the 4,300 digits from which on Python refuses to print an integer, in JSON as well."""
_USUAL = b'etaoinsrlhdcupmgfbwyv0123456789 .:-/=_,k"TEISARNOCLDPMUFGHBVWYx'
"""The bytes that text is mostly made of, the most usual first."""
_USUALNESS = bytes(len(_USUAL) - _USUAL.find(byte) if byte in _USUAL else 0 for byte in range(256))
_URL_PASSWORD = re.compile(r"://[^\s/:@]*:([^\s/@]+)@")


LOG_MASK = "agent.masked"
"""Under this name a function from text to text is bound to the agent's log, which masks what only a run knows."""


def is_maskable(secret: str) -> bool:
    """Whether ``secret`` is long enough to be masked. The caller warns about others, by their name."""
    return len(secret.strip()) >= MIN_SECRET_CHARS


def needles(secret: str) -> frozenset[bytes]:
    """Every form in which ``secret`` is looked for; empty where it is too short (see `is_maskable`).

    These are the value itself, each of its lines, the halves of ``user:password``, the password inside a
    URL, and of each of those the base64 form (standard and URL alphabet, at every alignment), the URL-quoted,
    JSON-escaped and shell-quoted ones. Forms and parts under `MIN_SECRET_CHARS` are left out.
    """
    return frozenset(form for part in _parts(secret) for form in _forms(part) if len(form) >= MIN_SECRET_CHARS)


class Redactor:
    """A set of needles that grows while text flows. Not thread-safe."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._needles: dict[bytes, int] = {}
        """Each with its least usual byte: a text without that needs no search, which takes longer. Never changed,
        but replaced as a whole: so copies share it, and no needle is known to one look and unknown to the next."""
        self._numeric = False
        """Whether some needle could stand in a number: most sets have none, and most numbers need no look."""
        for secret in secrets:
            self.add(secret)

    @property
    def size(self) -> int:
        """How many forms of secrets are looked for; grows with each that is new."""
        return len(self._needles)

    def add(self, secret: str) -> bool:
        """Masks ``secret`` from now on; bytes that a stream still holds back count as later ones.

        ``False``: it is too short and is not masked.
        """
        self._search_for(sorted(needles(secret)))
        return is_maskable(secret)

    def _search_for(self, needles: Iterable[bytes]) -> None:
        new = {needle: _least_usual(needle) for needle in needles if needle not in self._needles}
        self._numeric = self._numeric or any(map(_NUMERIC.fullmatch, new))
        self._needles = {**self._needles, **new}

    def copy(self) -> Redactor:
        """Another redactor that begins with the same secrets and grows by itself."""
        twin = Redactor()
        twin._needles, twin._numeric = self._needles, self._numeric
        return twin

    def finds(self, text: str) -> bool:
        """Whether a secret stands in ``text``."""
        return self._stands_in(_encode(text))

    def _stands_in(self, raw: bytes) -> bool:
        for needle in self._needles:  # noqa: SIM110 - `any` takes three times as long for the few that there are
            if needle in raw:
                return True
        return False

    def mask_text(self, text: str, *, is_cut: bool = False) -> str:
        """``text`` without the secrets; where it ``is_cut``, also without an end that may begin one."""
        if not self._needles:
            return text
        raw = _encode(text)
        if not is_cut and not self._stands_in(raw):
            return text
        stream = self.stream()
        shown = stream.feed(raw) if is_cut else stream.feed(raw) + stream.close()
        return shown.decode("utf-8", "surrogatepass")

    def mask_json(self, value: Json) -> Json:
        """A copy of ``value`` with every string, every key and every number masked, fit to be sent as JSON.

        A number in which a secret stands becomes text. So does what JSON cannot carry (infinite numbers, integers
        of thousands of digits, foreign objects).
        """
        if isinstance(value, str):
            return self.mask_text(value)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int) and value.bit_length() > _LONGEST_INT_BITS:
            return self.mask_text(hex(value))
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return self._mask_number(value) if self._numeric else value
        if isinstance(value, Mapping):
            return {self.mask_text(str(key)): self.mask_json(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_json(item) for item in value]
        return self.mask_text(str(value))

    def _mask_number(self, value: float) -> Json:
        text = str(value)
        masked = self.mask_text(text)
        return value if masked == text else masked

    def stream(self) -> StreamRedactor:
        """A new stream that masks with this set, as it is at each moment."""
        return StreamRedactor(self)

    def _covered(self, raw: bytes, already: int) -> Iterator[tuple[int, int]]:
        """The stretches of ``raw`` that needles cover, in order and merged; the first ``already`` bytes count."""
        found = [(0, already)] if already else []
        for needle, rarest in self._needles.items():
            start = raw.find(needle) if rarest in raw else -1
            while start >= 0:
                found.append((start, start + len(needle)))
                start = raw.find(needle, start + 1)
        found.sort()
        begin = end = -1
        for start, stop in found:
            if start > end:
                if end > 0:
                    yield begin, end
                begin = start
            end = max(end, stop)
        if end > 0:
            yield begin, end

    def _held(self, raw: bytes) -> int:
        """The length of the longest end of ``raw`` with which some needle could begin."""
        held = 0
        for needle in self._needles:
            first = needle[:1]
            start = raw.find(first, max(0, len(raw) - len(needle) + 1))
            while 0 <= start < len(raw) - held:
                if needle.startswith(raw[start:]):
                    held = len(raw) - start
                    break
                start = raw.find(first, start + 1)
        return held


class StreamRedactor:
    """Masks one stream of bytes, cut anywhere; made by `Redactor.stream`.

    It holds back as many bytes as might turn out to begin a secret, fewer than the longest needle has. They
    are never let out by time alone: that would print the first half of a secret.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._pending = b""
        self._already = 0
        """So many first bytes of ``_pending`` lie under a mask that has been let out."""
        self._under_mask = False
        """Whether the last thing let out was a mask: a stretch that continues it needs no second one."""

    def feed(self, chunk: bytes) -> bytes:
        """What may be shown by now, after ``chunk``."""
        raw = self._pending + chunk
        return self._release(raw, len(raw) - self._redactor._held(raw))  # noqa: SLF001 - two halves of one thing

    def close(self) -> bytes:
        """The rest; the stream has ended. Idempotent."""
        return self._release(self._pending, len(self._pending))

    def _release(self, raw: bytes, cut: int) -> bytes:
        if cut == 0:
            self._pending = raw
            return b""
        shown: list[bytes] = []
        position = already = 0
        for start, end in self._redactor._covered(raw, self._already):  # noqa: SLF001 - two halves of one thing
            if start >= cut:
                break
            if start > position:
                shown.append(raw[position:start])
                self._under_mask = False
            if not self._under_mask:
                shown.append(_MASK)
                self._under_mask = True
            position = min(end, cut)
            already = end - position
        if cut > position:
            shown.append(raw[position:cut])
            self._under_mask = False
        self._pending, self._already = raw[cut:], already
        return b"".join(shown)


def _least_usual(needle: bytes) -> int:
    ranks = needle.translate(_USUALNESS)
    return needle[ranks.index(min(ranks))]


def _parts(secret: str) -> Iterator[str]:
    if not is_maskable(secret):
        return
    yield secret
    lines = [line.strip() for line in secret.splitlines()]
    yield from (line for line in lines if is_maskable(line))
    user, colon, password = secret.strip().partition(":")
    if colon and len(lines) == 1:
        yield from (half for half in (user, password) if is_maskable(half))
    yield from (found for found in _URL_PASSWORD.findall(secret) if is_maskable(found))


def _forms(part: str) -> Iterator[bytes]:
    raw = _encode(part)
    yield raw
    yield from _base64_forms(raw)
    yield quote(raw).encode()
    yield quote(raw, safe="").encode()
    yield quote(raw, safe="!'()*").encode()  # JavaScript's encodeURIComponent
    yield quote_plus(raw).encode()
    yield json.dumps(part)[1:-1].encode()
    yield _encode(json.dumps(part, ensure_ascii=False)[1:-1])
    yield _encode(repr(part)[1:-1])  # Python's own, e.g. in the text of a KeyError
    if "'" in part:
        yield _encode(shell_quote(part)[1:-1])
        yield _encode(part.replace("'", "'\\''"))
    yield _encode("".join(f"\\{c}" if c in '\\"$`' else c for c in part))


def _base64_forms(raw: bytes) -> Iterator[bytes]:
    """The base64 characters that ``raw`` alone decides, for each place that it may have in a group of three.

    Standing alone, it decides its last character too.
    """
    forms = [b64encode(raw).rstrip(b"=")]
    for before, lead in enumerate(_BASE64_LEAD):
        padded = b64encode(b"\0" * before + raw)
        undecided = 1 if padded.endswith(b"=") else 0
        text = padded.rstrip(b"=")
        forms.append(text[lead : len(text) - undecided])
    for form in forms:
        yield form
        yield form.translate(_URL_ALPHABET)


def _encode(text: str) -> bytes:
    """UTF-8, and for the lone surrogates that JSON can carry the bytes that decode to them again."""
    return text.encode("utf-8", "surrogatepass")
