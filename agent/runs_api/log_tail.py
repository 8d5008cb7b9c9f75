"""The end of an output of any length. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LINE_BYTES = 64
"""What a kept line counts at least, because it costs that much memory."""
_SLACK_BYTES = 256 * 1024
"""How much more than is kept in the end may be held meanwhile: to cut at each line is what a flood costs most."""


@dataclass(frozen=True, slots=True)
class KeptLine:
    """A line of the end; ``size_bytes`` as in `bytes_of`."""

    text: str
    level: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """Lines that came together, in UTF-8: as text, one emoji would have all of it take four bytes a character.

    ``least_bytes`` is what they cost at least.
    """

    raw: bytes
    level: str
    line_count: int
    least_bytes: int

    @property
    def size_bytes(self) -> int:
        return len(self.raw) + 1

    def lines(self) -> Iterator[tuple[bytes, str]]:
        return ((line, self.level) for line in self.raw.split(b"\n"))


class LogTail:
    """Keeps the last lines that cost no more than ``max_bytes`` together, the very last one in any case.

    Of what it leaves out it keeps the count.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: deque[_Piece] = deque()
        self._least_bytes = 0
        self._left_out_lines = self._left_out_bytes = 0

    @property
    def line_count(self) -> int:
        """How many lines are kept."""
        self._cut()
        return sum(piece.line_count for piece in self._pieces)

    @property
    def left_out_lines(self) -> int:
        """How many lines came before those that are kept."""
        self._cut()
        return self._left_out_lines

    @property
    def left_out_bytes(self) -> int:
        """The size of those."""
        self._cut()
        return self._left_out_bytes

    def add(self, lines: Sequence[str], level: str) -> None:
        """Takes lines, none of which holds a line's end. Costs little more for many of them than for one."""
        if not lines:
            return
        self._keep("\n".join(lines).encode("utf-8", "surrogatepass"), level, len(lines))
        while self._least_bytes - self._pieces[0].least_bytes >= self._max_bytes:
            piece = self._pieces.popleft()
            self._least_bytes -= piece.least_bytes
            self._leave_out(piece.line_count, piece.size_bytes)
        if self._least_bytes > self._max_bytes + _SLACK_BYTES:
            self._cut()

    def take(self) -> list[KeptLine]:
        """The lines that are kept; from then on none are."""
        self._cut()
        kept = [
            KeptLine(line.decode("utf-8", "surrogatepass"), level, len(line) + 1)
            for piece in self._pieces
            for line, level in piece.lines()
        ]
        self._pieces.clear()
        self._least_bytes = 0
        return kept

    def _keep(self, raw: bytes, level: str, line_count: int) -> None:
        piece = _Piece(raw, level, line_count, max(len(raw) + 1, _LINE_BYTES * line_count))
        self._pieces.append(piece)
        self._least_bytes += piece.least_bytes

    def _leave_out(self, line_count: int, size: int) -> None:
        self._left_out_lines += line_count
        self._left_out_bytes += size

    def _cut(self) -> None:
        """Leaves out all that costs too much, to the line."""
        if not self._pieces:  # as nearly always
            return
        lines = [line for piece in self._pieces for line in piece.lines()]
        room_bytes, begin = self._max_bytes, len(lines)
        while begin and (begin == len(lines) or _cost_bytes(lines[begin - 1][0]) <= room_bytes):
            begin -= 1
            room_bytes -= _cost_bytes(lines[begin][0])
        if begin:
            self._leave_out(begin, sum(len(line) + 1 for line, _ in lines[:begin]))
            self._pieces.clear()
            self._least_bytes = 0
            for line, level in lines[begin:]:
                self._keep(line, level, 1)


def _cost_bytes(line: bytes) -> int:
    """What it takes of the room."""
    return max(len(line) + 1, _LINE_BYTES)


def bytes_of(text: str) -> int:
    """One line or several, each with its end, in UTF-8."""
    return 1 + (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))
