"""Finds and ends everything that a command started, however it hides.

The agent makes itself the reaper of its orphans (Linux: ``PR_SET_CHILD_SUBREAPER``). So whatever a command leaves
behind becomes a child of the agent sooner or later, also after a double fork into a new session, and one look
at the agent's own children finds it. Whose it is tell its session, or the tracking id in its environment.

Elsewhere, and where ``/proc`` does not list children, only the command's process group is known.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from agent.executors.proc_file import KernelFile, read_file

TRACKING_VARIABLE = "AGENT_RUN_TRACKING_ID"
_PR_SET_CHILD_SUBREAPER = 36
_UNCLAIMED_AFTER_S = 600.0


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was started: its process leads a session and a group of its own."""

    pid: int
    tracking_id: str


@dataclass(frozen=True, slots=True)
class _Stat:
    name: str
    zombie: bool
    group: int
    session: int


class Descendants:
    """The processes below the agent, by command. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._numbers = count(1)
        self._current: set[str] = set()
        self._leaders: set[int] = set()
        self._members: dict[int, str] = {}
        self._unclaimed_since_s: dict[int, float] = {}
        self._given_up: set[int] = set()
        self._own_children = _own_children_file() if _become_subreaper() else None

    def new_tracking_id(self) -> str:
        """A value for `TRACKING_VARIABLE` of a command that will be started; `remove` ends its use."""
        tracking_id = f"{self._prefix}-{next(self._numbers)}"
        self._current.add(tracking_id)
        return tracking_id

    def add(self, command: Command) -> None:
        """States that ``command`` was started."""
        self._leaders.add(command.pid)

    def remove(self, tracking_id: str, pid: int | None = None) -> None:
        """The command is over (or never began): what still carries its id is nobody's. Idempotent.

        ``pid``: its own process has ended as well, and was reaped.
        """
        self._current.discard(tracking_id)
        if self._members:
            self._members = {member: owner for member, owner in self._members.items() if owner != tracking_id}
        if pid is not None:
            self._leaders.discard(pid)

    def give_up(self, pids: Iterable[int]) -> None:
        """These outlive SIGKILL, as what waits for a dead disk does: no command is to wait for them any more.

        Those that the agent has adopted are reaped once they have ended after all.
        """
        self._given_up.update(pids)

    def living(self, command: Command, *, has_exited: bool = False) -> dict[int, str]:
        """What is alive of ``command`` beside its own process: names by process id. Reaps its dead orphans.

        ``has_exited`` states that its own process has: the children of that are the agent's by now. Nothing that
        lived during the whole call is missed: whose parent dies meanwhile is looked for again.
        """
        dead: set[int] = set()
        while self._own_children is not None:
            known_dead = len(dead)
            found = self._look(command, dead, has_exited=has_exited)
            if found or len(dead) == known_dead:
                self._members.update(dict.fromkeys(found, command.tracking_id))
                return found
        return {}

    def outside_group(self, command: Command) -> list[int]:
        """Those of `living` that a signal to the command's process group does not reach."""
        stats = {pid: _stat(pid) for pid in self.living(command)}
        return [pid for pid, stat in stats.items() if stat is not None and stat.group != command.pid]

    def _look(self, command: Command, dead: set[int], *, has_exited: bool) -> dict[int, str]:
        found: dict[int, str] = {}
        pending = [] if has_exited else children_of(command.pid)
        pending += self._orphans_of(command, dead)
        while pending:
            pid = pending.pop()
            stat = _stat(pid)
            if stat is None or stat.zombie:
                dead.add(pid)
            elif pid not in found:
                found[pid] = stat.name
                pending.extend(children_of(pid))
        return found

    def _orphans_of(self, command: Command, dead: set[int]) -> list[int]:
        """The agent's children by adoption that come from ``command``, or from a command that is over."""
        found = []
        children = [] if self._own_children is None else _numbers_in(self._own_children.read())
        strangers = set(children) - self._leaders
        self._given_up.intersection_update(children)
        if self._unclaimed_since_s:
            self._unclaimed_since_s = {pid: s for pid, s in self._unclaimed_since_s.items() if pid in strangers}
        for pid in strangers:
            stat = _stat(pid)
            if stat is None:
                continue
            if stat.zombie:
                dead.add(pid)
                self._reap(pid, stat)
            elif pid in self._given_up:
                continue
            elif stat.session == command.pid or (stat.session != os.getsid(0) and self._claims(command, pid)):
                found.append(pid)  # what a command starts may leave its session, but never joins the agent's
        return found

    def _claims(self, command: Command, pid: int) -> bool:
        owner = _tracking_id(pid)
        if owner is None:
            owner = self._members.get(pid, "")  # a killed process loses its environment before it is a zombie
        if not owner.startswith(self._prefix):
            return False
        return owner == command.tracking_id or owner not in self._current

    def _reap(self, pid: int, stat: _Stat) -> None:
        """Reaps an orphan; a child that a Python action started and will wait for is left to it.

        The dead have no environment. One in a session that is neither a command's nor the agent's own is
        an orphan as well, unless somebody waits for it: that is given time.
        """
        is_known = pid in self._members or pid in self._given_up
        if not is_known and stat.session not in self._leaders:
            if stat.session == os.getsid(0):
                return
            now_s = time.monotonic()
            if now_s - self._unclaimed_since_s.setdefault(pid, now_s) < _UNCLAIMED_AFTER_S:
                return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _become_subreaper() -> bool:
    if sys.platform != "linux":
        return False
    refused: int = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return not refused


def _own_children_file() -> KernelFile | None:
    """The children of the main thread, which is the one that adopts; ``None`` where the kernel does not tell."""
    try:
        return KernelFile(f"/proc/self/task/{os.getpid()}/children")
    except OSError:
        return None


def children_of(pid: int) -> list[int]:
    """The ids of a process's children, zombies included; none where the kernel does not tell."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - makes no objects
    except OSError:
        return []
    return [child for task in tasks for child in children_of_thread(pid, task)]


def children_of_thread(pid: int, task: int | str) -> list[int]:
    """As `children_of`, of one thread of the process: those that it has started itself."""
    try:
        return _numbers_in(read_file(f"/proc/{pid}/task/{task}/children"))
    except OSError:  # it has just ended
        return []


def _numbers_in(text: bytes) -> list[int]:
    return [int(word) for word in text.split()]


def _stat(pid: int) -> _Stat | None:
    """``None`` if there is no such process any more. The name may contain anything, also parentheses."""
    try:
        text = read_file(f"/proc/{pid}/stat").decode(errors="replace")
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return _Stat(name, zombie=fields[0] in "ZX", group=int(fields[2]), session=int(fields[3]))


def _tracking_id(pid: int) -> str | None:
    """Empty for a process that carries none; ``None`` for one whose environment is gone or cannot be read."""
    try:
        environment = read_file(f"/proc/{pid}/environ")
    except OSError:
        return None
    if not environment:
        return None
    marker = f"{TRACKING_VARIABLE}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(marker):
            return entry.removeprefix(marker).decode(errors="replace")
    return ""
