"""Who hears the facts: everyone, or nobody."""

from __future__ import annotations

from agent.domain.events import Event
from agent.observability.observers import Observers
from agent.ports import Observer


class Silent:
    """An observer that hears nothing: for commands that print what they find themselves."""

    def notify(self, event: object) -> None:
        """Does nothing."""


class Listeners:
    """The observers, known to everyone before they exist; what is told before `open` is heard by nobody."""

    def __init__(self) -> None:
        self._observers = Observers()

    def open(self, *observers: Observer) -> None:
        """From now on these hear everything."""
        self._observers = Observers(*observers)

    def notify(self, event: Event) -> None:
        """Passes a fact on."""
        self._observers.notify(event)
