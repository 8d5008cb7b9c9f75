"""A memory limit of our own, where the machine lets us: cgroup version 1, below the cgroup that we are in."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp


class MemoryCgroup:
    """A cgroup with a limit. Raises `OSError` where none may be made."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def take_in(self, pid: int) -> None:
        """Moves a process here, with all that it starts from now on."""
        (self._place / "cgroup.procs").write_text(str(pid))

    def limit(self, limit_bytes: int) -> None:
        """Bounds what all processes in here may have together."""
        (self._place / "memory.limit_in_bytes").write_text(str(limit_bytes))

    @property
    def used_bytes(self) -> int:
        """What they have, caches included."""
        return int((self._place / "memory.usage_in_bytes").read_text())

    @property
    def kills(self) -> int:
        """How often the kernel has killed a process in here for memory."""
        words = (self._place / "memory.oom_control").read_text().split()
        return int(words[words.index("oom_kill") + 1])


@contextmanager
def memory_cgroup() -> Iterator[MemoryCgroup]:
    """A new one, which is removed at the end; by then nothing may live in it. Raises `OSError`."""
    place = Path(mkdtemp(prefix="action-agent-test-", dir=_own_cgroup()))
    try:
        yield MemoryCgroup(place)
    finally:
        _remove(place)


def _own_cgroup() -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return Path("/sys/fs/cgroup/memory") / path.lstrip("/")
    raise FileNotFoundError("there is no memory controller of cgroup version 1")


def _remove(place: Path) -> None:
    """The dead are counted for a moment longer."""
    deadline_s = time.monotonic() + 10
    while True:
        try:
            place.rmdir()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            return


if __name__ == "__main__":
    try:
        with memory_cgroup() as probe:
            probe.limit(64 * 1024 * 1024)
    except OSError as error:
        sys.exit(f"no memory cgroup can be made here: {error}")
