"""Keeps the routes in force in step with their file."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from agent.domain.errors import ConfigurationError, Problem
from agent.domain.events import RoutesReloaded
from agent.domain.invocation import Invocation
from agent.domain.route import Unrouted, Verdict
from agent.ports import Observer, Routed
from agent.routing.document import read_file
from agent.routing.route_set import RouteSet

log = structlog.get_logger(__name__)

_CALLABLE = ".python.callable"
_READ_ONCE = "Python modules are read once; restart the agent to read them anew"

_Signature = tuple[int, int, int, int, int]


class FileReader(Protocol):
    """What makes routes of a file's content."""

    def parse(self, content: bytes, where: str) -> RouteSet:
        """The routes; ``where`` is the file's name. Raises `ConfigurationError` with every problem."""


class LiveRoutes:
    """Implements `agent.ports.Router` with the latest version of the file that was in order.

    The constructor reads the file and raises `ConfigurationError` if it is broken. What was resolved before a
    reload keeps its route and executor. Belongs to the event loop's thread.
    """

    def __init__(self, path: Path, reader: FileReader, observer: Observer) -> None:
        self._path = path
        self._reader = reader
        self._observer = observer
        self._signature = _signature(path)
        self._settled = False
        content = read_file(path)
        self._seen = _digest(content)
        self._current = reader.parse(content, str(path))

    @property
    def current(self) -> RouteSet:
        """The routes in force."""
        return self._current

    def resolve(self, invocation: Invocation) -> Routed | Unrouted:
        """The first route in force that matches, with its executor. Logs a condition that ran out of time."""
        routed = self._current.resolve(invocation)
        if isinstance(routed, Unrouted) and routed.undecided:
            log.warning("no route was found in time", run_id=invocation.run_id, reason=routed.reason)
        return routed

    def explain(self, invocation: Invocation) -> list[Verdict]:
        """Why each route in force does or does not match."""
        return self._current.explain(invocation)

    async def watch(self, interval_s: float) -> None:
        """Calls `refresh` for ever; ends by cancellation."""
        while True:
            await asyncio.sleep(interval_s)
            self.refresh()

    def refresh(self) -> bool:
        """Whether new routes came into force. Blocks while it reads and compiles a changed file.

        A file that is broken, or gone, is refused: the old routes stay, and observers hear of it once per
        version of the file. Nothing is told while nothing changes.
        """
        if self._looks_untouched():
            return False
        try:
            content = read_file(self._path)
        except ConfigurationError as error:
            return self._refused(str(error), error)
        digest = _digest(content)
        if digest == self._seen:
            return False
        try:
            routes = self._reader.parse(content, str(self._path))
        except ConfigurationError as error:
            return self._refused(digest, error)
        self._seen = digest
        self._current = routes
        told = tuple(str(warning) for warning in routes.warnings)
        self._observer.notify(RoutesReloaded(ok=True, routes=len(routes.routes), problems=told))
        return True

    def _looks_untouched(self) -> bool:
        """A file whose identity, size and times stay the same need not be read a third time.

        The second look is taken because a write within the clock's tick of the first changes none of them.
        """
        signature = _signature(self._path)
        same = signature is not None and signature == self._signature
        untouched = same and self._settled
        self._signature, self._settled = signature, same
        return untouched

    def _refused(self, seen: str, error: ConfigurationError) -> bool:
        if seen != self._seen:
            self._seen = seen
            problems = tuple(str(_with_hint(problem)) for problem in error.problems)
            self._observer.notify(RoutesReloaded(ok=False, routes=len(self._current.routes), problems=problems))
        return False


def _with_hint(problem: Problem) -> Problem:
    """A callable that is missing may stand in a file that was edited after the agent had read it."""
    if not problem.path.endswith(_CALLABLE):
        return problem
    return replace(problem, hint=f"{problem.hint}; {_READ_ONCE}" if problem.hint else _READ_ONCE)


def _signature(path: Path) -> _Signature | None:
    """What the file system says of the file behind any symbolic links; ``None`` if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
