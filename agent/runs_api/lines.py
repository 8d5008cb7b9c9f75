"""Makes readable lines of a program's output. Pure."""

from __future__ import annotations

import codecs
import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROL_BYTES = bytes((*range(9), *range(11, 32), 127))
_BEFORE_HIGH_CONTROLS = b"\xc2"
"""With it UTF-8 begins U+0080 to U+009F, and few other characters."""
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # titles, links and the like
    r"|\x1b[ -/]*[0-~]"
)


def clean(text: str) -> str:
    """``text`` without terminal escapes and control characters, but with its tabs and line ends."""
    if _is_surely_clean(text) or _CONTROL.search(text) is None:
        return text
    return _CONTROL.sub("", _ESCAPE.sub("", text.replace("\r\n", "\n")))


def _is_surely_clean(text: str) -> bool:
    """Whether no control character is in ``text``, seen in a sixth of the time that a regular expression takes."""
    raw = text.encode("utf-8", "surrogatepass")
    return _BEFORE_HIGH_CONTROLS not in raw and len(raw.translate(None, _CONTROL_BYTES)) == len(raw)


class LineCutter:
    """Cuts one stream of bytes into lines, wherever it was cut before.

    Invalid UTF-8 becomes U+FFFD. A line may end in LF or CRLF. Of a line that was overwritten by carriage
    returns (a progress bar), what a terminal would show in the end remains. Of a line longer than ``max_chars``
    the beginning remains and a note of how much is left out; it is never held in memory whole.
    """

    def __init__(self, max_chars: int) -> None:
        self.cuts = 0
        """How many lines were too long so far."""
        self._max_chars = max_chars
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._partial = ""
        self._left_out = 0

    def feed(self, raw: bytes) -> list[str]:
        """The lines that ``raw`` completes."""
        return self._cut(self._decoder.decode(raw))

    def close(self) -> list[str]:
        """The last line, if the stream did not end with a line's end. The cutter may be used again."""
        lines = self._cut(self._decoder.decode(b"", final=True))
        return [*lines, self._end_line()] if self._partial else lines

    def _cut(self, text: str) -> list[str]:
        first, *others = text.split("\n")
        self._extend(first)
        if not others:
            return []
        lines = [self._end_line()]
        last = others.pop()
        if "\r" not in text and max(map(len, others), default=0) <= self._max_chars:
            lines += others
        else:
            for piece in others:
                self._extend(piece)
                lines.append(self._end_line())
        self._extend(last)
        return lines

    def _extend(self, piece: str) -> None:
        text = self._partial + piece
        overwritten = text.rstrip("\r").rfind("\r") + 1
        if overwritten:
            text, self._left_out = text[overwritten:], 0
        self._left_out += max(0, len(text) - self._max_chars)
        self._partial = text[: self._max_chars]

    def _end_line(self) -> str:
        line, left_out = self._partial.rstrip("\r"), self._left_out
        self._partial, self._left_out = "", 0
        if not left_out:
            return line
        self.cuts += 1
        return f"{line} … {left_out:,} characters left out …"
