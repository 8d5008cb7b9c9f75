"""A bound on how long something may take, for what happens many times to each run."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class TimeLimit:
    """What `asyncio.timeout_at` is, at a fraction of its price: around what it bounds it raises `TimeoutError`.

    Moving the end back costs nothing, so one limit serves a short wait and a longer one after it. A plain context
    manager, for one use within one task; ``at_s`` is a time of the loop's clock, ``None`` no end.
    """

    __slots__ = ("_at_s", "_cancelling", "_due_s", "_expired", "_loop", "_task", "_timer")

    def __init__(self, at_s: float | None) -> None:
        self._at_s = at_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        """When the timer is due. It can't be asked: uvloop's is none, and does not know, where that is at once."""
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._expired = False

    @classmethod
    def after(cls, timeout_s: float | None) -> Self:
        """One that ends in ``timeout_s``, counted from now; ``None``: never."""
        limit = cls(None)
        if timeout_s is not None:
            limit._at_s = limit._loop.time() + timeout_s
        return limit

    @property
    def at_s(self) -> float | None:
        """When it ends."""
        return self._at_s

    @property
    def expired(self) -> bool:
        """Whether it was the end that cancelled the body."""
        return self._expired

    def move(self, at_s: float | None) -> None:
        """Sets another end. Of no effect once it has expired, or was left."""
        if self._expired or self._task is None:
            return
        self._at_s = at_s
        if at_s is not None and (self._timer is None or at_s < self._due_s):
            if self._timer is not None:
                self._timer.cancel()
            self._set_timer(at_s)

    def __enter__(self) -> Self:
        """Itself. Raises ``RuntimeError`` outside of a task."""
        self._task = asyncio.current_task(self._loop)
        if self._task is None:
            raise RuntimeError("a time limit bounds a task")
        self._cancelling = self._task.cancelling()
        if self._at_s is not None:
            self._set_timer(self._at_s)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises `TimeoutError` in place of the cancellation that the end brought about."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        task, self._task = self._task, None
        # Somebody else may have cancelled the task as well: that is theirs, and goes on.
        ours_alone = self._expired and task is not None and task.uncancel() <= self._cancelling
        if ours_alone and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _set_timer(self, at_s: float) -> None:
        self._due_s = at_s
        self._timer = self._loop.call_at(at_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._at_s is None or self._task is None:
            return
        if self._at_s > self._loop.time():  # it was moved back meanwhile
            self._set_timer(self._at_s)
            return
        self._expired = True
        self._task.cancel()
