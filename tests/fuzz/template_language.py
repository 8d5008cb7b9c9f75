"""The template language once more, read off its description: the oracle of `tests.fuzz.templates`.

It finds the end of an expression one character at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from agent.domain.json import Json, compact

_VALUES: Sequence[Json] = (None, "", "text", "{{ .again }}", 0, -1.5, True, False, [], ["a", None], {}, {"k": "v"})
_OPENING = {"(": ")", "[": "]", "{": "}"}
_STRING = '"'
_INTERPOLATION = "\\("


def is_bad(source: str) -> bool:
    """Whether the expression is one that does not compile."""
    return "BAD" in source


def given(source: str) -> Json:
    """What the expression gives: its text alone decides."""
    return _VALUES[crc32(source.strip().encode("utf-8", "surrogatepass")) % len(_VALUES)]


def braced(text: str) -> str:
    """Stands for an encoding, and is easily seen."""
    return f"<{text}>"


class FailsError(Exception):
    """Rendering must fail."""


@dataclass(frozen=True)
class Expected:
    """What the language says of a value, read off its rules."""

    has_encode: bool
    is_name: bool

    def refuses(self, value: Json) -> bool:
        """Whether the value must not compile."""
        if isinstance(value, str):
            cut = pieces(value.strip())
            if cut is None or [is_jq for is_jq, _ in cut] != [True]:
                cut = pieces(value)
            return cut is None or any(is_jq and is_bad(text) for is_jq, text in cut)
        if isinstance(value, Mapping):
            return any((not _spreads(name) and self.refuses(name)) or self.refuses(v) for name, v in value.items())
        return isinstance(value, list) and any(map(self.refuses, value))

    def rendered(self, value: Json) -> Json:
        """What it gives. Raises `FailsError`."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return self._object(value)
        return [self.rendered(item) for item in value] if isinstance(value, list) else value

    def _object(self, value: Mapping[str, Json]) -> dict[str, Json]:
        members: dict[str, Json] = {}
        for name, member in value.items():
            if _spreads(name):
                spread = self.rendered(member)
                if spread is not None and not isinstance(spread, Mapping):
                    raise FailsError
                members.update(spread or {})
                continue
            key = self._text(name)
            if key is None or (key == "" and "{{" in name):
                continue
            if not isinstance(key, str):
                raise FailsError
            members[key] = self.rendered(member)
        return members

    def _text(self, text: str) -> Json:
        sole = pieces(text.strip())
        if sole is not None and [is_jq for is_jq, _ in sole] == [True]:
            return given(sole[0][1])
        out = ""
        for index, (is_jq, piece) in enumerate(pieces(text) or ()):
            out += self._interpolated(piece, begins=index == 0) if is_jq else piece
        return out

    def _interpolated(self, source: str, *, begins: bool) -> str:
        value = given(source)
        if value is None and self.is_name:
            raise FailsError
        text = value if isinstance(value, str) else compact(value)
        word, _, name = source.strip().partition(".")
        is_operators_own = begins or (word in ("env", "$ENV") and name.isascii() and name.isidentifier())
        return braced(text) if self.has_encode and not is_operators_own else text


def _spreads(name: str) -> bool:
    text = name.strip()
    if not (text.startswith("{{") and text.endswith("}}")):
        return False
    word, bracket, rest = text[2:-2].strip().partition("(")
    return (word, bracket) == ("spreadValue", "(") and rest.strip() == ")"


def pieces(text: str) -> list[tuple[bool, str]] | None:
    """``text`` cut where expressions begin and end; ``None`` where one never ends."""
    found: list[tuple[bool, str]] = []
    while "{{" in text:
        before, _, text = text.partition("{{")
        end = _end(text)
        if end is None:
            return None
        if before:
            found.append((False, before))
        found.append((True, text[:end]))
        text = text[end + 2 :]
    return [*found, (False, text)] if text else found


def _end(text: str) -> int | None:
    """Where ``}}`` stands outside of all strings and brackets."""
    inside: list[str] = []
    at = 0
    while at < len(text):
        here, top = text[at : at + 2], inside[-1] if inside else ""
        at += 1
        if top == _STRING:
            if here == _INTERPOLATION:
                inside.append(_INTERPOLATION)
            if here[0] == "\\":
                at += 1
            elif here[0] == _STRING:
                inside.pop()
        elif here == "}}" and not inside:
            return at - 1
        elif here[0] == "#":
            end = _comment_end(text, at)
            braces = text.find("}}", at, end) if not inside else -1
            at = braces if braces >= 0 else end
        elif here[0] == _STRING or here[0] in _OPENING:
            inside.append(here[0])
        elif top and here[0] == (")" if top == _INTERPOLATION else _OPENING[top]):
            inside.pop()
    return None


def _comment_end(text: str, at: int) -> int:
    """Where the comment's last line ends: one that ends with an odd number of backslashes is not its last."""
    while (end := text.find("\n", at)) >= 0:
        line = text[at:end].removesuffix("\r") if text[at:end].endswith("\\\r") else text[at:end]
        if (len(line) - len(line.rstrip("\\"))) % 2 == 0:
            return end
        at = end + 1
    return len(text)
