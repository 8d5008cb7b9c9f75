"""What a process and its children take of the machine, as the kernel tells it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processor time since the start, user and system. Seconds.

    ``own_s`` is that of the process itself and of its children that run, ``children_s`` that of those that ended.
    """

    own_s: float
    children_s: float

    @classmethod
    def of(cls, *pids: int) -> Self:
        """The sum over these processes, as of now."""
        own_s = sum(_seconds(one)[0] for pid in pids for one in _family(pid))
        return cls(own_s, sum(_seconds(pid)[1] for pid in pids))

    def since(self, earlier: Cpu) -> Cpu:
        """What was used in between."""
        return Cpu(self.own_s - earlier.own_s, self.children_s - earlier.children_s)


def memory_mib(pid: int) -> float:
    """Memory of the process and of all that it started, in MiB; what they share is counted once."""
    return sum(_proportional_kib(one) for one in _family(pid)) / 1024


def resident_mib(pid: int) -> float:
    """Resident memory of the process alone, in MiB."""
    return _status_number(pid, "VmRSS") / 1024


def peak_mib(pid: int) -> float:
    """The most that was ever resident of the process alone since its start or `forget_peak`, in MiB."""
    return _status_number(pid, "VmHWM") / 1024


def forget_peak(pid: int) -> None:
    """`peak_mib` begins anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def threads(pid: int) -> int:
    """How many threads the process has."""
    return _status_number(pid, "Threads")


def open_files(pid: int) -> int:
    """How many file descriptors the process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - the names alone, which may go meanwhile


def _status_number(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _seconds(pid: int) -> tuple[float, float]:
    """Of the process itself, of its children that ended; nothing of one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0, 0.0
    utime, stime, cutime, cstime = (int(ticks) / _TICKS_PER_S for ticks in fields[11:15])
    return utime + stime, cutime + cstime


def _family(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [int(child) for path in tasks for child in path.read_text().split()]
    except OSError:
        return [pid]  # gone meanwhile
    return [pid, *(one for child in children for one in _family(child))]


def _proportional_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
