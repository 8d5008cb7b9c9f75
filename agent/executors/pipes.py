"""Reads a child's output as it comes, without a thread and without ever making the child wait for Port."""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque

from agent.ports import LogStream

_CHUNK_BYTES = 64 * 1024
_LAST_READS = 64
_TAIL_LINES = 10
_TAIL_BYTES = 1024
_LINE_BYTES = 4096
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Tail:
    """The last lines of a child's output, for the reason of a failure.

    Only whole lines are kept: half of one might begin or end within a secret, where it could not be masked. Lines
    of several streams stand in the order of their ends.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=_TAIL_LINES)

    def stream(self) -> TailStream:
        """One more stream, whose lines are cut apart by themselves."""
        return TailStream(self._lines)

    @property
    def text(self) -> str:
        """At most 10 lines and 1 KiB, without empty lines, colours and control characters; may be empty."""
        kept: list[str] = []
        room_bytes = _TAIL_BYTES
        for line in reversed(self._lines):
            text = _plain(line)
            room_bytes -= len(text.encode()) + 1
            if room_bytes < 0:
                break
            if text.strip():
                kept.append(text)
        return "\n".join(reversed(kept))


class TailStream:
    """One stream's part of a `Tail`."""

    def __init__(self, lines: deque[bytes]) -> None:
        self._lines = lines
        self._rest = b""
        self._overlong = False

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes; only their last lines cost anything."""
        first, *lines = chunk.rsplit(b"\n", _TAIL_LINES + 1)
        if lines:
            if b"\n" not in first and not self._overlong:
                self._keep(self._rest + first)
            for line in lines[:-1]:
                self._keep(line)
            self._rest, self._overlong = lines[-1], False
        else:
            self._rest += first
        if len(self._rest) > _LINE_BYTES:
            self._rest, self._overlong = b"", True

    def close(self) -> None:
        """The stream ended; so did its last line."""
        if not self._overlong:
            self._keep(self._rest)
        self._rest = b""

    def _keep(self, line: bytes) -> None:
        if line and len(line) <= _LINE_BYTES:
            self._lines.append(line)


class PipeReader:
    """Moves what a pipe gives into a log stream and a tail, one bounded read at a time. Loop thread only.

    Reads nothing by itself before `listen`.
    """

    def __init__(self, fd: int, stream: LogStream, tail: TailStream) -> None:
        self._fd = fd
        self._stream = stream
        self._tail = tail
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done once the pipe is closed: everyone who could write to it is gone, or `close` was called."""
        self._listens = False
        os.set_blocking(fd, False)

    def listen(self) -> None:
        """From now on output is read as it comes. Idempotent."""
        if not self._listens and not self.ended.done():
            self._listens = True
            self._loop.add_reader(self._fd, self._read)

    def take(self) -> None:
        """Takes what is in the pipe by now; of what is written meanwhile no more than 4 MiB. Idempotent."""
        for _ in range(_LAST_READS):
            if self.ended.done() or not self._read():
                break

    def close(self) -> None:
        """Takes what is in the pipe by now, and no more. Idempotent."""
        self.take()
        self._end()

    def _read(self) -> bool:
        try:
            chunk = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._end()
            return False
        self._stream.write(chunk)
        self._tail.write(chunk)
        return True

    def _end(self) -> None:
        if not self.ended.done():
            if self._listens:
                self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._stream.close()
            self._tail.close()
            self.ended.set_result(None)


def _plain(line: bytes) -> str:
    """What a terminal would show of a line in the end: without colours, and after its last carriage return."""
    text = _ESCAPES.sub("", line.decode(errors="replace").rstrip("\r"))
    return _CONTROLS.sub("", text.rpartition("\r")[2])
