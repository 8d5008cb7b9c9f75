"""Whether the container's memory limit has killed something, as the kernel counts it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from agent.executors.proc_file import KernelFile

_PROC = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


class OomCounter:
    """The ``oom_kill`` counter of the agent's own cgroup, of version 2 or 1."""

    def __init__(self, file: Path | None = None) -> None:
        path = file or counter_file(_PROC, _CGROUPS)
        self._file: KernelFile | None = None
        with suppress(OSError):
            self._file = None if path is None else KernelFile(str(path))

    def read(self) -> int | None:
        """How many processes were killed so far; ``None`` where the kernel does not tell."""
        if self._file is None:
            return None
        try:
            words = self._file.read().split()
            return int(words[words.index(b"oom_kill") + 1])
        except (OSError, ValueError, IndexError):
            self._file = None
            return None


def counter_file(membership: Path, cgroups: Path) -> Path | None:
    """Where the kernel counts for the process whose ``/proc/self/cgroup`` is ``membership``.

    ``cgroups`` is where cgroups are mounted. In a container the process's own may be the root of what it sees,
    whatever its path is called outside.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    candidates: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        own = path.lstrip("/")
        if not controllers:
            candidates += (cgroups / own / "memory.events", cgroups / "memory.events")
        elif "memory" in controllers.split(","):
            root = cgroups / "memory"
            candidates += (root / own / "memory.oom_control", root / "memory.oom_control")
    return next((file for file in candidates if file.exists()), None)
