"""Starts one process: its pipes, its stdin, its session, its place in the kernel's order of victims."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from agent.executors.proc_file import read_file, write_file
from agent.executors.process_tree import TRACKING_VARIABLE, Command, Descendants, children_of

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
    with ExitStack() as always, ExitStack() as on_failure:
        ends = [os.pipe(), os.pipe()]
        for read_fd, write_fd in ends:
            on_failure.callback(os.close, read_fd)
            always.callback(os.close, write_fd)
        tracking_id = family.new_tracking_id()
        on_failure.callback(family.remove, tracking_id)
        process = subprocess.Popen(
            launch.argv,
            stdin=_readable(launch.stdin, always),
            stdout=ends[0][1],
            stderr=ends[1][1],
            cwd=launch.cwd,
            env={**launch.environment, TRACKING_VARIABLE.encode(): tracking_id.encode()},
            start_new_session=True,
            umask=0o077,
        )
        command = Command(process.pid, tracking_id)
        family.add(command)
        _offer_newborn(process.pid)
        on_failure.pop_all()
        return Spawned(command, process, ends[0][0], ends[1][0])


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
    """As `offer_to_the_kernel`, for a process that surely has another score."""
    with contextlib.suppress(OSError):
        write_file(f"/proc/{pid}/oom_score_adj", _OOM_SCORE_ADJ)
        offer_to_the_kernel(children_of(pid))


def _readable(content: bytes | None, stack: ExitStack) -> int:
    """A file to be read as stdin, closed by ``stack``.

    Not a pipe: a child that never reads it can neither block nor break anything. It has no name, so that what it
    holds (inputs, opened secrets) is on no disk, where the system can do that.
    """
    if content is None:
        fd = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, fd)
        return fd
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("invocation")
        stack.callback(os.close, fd)
    else:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the stack closes it
        fd = stack.enter_context(file).fileno()
    written = os.pwrite(fd, content, 0)
    while written < len(content):
        written += os.pwrite(fd, memoryview(content)[written:], written)
    return fd
