"""Whether the container's memory limit has killed something, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path


class OomCounter:
    """The ``oom_kill`` counter of the agent's own cgroup (version 2)."""

    def __init__(self, events_file: Path | None = None) -> None:
        self._file = events_file or _events_file()

    def read(self) -> int | None:
        """How many processes were killed so far; ``None`` where the kernel does not tell."""
        if self._file is None:
            return None
        try:
            words = self._file.read_text().split()
            return int(words[words.index("oom_kill") + 1])
        except (OSError, ValueError, IndexError):
            self._file = None
            return None


def _events_file() -> Path | None:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if own is None:
        return None
    root = Path("/sys/fs/cgroup")
    return next((file for file in (root / own / "memory.events", root / "memory.events") if file.exists()), None)
