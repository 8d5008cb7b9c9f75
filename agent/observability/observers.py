"""How facts reach those who listen: one fan-out, and a table from the type of a fact to what hears it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

import structlog

from agent.domain.events import Event
from agent.ports import Ear, Observer, SelectiveObserver

E = TypeVar("E")

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Observers:
    """Tells every observer each fact, in order. One that fails breaks neither the logic nor the others.

    Thread-safe as far as the observers are. A failing observer keeps being told; its defect is logged once
    per type of fact, with the traceback. A `SelectiveObserver` is asked, once for each type of fact, what hears
    that, and is told by `notify` where it fails to say; the others hear everything so.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers
        self._lock = threading.Lock()
        self._told: set[tuple[int, type]] = set()
        self._ears: dict[type, tuple[tuple[int, Ear], ...]] = {}

    def notify(self, event: Event) -> None:
        """Passes ``event`` on to all. Never raises."""
        ears = self._ears.get(type(event))
        if ears is None:
            ears = self._ears[type(event)] = tuple(self._all_ears(type(event)))
        for index, hear in ears:
            try:
                hear(event)
            except Exception:  # noqa: BLE001 - an observer's defect must not become a run's failure
                self._complain(index, type(event))

    def _all_ears(self, kind: type) -> Iterator[tuple[int, Ear]]:
        for index, observer in enumerate(self._observers):
            ears: Sequence[Ear] = (observer.notify,)
            try:
                if isinstance(observer, SelectiveObserver):
                    ears = (*observer.ears(kind),)
            except Exception:  # noqa: BLE001 - as above; and a defect is not to cost it the facts
                self._complain(index, kind)
            yield from ((index, ear) for ear in ears)

    def _complain(self, index: int, kind: type) -> None:
        with self._lock:
            if (index, kind) in self._told:
                return
            self._told.add((index, kind))
        with suppress(Exception):  # the log itself may be what fails; then nobody is left to tell
            _log.exception("observer failed", observer=type(self._observers[index]).__name__, fact=kind.__name__)


class EventTable:
    """What is to be done for each type of fact; a type without an entry is passed over.

    Filled by constructors only, and looked up by exact type: one dictionary access, however many types. ``lock`` is
    held while an entry acts.
    """

    def __init__(self, lock: AbstractContextManager[object] | None = None) -> None:
        self._lock = lock
        self._acts: dict[type, Ear] = {}

    def on(self, kind: type[E], act: Callable[[E], object]) -> None:
        """Has ``act`` called with every fact of type ``kind``."""
        self._acts[kind] = act if self._lock is None else _locked(self._lock, act)

    def ears(self, kind: type) -> tuple[Ear, ...]:
        """The entry for facts of this type, if there is one."""
        act = self._acts.get(kind)
        return () if act is None else (act,)

    def notify(self, event: Event) -> None:
        """Does what the table says for ``event``."""
        act = self._acts.get(type(event))
        if act is not None:
            act(event)


def _locked(lock: AbstractContextManager[object], act: Callable[[E], object]) -> Callable[[E], object]:
    def locked(event: E) -> None:
        with lock:
            act(event)

    return locked
