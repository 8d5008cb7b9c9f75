"""The bounded passage between the consumer's thread and the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence

from agent.ports import Delivery


class Handoff:
    """Deliveries wait here from the thread that fetched them to the loop that acts on them.

    `put`, `full` and `wait_for_room` belong to the consumer's thread, `get` and `close` to the loop. A batch is
    always taken, even beyond the bound: the thread must look at `full` before it fetches more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_records: int, max_bytes: int) -> None:
        self._loop = loop
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._deliveries: deque[Delivery] = deque()
        self._bytes = 0
        self._closed = False
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._arrival = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether no more should be fetched."""
        with self._lock:
            return self._is_full()

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Passes a batch on. After the loop was closed it is dropped: nobody can act on it."""
        with self._lock:
            self._deliveries.extend(deliveries)
            self._bytes += sum(len(d.body) for d in deliveries)
        self._wake_loop()

    def wait_for_room(self, timeout_s: float) -> bool:
        """Waits until there is room again; ``False`` if there is none after ``timeout_s``."""
        with self._lock:
            return self._room.wait_for(lambda: not self._is_full(), timeout_s)

    def fail(self, error: BaseException) -> None:
        """The thread cannot go on: `get` raises ``error`` once everything before it was taken."""
        with self._lock:
            self._failure = error
        self._wake_loop()

    async def get(self) -> Delivery | None:
        """The next delivery; ``None`` once closed. Cancelling it loses nothing: taking is one step."""
        while True:
            with self._lock:
                if self._closed:
                    return None
                if self._deliveries:
                    return self._take()
                if self._failure is not None:
                    raise self._failure
                self._arrival.clear()
            await self._arrival.wait()

    def close(self) -> None:
        """What waits is dropped (it was never started, so it comes again); `get` gives ``None`` from now on."""
        with self._lock:
            self._closed = True
            self._deliveries.clear()
            self._bytes = 0
            self._room.notify_all()
        self._arrival.set()

    def _take(self) -> Delivery:
        was_full = self._is_full()
        delivery = self._deliveries.popleft()
        self._bytes -= len(delivery.body)
        if was_full and not self._is_full():
            self._room.notify_all()
        return delivery

    def _is_full(self) -> bool:
        if self._closed:
            return False
        return len(self._deliveries) >= self._max_records or self._bytes >= self._max_bytes

    def _wake_loop(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._arrival.set)
        except RuntimeError:  # the loop is gone, and with it everyone who could wait
            return
