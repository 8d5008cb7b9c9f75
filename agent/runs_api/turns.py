"""Has requests wait for their turn, those that cannot wait before those that can."""

from __future__ import annotations

import asyncio

from agent.ports import Clock
from agent.runs_api.pace import Pace

_Queue = dict["asyncio.Future[bool]", float]
"""Who waits, and since when, in the order in which they go."""


class Turns:
    """The two queues before a `Pace`. Belongs to the event loop's thread."""

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._pace = pace
        self._clock = clock
        self._urgent: _Queue = {}
        self._patient: _Queue = {}
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, *, can_wait: bool, until: asyncio.Event | None = None) -> bool:
        """Returns when it is this request's turn; `True` if it goes to look whether Port still refuses.

        One that ``can_wait`` lets others go first until ``until`` is set. Cancelled, it gives its place away.
        """
        now_s = self._clock.monotonic()
        can_wait = can_wait and not (until is not None and until.is_set())
        if not self._urgent and not (can_wait and self._patient):
            due_s = self._pace.patient_due_s(now_s) if can_wait else self._pace.urgent_due_s(queued=False)
            if due_s <= now_s:
                return self._pace.take(now_s, can_wait=can_wait)
        if can_wait and until is not None:
            return await self._queue_until(until)
        return await self._stand(self._patient if can_wait else self._urgent, _turn())

    def changed(self) -> None:
        """The pace has other times than before."""
        if self._urgent or self._patient:
            self._plan()

    async def _queue_until(self, until: asyncio.Event) -> bool:
        turn = _turn()
        hurry = asyncio.create_task(until.wait())
        hurry.add_done_callback(lambda done: None if done.cancelled() else self._cannot_wait(turn))
        try:
            return await self._stand(self._patient, turn)
        finally:
            hurry.cancel()  # it ends before whoever waits for this one hears of it

    async def _stand(self, queue: _Queue, turn: asyncio.Future[bool]) -> bool:
        queue[turn] = self._clock.monotonic()
        self._plan()
        try:
            return await turn
        finally:
            if turn.cancelled():
                self._urgent.pop(turn, None)
                self._patient.pop(turn, None)
                self._plan()

    def _cannot_wait(self, turn: asyncio.Future[bool]) -> None:
        if turn in self._patient:
            self._urgent[turn] = self._patient.pop(turn)
            self._plan()

    def _plan(self) -> None:
        """Sees to it that the next one goes in time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._urgent or self._patient:
            wait_s = self._next_due_s() - self._clock.monotonic()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._go)

    def _next_due_s(self) -> float:
        if self._urgent:
            return self._pace.urgent_due_s(queued=True)
        return self._pace.patient_due_s(next(iter(self._patient.values())))

    def _go(self) -> None:
        """Everybody goes whose turn it is."""
        self._timer = None
        now_s = self._clock.monotonic()
        while (queue := self._urgent or self._patient) and self._next_due_s() <= now_s:
            turn = next(iter(queue))
            del queue[turn]
            if not turn.done():
                turn.set_result(self._pace.take(now_s, can_wait=queue is self._patient))
        self._plan()


def _turn() -> asyncio.Future[bool]:
    return asyncio.get_running_loop().create_future()
