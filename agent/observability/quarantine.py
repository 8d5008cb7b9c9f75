"""Messages that could not be acted on, kept in a bounded file for whoever looks into them.

They may hold what users typed: the file is for the agent's user alone (mode 0600), and small.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import queue
import stat
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.domain.events import MessageKept, MessageNotKept
from agent.ports import Clock, Observer

LEAST_BYTES = 64 * 1024
"""A quarantine of less could not hold a line of use."""
_KEPT_BYTES = 64 * 1024
_KEPT_DETAIL_CHARS = 500
_WAITING = 100
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class NoQuarantine:
    """Keeps nothing."""

    def keep(self, body: bytes, origin: str, reason: str, detail: str) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True)
class _Entry:
    at_epoch_s: float
    origin: str
    reason: str
    detail: str
    size: int
    beginning: bytes

    def line(self) -> bytes:
        document = {
            "at": datetime.fromtimestamp(self.at_epoch_s, UTC).isoformat(timespec="milliseconds"),
            "origin": self.origin,
            "reason": self.reason,
            "detail": self.detail,
            "size": self.size,
            "body": base64.b64encode(self.beginning).decode(),
        }
        return json.dumps(document).encode() + b"\n"


class QuarantineFile:
    """Appends a JSON line for each message to ``path``; what is full becomes ``path`` with ``.1`` behind it.

    Both together have at most ``max_bytes``, which must be `LEAST_BYTES` or more, and a message at most its first
    64 KiB. A thread of its own writes, begun with the first message, so that no disk ever holds up a run; when it
    is too far behind, or the disk takes nothing, messages are not kept, and observers hear of each. `keep` may be
    called on any thread.
    """

    def __init__(self, path: Path, max_bytes: int, observer: Observer, clock: Clock) -> None:
        self._path = path
        self._generation_bytes = max_bytes // 2
        self._kept_bytes = min(_KEPT_BYTES, max_bytes // 4)
        self._observer = observer
        self._clock = clock
        self._waiting: queue.Queue[_Entry | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write_all, name="quarantine", daemon=True)
        self._begun = False
        self._lock = threading.Lock()

    def keep(self, body: bytes, origin: str, reason: str, detail: str) -> None:
        """Has a message written, with the time and why it is there."""
        detail, beginning = detail[:_KEPT_DETAIL_CHARS], body[: self._kept_bytes]
        entry = _Entry(self._clock.epoch(), origin, reason, detail, len(body), beginning)
        try:
            self._begin()
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._observer.notify(MessageNotKept("overrun", "messages come faster than they can be written"))
        except RuntimeError as error:
            self._observer.notify(MessageNotKept("thread", str(error)))

    def close(self) -> None:
        """Returns once everything is written, however long the disk takes."""
        if self._begun:
            self._waiting.put(None)
            self._thread.join()

    def _begin(self) -> None:
        with self._lock:
            if not self._begun:
                self._thread.start()
                self._begun = True

    def _write_all(self) -> None:
        while (entry := self._waiting.get()) is not None:
            try:
                self._append(entry.line())
            except OSError as error:
                code = errno.errorcode.get(error.errno or 0, "unknown")
                self._observer.notify(MessageNotKept(code, f"{self._path}: {error.strerror or error}"))
            else:
                self._observer.notify(MessageKept(entry.reason, str(self._path)))

    def _append(self, line: bytes) -> None:
        """Writes all of ``line`` or nothing. Raises `OSError`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._make_room(len(line))
        file = os.open(self._path, _FLAGS, 0o600)
        try:
            _claim(file)
            size = os.fstat(file).st_size
            if os.write(file, line) < len(line):
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)

    def _make_room(self, needed: int) -> None:
        try:
            size = self._path.lstat().st_size
        except FileNotFoundError:
            return
        if size + needed > self._generation_bytes:
            self._path.replace(self._path.with_name(self._path.name + ".1"))


def _claim(file: int) -> None:
    """Has the file be for the agent's user alone. Raises `OSError`, also for what is no regular file."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    os.fchmod(file, 0o600)
