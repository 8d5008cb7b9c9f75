"""What of a run's output waits to be sent: the beginning, of the rest the end, and a count of what is between.

Pure. However much is written, memory stays within the limits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.runs_api.log_tail import LogTail, bytes_of

_SEAM_BYTES = 64
"""What a change of level costs at least of the head, because it costs that much memory."""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How run output is bounded and joined. Sizes in bytes of UTF-8, times in seconds.

    A message goes out when its first line has waited for ``interval_s`` (``later_interval_s`` once the run's log
    is older than ``early_phase_s``; ``low_budget_factor`` times that while requests are scarce); sooner, but
    no more than once per ``interval_s``, when ``batch_bytes`` wait; at once when `message_bytes` do.
    After ``head_bytes`` of output only its last ``tail_bytes`` are kept.
    """

    batch_bytes: int = 12 * 1024
    smallest_message_bytes: int = 1024
    head_bytes: int = 1024 * 1024
    tail_bytes: int = 64 * 1024
    line_chars: int = 16 * 1024
    interval_s: float = 1.0
    later_interval_s: float = 4.0
    early_phase_s: float = 60.0
    low_budget_factor: float = 4.0
    flush_timeout_s: float = 20.0

    @property
    def message_bytes(self) -> int:
        """The most that one message holds, when output comes faster than messages should."""
        return 4 * self.batch_bytes


@dataclass(slots=True)
class Block:
    """Lines that follow one another and have one level. ``size_bytes`` counts their line ends, too."""

    level: str
    lines: list[str]
    line_count: int
    size_bytes: int

    @property
    def text(self) -> str:
        """The lines, joined."""
        return "\n".join(self.lines)

    def seal(self) -> None:
        """Keeps the lines as one text: many short ones take far more memory apart."""
        self.lines = [self.text]

    def split(self, max_bytes: int) -> tuple[Block, Block]:
        """Two blocks, the first of no more than ``max_bytes``: whole lines, or part of an overlong one."""
        text = self.text
        limit = max_bytes - 1 if text.isascii() else max_bytes // 4
        end = text.rfind("\n", 0, limit + 1)
        begin = end + 1 if end > 0 else limit
        end = end if end > 0 else limit
        first, rest = text[:end], text[begin:]
        lines = first.count("\n") + (begin > end)
        return (
            Block(self.level, [first], lines, bytes_of(first)),
            Block(self.level, [rest], self.line_count - lines, bytes_of(rest)),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Blocks that are sent together."""

    blocks: tuple[Block, ...]
    line_count: int = field(init=False)
    size_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Sums up."""
        object.__setattr__(self, "line_count", sum(block.line_count for block in self.blocks))
        object.__setattr__(self, "size_bytes", sum(block.size_bytes for block in self.blocks))

    @property
    def text(self) -> str:
        """All lines, joined."""
        return "\n".join(block.text for block in self.blocks)


class LogBuffer:
    """Takes lines and gives out batches, in the same order."""

    def __init__(self, limits: LogLimits) -> None:
        self._limits = limits
        self._blocks: deque[Block] = deque()
        self._head_left_bytes = limits.head_bytes
        self._tail = LogTail(limits.tail_bytes)
        self.waiting_bytes = 0
        """What may be sent now."""
        self.capped = False
        """Whether the head is full, so that lines may be left out."""

    @property
    def left_out_lines(self) -> int:
        """How many lines there were between the head and those that are kept for the end."""
        return self._tail.left_out_lines

    @property
    def line_count(self) -> int:
        """How many lines wait, those that are kept for the end included."""
        return sum(block.line_count for block in self._blocks) + self._tail.line_count

    def add(self, lines: Sequence[str], level: str) -> None:
        """Takes lines, none of which holds a line's end. Never fails."""
        begin = 0 if self.capped else self._fill_head(lines, level)
        if begin < len(lines):
            self._tail.add(lines[begin:], level)

    def end(self) -> None:
        """Nothing more will come: the kept end follows, after a note of what is missing before it."""
        if self.left_out_lines:
            amount = _amount(self._tail.left_out_bytes)
            self._append(f"… {self.left_out_lines:,} lines ({amount}) left out …", "INFO")
        for line in self._tail.take():
            self._append(line.text, line.level)

    def take(self, max_bytes: int) -> Batch | None:
        """The next lines, at most ``max_bytes`` of them; ``None`` if there are none."""
        taken: list[Block] = []
        room_bytes = max_bytes
        while self._blocks:
            if self._blocks[0].size_bytes > room_bytes:
                if taken:
                    break
                first, rest = self._blocks.popleft().split(max_bytes)
                self._blocks.extendleft((rest, first))
            block = self._blocks.popleft()
            taken.append(block)
            room_bytes -= block.size_bytes
        self.waiting_bytes = sum(block.size_bytes for block in self._blocks)
        return Batch(tuple(taken)) if taken else None

    def put_back(self, batch: Batch) -> None:
        """Returns a batch to the front, to be taken again in other sizes."""
        self._blocks.extendleft(reversed(batch.blocks))
        self.waiting_bytes += batch.size_bytes

    def drop_all(self) -> int:
        """Forgets everything that waits; returns how many lines that were."""
        lines = self.line_count
        self._blocks.clear()
        self._tail.take()
        self.waiting_bytes = 0
        return lines

    def _fill_head(self, lines: Sequence[str], level: str) -> int:
        """Adds lines to what may be sent until the head is full; how many."""
        for count, line in enumerate(lines):
            if bytes_of(line) > self._head_left_bytes:
                self.capped = True
                notice = f"… more than {_amount(self._limits.head_bytes)}: from here on only the end is kept …"
                self._append(notice, "INFO")
                return count
            self._head_left_bytes -= self._append(line, level)
        return len(lines)

    def _append(self, line: str, level: str) -> int:
        """Adds to what may be sent; returns what that costs of the head."""
        size_bytes = bytes_of(line)
        self.waiting_bytes += size_bytes
        last = self._blocks[-1] if self._blocks else None
        if last and last.level == level and last.size_bytes + size_bytes <= self._limits.batch_bytes:
            last.lines.append(line)
            last.line_count += 1
            last.size_bytes += size_bytes
            return size_bytes
        if last:
            last.seal()
        self._blocks.append(Block(level, [line], 1, size_bytes))
        return size_bytes + _SEAM_BYTES


def _amount(size_bytes: int) -> str:
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} bytes"
