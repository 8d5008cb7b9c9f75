"""Starts one process: its pipes, its stdin, its session, its place in the kernel's order of victims."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.executors.proc_file import read_file, write_file
from agent.executors.process_tree import TRACKING_VARIABLE, Command, Descendants, children_of, children_of_thread

_TRACKING_VARIABLE = TRACKING_VARIABLE.encode()
_OOM_SCORE_ADJ = b"1000"
"""Where memory runs out, a child is to be killed and not the agent: the most there is, which counts as much as the
whole limit. With less a small child may outlive a large agent."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start, ready to be handed to the system. ``stdin`` ``None``: nothing to read."""

    argv: Sequence[bytes]
    environment: Mapping[bytes, bytes]
    cwd: Path
    stdin: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that was started, and the ends of the pipes that its output comes by."""

    command: Command
    process: subprocess.Popen[bytes]
    stdout_fd: int
    stderr_fd: int


def spawn(launch: Launch, family: Descendants) -> Spawned:
    """Starts a process, of which ``family`` is told. Raises `OSError`; then nothing is open."""
    tracking_id = family.new_tracking_id()
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for _ in range(2):
            read_fd, write_fd = os.pipe()
            ours.append(read_fd)
            theirs.append(write_fd)
        theirs.append(_readable(launch.stdin))
        process = subprocess.Popen(
            launch.argv,
            stdout=theirs[0],
            stderr=theirs[1],
            stdin=theirs[2],
            cwd=launch.cwd,
            env={**launch.environment, _TRACKING_VARIABLE: tracking_id.encode()},
            start_new_session=True,
            umask=0o077,
        )
    except BaseException:
        for fd in ours:
            os.close(fd)
        family.remove(tracking_id)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    command = Command(process.pid, tracking_id)
    family.add(command)
    _offer_newborn(process.pid)
    return Spawned(command, process, *ours)


def offer_to_the_kernel(pids: Iterable[int]) -> None:
    """Raises the score of processes, and of what they may have forked before.

    What they fork from then on inherits the score, but for a fork that was under way in that moment: it has the old
    score and no parent's list has it yet. Setting it before the program begins would take a launcher in between,
    which costs more than this and hides why a program cannot be started.
    """
    pending = list(pids)
    while pending:
        file = f"/proc/{(begun := pending.pop())}/oom_score_adj"
        try:
            if read_file(file).strip() == _OOM_SCORE_ADJ:
                continue  # and so it is with all that it has forked
            write_file(file, _OOM_SCORE_ADJ)
        except OSError:
            continue  # gone, or a system without such scores
        pending += children_of(begun)


def _offer_newborn(pid: int) -> None:
    """As `offer_to_the_kernel`, for a process that surely has another score, and one thread at most that forks."""
    with contextlib.suppress(OSError):
        write_file(f"/proc/{pid}/oom_score_adj", _OOM_SCORE_ADJ)
        offer_to_the_kernel(children_of_thread(pid, pid))


def _readable(content: bytes | None) -> int:
    """A file to be read as stdin. Raises `OSError`.

    Not a pipe: a child that never reads it can neither block nor break anything. It has no name, so that what it
    holds (inputs, opened secrets) is on no disk, where the system can do that.
    """
    if content is None:
        return os.open(os.devnull, os.O_RDONLY)
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("invocation")
    else:
        with tempfile.TemporaryFile(buffering=0) as file:
            fd = os.dup(file.fileno())
    try:
        written = os.pwrite(fd, content, 0)
        while written < len(content):
            written += os.pwrite(fd, memoryview(content)[written:], written)
    except OSError:
        os.close(fd)
        raise
    return fd
