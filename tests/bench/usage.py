"""What a process and its children take of the machine, as the kernel tells it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processor time since the start, of the process itself and of its children that have ended. Seconds."""

    own_s: float
    children_s: float

    @classmethod
    def of(cls, pid: int) -> Self:
        """As of now."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        utime, stime, cutime, cstime = (int(ticks) / _TICKS_PER_S for ticks in fields[11:15])
        return cls(utime + stime, cutime + cstime)

    def since(self, earlier: Cpu) -> Cpu:
        """What was used in between."""
        return Cpu(self.own_s - earlier.own_s, self.children_s - earlier.children_s)


def memory_mib(pid: int) -> float:
    """Memory of the process and of all that it started, in MiB; what they share is counted once."""
    return sum(_proportional_kib(one) for one in _family(pid)) / 1024


def _family(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = (int(child) for path in tasks for child in path.read_text().split())
    return [pid, *(one for child in children for one in _family(child))]


def _proportional_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
