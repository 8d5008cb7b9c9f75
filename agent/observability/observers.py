"""How facts reach those who listen: one fan-out, and a table from the type of a fact to what hears it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from agent.domain.events import Event
from agent.ports import Observer, SelectiveObserver

E = TypeVar("E")

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Observers:
    """Tells every observer each fact, in order. One that fails breaks neither the logic nor the others.

    Thread-safe as far as the observers are. A failing observer keeps being told; its defect is logged once
    per type of fact, with the traceback. A `SelectiveObserver` is asked, once for each type of fact, whether it
    hears that, and is told where it fails to say; the others hear everything.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        self._lock = threading.Lock()
        self._told: set[tuple[int, type]] = set()
        self._listeners: dict[type, tuple[tuple[int, Observer], ...]] = {}

    def notify(self, event: Event) -> None:
        """Passes ``event`` on to all. Never raises."""
        listeners = self._listeners.get(type(event))
        if listeners is None:
            listeners = self._listeners[type(event)] = tuple(self._who_hear(type(event)))
        for index, observer in listeners:
            try:
                observer.notify(event)
            except Exception:  # noqa: BLE001 - an observer's defect must not become a run's failure
                self._complain(index, observer, type(event))

    def _who_hear(self, kind: type) -> Iterator[tuple[int, Observer]]:
        for index, observer in enumerate(self._observers):
            try:
                hears = not isinstance(observer, SelectiveObserver) or observer.hears(kind)
            except Exception:  # noqa: BLE001 - as below; and a defect is not to cost it the facts
                self._complain(index, observer, kind)
                hears = True
            if hears:
                yield index, observer

    def _complain(self, index: int, observer: Observer, kind: type) -> None:
        with self._lock:
            if (index, kind) in self._told:
                return
            self._told.add((index, kind))
        with suppress(Exception):  # the log itself may be what fails; then nobody is left to tell
            _log.exception("observer failed", observer=type(observer).__name__, fact=kind.__name__)


class EventTable:
    """What is to be done for each type of fact; a type without an entry is passed over.

    Filled by constructors only, and looked up by exact type: one dictionary access, however many types.
    """

    def __init__(self) -> None:
        self._acts: dict[type, Callable[[Any], None]] = {}

    def on(self, kind: type[E], act: Callable[[E], None]) -> None:
        """Has ``act`` called with every fact of type ``kind``."""
        self._acts[kind] = act

    def hears(self, kind: type) -> bool:
        """Whether facts of this type have an entry."""
        return kind in self._acts

    def notify(self, event: Event) -> None:
        """Does what the table says for ``event``."""
        act = self._acts.get(type(event))
        if act is not None:
            act(event)
