"""Who hears the facts: everyone that they matter to, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.domain.events import DrainStarted, Event, SourceFailed
from agent.observability.observers import Observers
from agent.ports import Ear, Observer


class Silent:
    """An observer that hears nothing: for commands that print what they find themselves."""

    def notify(self, event: object) -> None:
        """Does nothing."""


class Listeners:
    """The observers, known to everyone before they exist; what is told before `open` is heard by nobody."""

    def __init__(self) -> None:
        self._observers = Observers()

    def open(self, *observers: Observer) -> None:
        """From now on these are told, each what it hears; see `agent.ports.SelectiveObserver`."""
        self._observers = Observers(*observers)

    def notify(self, event: Event) -> None:
        """Passes a fact on."""
        self._observers.notify(event)


class AtDrain:
    """Calls ``act`` when a drain begins, whatever began it, and when it is bound to: the source failed for good.

    The latter is told by the consumer's thread, also while an action blocks the event loop.
    """

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def ears(self, kind: type) -> Sequence[Ear]:
        """What is given facts that may be a reason to call."""
        return (self.notify,) if kind in (DrainStarted, SourceFailed) else ()

    def notify(self, event: Event) -> None:
        """Takes note of ``event``."""
        if isinstance(event, DrainStarted) or (isinstance(event, SourceFailed) and event.fatal):
            self._act()
