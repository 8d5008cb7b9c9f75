"""Measures how long the event loop stands still, and knows whose Python actions may have made it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agent.domain.events import Event, LoopTicked, RunFinished, RunStarted
from agent.observability.observers import EventTable
from agent.ports import Clock, Ear, Observer

_TICK_S = 0.25
_PYTHON = "python"
"""The only executor that has strangers' code on the event loop."""


class LoopWatch:
    """Tells ``announce`` a `LoopTicked` four times a second, from the event loop's thread.

    Plain functions, which have threads of their own, are among the routes that it names: no fact tells them apart.
    """

    def __init__(self, clock: Clock, announce: Observer, *, tick_s: float = _TICK_S) -> None:
        self._clock = clock
        self._announce = announce
        self._tick_s = tick_s
        self._in_flight: list[str] = []
        self._since_last: set[str] = set()
        self._table = EventTable()
        self._table.on(RunStarted, self._started)
        self._table.on(RunFinished, self._finished)

    @property
    def python_routes(self) -> tuple[str, ...]:
        """Whose Python actions are being executed; may be asked on any thread."""
        return tuple(sorted(set(self._in_flight)))

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return self._table.ears(kind)

    def notify(self, event: Event) -> None:
        """Takes note of ``event``."""
        self._table.notify(event)

    async def keep_watching(self) -> None:
        """Watches the running event loop, until it is cancelled."""
        while True:
            due_s = self._clock.monotonic() + self._tick_s
            await asyncio.sleep(self._tick_s)
            late_s = max(0.0, self._clock.monotonic() - due_s)
            routes, self._since_last = self._since_last, set(self._in_flight)
            self._announce.notify(LoopTicked(late_s, tuple(sorted(routes))))

    def _started(self, event: RunStarted) -> None:
        if event.executor == _PYTHON:
            self._in_flight.append(event.route)
            self._since_last.add(event.route)

    def _finished(self, event: RunFinished) -> None:
        if event.executor == _PYTHON and event.route in self._in_flight:
            self._in_flight.remove(event.route)
