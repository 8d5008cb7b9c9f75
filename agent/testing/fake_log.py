"""The log of a fake run."""

from __future__ import annotations

from dataclasses import dataclass

from agent.domain.redaction import StreamRedactor


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a fake run's log. ``stream``: the stream that it came by, empty for `RunContext.log`."""

    text: str
    level: str = "INFO"
    stream: str = ""


class FakeLog:
    """The lines of a run, up to a size; the first one that does not fit closes it."""

    def __init__(self, max_bytes: int) -> None:
        self.lines: list[LogLine] = []
        self.dropped_bytes = 0
        self.is_full = False
        self._room_bytes = max_bytes

    def add(self, line: LogLine) -> None:
        """Takes a line, or counts it."""
        size_bytes = len(line.text.encode(errors="replace"))
        self._room_bytes -= size_bytes
        self.is_full = self.is_full or self._room_bytes < 0
        if self.is_full:
            self.dropped_bytes += size_bytes
        else:
            self.lines.append(line)


class FakeStream:
    """Masks raw output, then cuts it into lines; an endless line is cut, so that memory stays bounded."""

    _LINE_MAX_BYTES = 256 * 1024

    def __init__(self, name: str, masker: StreamRedactor, log: FakeLog) -> None:
        self._name = name
        self._masker = masker
        self._log = log
        self._rest = b""

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        self._take(self._masker.feed(chunk))

    def close(self) -> None:
        """Takes what was held back. Idempotent."""
        self._take(self._masker.close())
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _take(self, shown: bytes) -> None:
        if self._log.is_full:
            self._log.dropped_bytes += len(shown)
            return
        *lines, self._rest = (self._rest + shown).split(b"\n")
        if len(self._rest) > self._LINE_MAX_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._say(line)

    def _say(self, line: bytes) -> None:
        self._log.add(LogLine(line.decode(errors="replace").removesuffix("\r"), stream=self._name))
