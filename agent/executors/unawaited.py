"""A forgotten ``await`` does nothing, and silently: these find it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from agent.ports import RunContext

T = TypeVar("T")

_ASYNCHRONOUS = frozenset({"upsert_entity", "patch_entity", "delete_entity"})


class Unawaited:
    """The coroutines that somebody was given, and which of them nobody has awaited yet."""

    def __init__(self) -> None:
        self._given: list[tuple[str, Coroutine[Any, Any, Any]]] = []

    def note(self, name: str, coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """The same ``coroutine``, of which is known from now on that it is to be awaited."""
        self._given = [*self._unbegun(), (name, coroutine)]
        return coroutine

    def take(self) -> list[str]:
        """The names of those that were not awaited, in order; they never will be, and are forgotten."""
        unbegun, self._given = self._unbegun(), []
        for _, coroutine in unbegun:
            coroutine.close()
        return [name for name, _ in unbegun]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._unbegun())

    def _unbegun(self) -> list[tuple[str, Coroutine[Any, Any, Any]]]:
        return [
            (name, coroutine)
            for name, coroutine in self._given
            if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
        ]


class WatchedRun:
    """A run as an asynchronous action gets it: the same, but for what ``unawaited`` notes of it."""

    def __init__(self, run: RunContext, unawaited: Unawaited) -> None:
        self._run = run
        self._unawaited = unawaited

    def __getattr__(self, name: str) -> Any:
        """What the run itself has under this name."""
        found = getattr(self._run, name)
        return self._noted(name, found) if name in _ASYNCHRONOUS else found

    def _noted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *values, **parts: self._unawaited.note(name, call(*values, **parts))


def complaint(names: list[str]) -> str:
    """What is to be said of calls that nobody awaited."""
    calls = list(dict.fromkeys(names))
    were = "was" if len(calls) == 1 else "were"
    return f"{', '.join(calls)} {were} called without await, which does nothing: write `await run.{calls[0]}(...)`"
