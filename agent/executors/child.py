"""One child process from its start to the death of the last of its descendants."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from agent.executors.exit_watch import ExitWatch
from agent.executors.pipes import PipeReader, Tail
from agent.executors.process_tree import Descendants
from agent.executors.spawn import Launch, offer_to_the_kernel, spawn
from agent.ports import LogStream

T = TypeVar("T")

_KILL_PATIENCE_S = 3.0
_LAST_OUTPUT_S = 1.0
_SECOND_LOOK_S = 0.5
"""By then forks are over that were under way as the kernel was told of the command; shorter commands are spared."""
_FIRST_READ_S = 0.02
"""Output that comes earlier is read by then: most commands have ended, and need no look at their pipes before."""
_PARTING_S = 0.1
"""A process closes its output a little before it is gone: so long nobody counts as left behind."""


class SignalScope(StrEnum):
    """Whom the polite request to end goes to."""

    GROUP = "group"
    """The whole tree of processes."""
    LEADER = "leader"
    """Only the command itself, which ends its workers in its own way."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended. ``returncode`` as in `subprocess`: negative for a signal; ``None`` if nobody knows.

    ``leftovers``: names of the processes that it had left behind, which were killed; ``killed``: so was it.
    """

    returncode: int | None
    leftovers: tuple[str, ...]
    killed: bool


class Child:
    """A child process that leads a session of its own. Loop thread only.

    Making it starts what ``launch`` says; its output goes to the streams ``stdout`` and ``stderr``. No thread would
    make that less of a pause for the loop: Python holds its lock until the program has begun. Raises `OSError`
    where it could not be started.
    """

    def __init__(self, launch: Launch, family: Descendants, open_stream: Callable[[str], LogStream]) -> None:
        spawned = spawn(launch, family)
        self._command = spawned.command
        self._family = family
        self._tail = Tail()
        self._readers = (
            PipeReader(spawned.stdout_fd, open_stream("stdout"), self._tail.stream()),
            PipeReader(spawned.stderr_fd, open_stream("stderr"), self._tail.stream()),
        )
        self._exit = ExitWatch(spawned.process)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(_FIRST_READ_S, self._goes_on)
        self._ending: Ending | None = None

    @property
    def tail(self) -> str:
        """The last lines of its output by now."""
        return self._tail.text

    async def ended(self, drain_s: float) -> Ending:
        """Waits until it has ended by itself; then ends what it left behind.

        Whoever of that still holds its output gets ``drain_s`` to finish. Cancelling this call changes nothing.
        """
        await asyncio.wait([self._exit.exited])
        self._timer.cancel()
        await self._output_ended(drain_s)
        return await self._finish(await self._deserted(time.monotonic() + _PARTING_S))

    async def stop(self, grace_s: float, scope: SignalScope) -> Ending:
        """SIGTERM, then after ``grace_s`` SIGKILL to whatever is left of the whole tree.

        A cancellation meanwhile kills at once; it is not let through, for the caller is being cancelled already.
        """
        deadline_s = time.monotonic() + grace_s
        with contextlib.suppress(asyncio.CancelledError):
            if self._ending is None and grace_s > 0:
                self._terminate(scope)
                await asyncio.wait([self._exit.exited], timeout=grace_s)
                if scope is SignalScope.GROUP:
                    await self._deserted(deadline_s)
        while self._ending is None:
            await settled(asyncio.ensure_future(self._finish()))
        return self._ending

    def _terminate(self, scope: SignalScope) -> None:
        if scope is SignalScope.LEADER:
            self._signal(self._command.pid, signal.SIGTERM)
            return
        outside = self._family.outside_group(self._command)
        self._signal_group(signal.SIGTERM)
        for pid in outside:
            self._signal(pid, signal.SIGTERM)

    def _living(self) -> dict[int, str]:
        return self._family.living(self._command, has_exited=self._exit.exited.done())

    async def _deserted(self, deadline_s: float) -> dict[int, str]:
        """Waits until nothing that it started is alive, at most up to ``deadline_s`` (monotonic); who is then."""
        pause_s = 0.002
        while living := self._living():
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                break
            await asyncio.sleep(min(pause_s, remaining_s))
            pause_s = min(pause_s * 2, 0.5)
        return living

    async def _finish(self, living: dict[int, str] | None = None) -> Ending:
        """Kills all that lives, takes the last output, reaps. Safe to be called again after a cancellation.

        ``living``: what a look has found just now.
        """
        if self._ending is None:
            killed = not self._exit.exited.done()
            leftovers = await self._kill(self._living() if living is None else living)
            await self._output_ended(_LAST_OUTPUT_S)
            for reader in self._readers:
                reader.close()
            self._timer.cancel()
            self._ending = Ending(self._exit.reap(), leftovers, killed)
            self._family.remove(self._command.tracking_id)
            if self._exit.exited.done():
                self._bury()
            else:
                self._exit.exited.add_done_callback(self._bury)  # it outlives SIGKILL
        return self._ending

    def _bury(self, _exited: object = None) -> None:
        """Its process id may be another's from now on."""
        self._exit.reap()
        self._family.remove(self._command.tracking_id, self._command.pid)

    async def _kill(self, living: dict[int, str]) -> tuple[str, ...]:
        """Kills until one look finds nobody; the names of those beside the child itself that it had to kill.

        ``living`` is what the first look has found.
        """
        names: dict[int, str] = {}
        deadline_s = time.monotonic() + _KILL_PATIENCE_S
        pause_s = 0.001
        while True:
            names.update(living)
            self._signal_group(signal.SIGKILL)
            for pid in living:
                self._signal(pid, signal.SIGKILL)
            if self._exit.exited.done() and not living:
                return tuple(names.values())
            if time.monotonic() > deadline_s:
                self._family.give_up(living)
                return tuple(names.values())
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.05)
            living = self._living()

    def _goes_on(self) -> None:
        self._listen()
        self._timer = self._loop.call_later(_SECOND_LOOK_S, self._look_again)

    def _look_again(self) -> None:
        offer_to_the_kernel([self._command.pid, *self._living()])

    def _listen(self) -> None:
        for reader in self._readers:
            reader.listen()

    async def _output_ended(self, within_s: float) -> None:
        for reader in self._readers:
            reader.take()
        open_ends = [reader.ended for reader in self._readers if not reader.ended.done()]
        if open_ends:
            self._listen()
            await asyncio.wait(open_ends, timeout=within_s)

    def _signal_group(self, number: signal.Signals) -> None:
        """The group's id cannot be another's while the child has not been reaped."""
        if not self._exit.is_reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._command.pid, number)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        if pid != self._command.pid or not self._exit.is_reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


async def settled(future: asyncio.Future[T]) -> int:
    """Waits until ``future`` is done, however often the caller is cancelled meanwhile; how often it was."""
    cancellations = 0
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            cancellations += 1
    return cancellations
