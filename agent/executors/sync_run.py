"""What a synchronous Python action gets of its run: the same as an asynchronous one, in plain calls."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar, Unpack

from agent.domain.invocation import Invocation, RunId, View
from agent.domain.json import Json, JsonObject
from agent.domain.outcome import CancelReason
from agent.ports import EntityParts, LogStream, RunContext

T = TypeVar("T")


class RunCancelledError(asyncio.CancelledError):
    """The run is over: timed out or stopped. Raised by whatever a synchronous action asks of its run from then on.

    Like its base it is no `Exception`, so that ``except Exception`` does not keep a stopped action going.
    """


class Ask(Protocol):
    """Has work done where the run lives, and waits for its result."""

    def __call__(self, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """The result of ``work``. Raises what it raises, and `RunCancelledError` once the run is over."""


class LoopBridge:
    """An `Ask` from other threads into the event loop. Made and closed on the loop's thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._asked: set[concurrent.futures.Future[Any]] = set()

    def __call__(self, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """See `Ask`. Never to be called on the loop's own thread."""
        if self._loop.is_closed():
            raise RunCancelledError
        future = asyncio.run_coroutine_threadsafe(self._unless_closed(work), self._loop)
        self._asked.add(future)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RunCancelledError from None
        finally:
            self._asked.discard(future)

    def close(self) -> None:
        """The run is over: whoever waits is told so, and whoever asks later. Idempotent."""
        self._closed = True
        for future in list(self._asked):
            future.cancel()

    async def _unless_closed(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._closed:
            raise RunCancelledError
        return await work()


class SyncRun:
    """A run as a synchronous action sees it. Every method blocks until it is done; any thread may call them.

    Once the run was timed out or stopped they raise `RunCancelledError`.
    """

    def __init__(self, run: RunContext, ask: Ask) -> None:
        self._run = run
        self._ask = ask

    @property
    def run_id(self) -> RunId | None:
        """Port's id of the run."""
        return self._run.run_id

    @property
    def route(self) -> str:
        """The route's name."""
        return self._run.route

    @property
    def attempt(self) -> int:
        """1 the first time."""
        return self._run.attempt

    @property
    def invocation(self) -> Invocation:
        """The message, typed, with encrypted inputs opened."""
        return self._run.invocation

    @property
    def inputs(self) -> JsonObject:
        """The user's inputs."""
        return self._run.inputs

    @property
    def entity(self) -> JsonObject | None:
        """The entity that the action was invoked on, if any."""
        return self._run.entity

    @property
    def view(self) -> View:
        """The document that templates see."""
        return self._run.view

    @property
    def workspace(self) -> Path:
        """A private directory, removed after the run."""

        async def ask() -> Path:
            return self._run.workspace

        return self._ask(ask)

    @property
    def deadline_s(self) -> float:
        """The monotonic time at which the run is timed out."""
        return self._run.deadline_s

    @property
    def cancellation(self) -> CancelReason | None:
        """Why the run is being stopped, or ``None``; a run that is timed out is not stopped."""
        return self._run.cancellation

    @property
    def traceparent(self) -> str | None:
        """For whatever the action calls: its place in the run's trace. ``None``: traces are off."""
        return self._run.traceparent

    def log(self, message: str, *, level: str = "INFO") -> None:
        """One or more lines for the run's log."""
        self._tell(lambda run: run.log(message, level=level))

    def stream(self, name: str) -> LogStream:
        """A new stream of raw output."""

        async def ask() -> LogStream:
            return self._run.stream(name)

        return _SyncStream(self._ask(ask), self._ask)

    def mask(self, secret: str) -> None:
        """From now on ``secret`` is masked in everything that this run says."""
        self._tell(lambda run: run.mask(secret))

    def masked(self, text: str, *, is_cut: bool = False) -> str:
        """``text`` as it may leave the process; where it ``is_cut``, without an end that may begin a secret."""

        async def ask() -> str:
            return self._run.masked(text, is_cut=is_cut)

        return self._ask(ask)

    def link(self, url: str) -> None:
        """Adds a link to the run's page."""
        self._tell(lambda run: run.link(url))

    def summary(self, text: str) -> None:
        """Sets the run's summary."""
        self._tell(lambda run: run.summary(text))

    def status_label(self, text: str) -> None:
        """Sets the text beside the run's status."""
        self._tell(lambda run: run.status_label(text))

    def external_run_id(self, value: str) -> None:
        """Sets the other side's id of this run."""
        self._tell(lambda run: run.external_run_id(value))

    def output(self, name: str, value: Json) -> None:
        """A named result."""
        self._tell(lambda run: run.output(name, value))

    def response(self, request: JsonObject, response: JsonObject) -> None:
        """The exchange with another system, for report templates."""
        self._tell(lambda run: run.response(request, response))

    def retried(self, reason: str) -> None:
        """States a retry, for metrics."""
        self._tell(lambda run: run.retried(reason))

    def upsert_entity(self, blueprint: str, *, identifier: str | None = None, **parts: Unpack[EntityParts]) -> None:
        """Creates the entity or merges into it, tied to the run. Raises `EntityRefusedError`."""
        self._ask(lambda: self._run.upsert_entity(blueprint, identifier=identifier, **parts))

    def patch_entity(self, blueprint: str, *, identifier: str, **parts: Unpack[EntityParts]) -> None:
        """Changes the given parts of an existing entity, tied to the run. Raises `EntityRefusedError`."""
        self._ask(lambda: self._run.patch_entity(blueprint, identifier=identifier, **parts))

    def delete_entity(self, blueprint: str, *, identifier: str) -> None:
        """Deletes the entity, tied to the run. Raises `EntityRefusedError`."""
        self._ask(lambda: self._run.delete_entity(blueprint, identifier=identifier))

    def _tell(self, say: Callable[[RunContext], None]) -> None:
        async def ask() -> None:
            say(self._run)

        self._ask(ask)


class _SyncStream:
    """A log stream for other threads."""

    def __init__(self, stream: LogStream, ask: Ask) -> None:
        self._stream = stream
        self._ask = ask

    def write(self, chunk: bytes) -> None:
        async def ask() -> None:
            self._stream.write(chunk)

        self._ask(ask)

    def close(self) -> None:
        async def ask() -> None:
            self._stream.close()

        self._ask(ask)
