"""The life of the whole: start, run, and the orderly timeline of the end.

stop intake → drain → terminate → kill → report → commit → leave the group → exit
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from agent.dispatch.dispatcher import Dispatcher
from agent.domain.errors import SourceLostError
from agent.domain.events import DrainStarted
from agent.domain.outcome import CancelReason
from agent.domain.timeline import LEAVE_S, MARGIN_S, Timeline
from agent.ports import Observer, Reporter, Source

log = structlog.get_logger(__name__)

Service = Callable[[], Awaitable[None]]
"""Something that goes on beside the runs (a reload loop, a server), until it is cancelled at the very end."""


class Stop:
    """The wish to stop: once to drain, twice to skip the drain. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._urgent = asyncio.Event()

    def ask(self) -> None:
        """Asks for a stop; a second time, for a quick one."""
        if self._asked.is_set():
            self._urgent.set()
        self._asked.set()

    async def asked(self) -> None:
        """Waits until someone asks."""
        await self._asked.wait()

    async def urgent(self) -> None:
        """Waits until someone asks twice."""
        await self._urgent.wait()


class Lifecycle:
    """Runs the agent until it is asked to stop or its source is lost."""

    def __init__(
        self,
        source: Source,
        dispatcher: Dispatcher,
        reporter: Reporter,
        observer: Observer,
        timeline: Timeline,
        services: Sequence[Service] = (),
    ) -> None:
        self._source = source
        self._dispatcher = dispatcher
        self._reporter = reporter
        self._observer = observer
        self._timeline = timeline
        self._services = services

    async def run(self, stop: Stop) -> int:
        """Lives from start to end. Returns the exit code: 0 after an orderly stop, 1 after a failure.

        A source that is lost, a service or an intake that fails by a defect of ours: each begins the same
        orderly stop, so that the runs that go on end and are reported.
        """
        failed = asyncio.Event()

        async def serve(service: Service) -> None:
            try:
                await service()
            except Exception:
                log.exception("a part of the agent failed: draining, then exiting to be started again")
                failed.set()
                stop.ask()

        async with asyncio.TaskGroup() as services:
            tasks = [services.create_task(serve(service)) for service in self._services]
            try:
                exit_code = await self._run_until_stopped(stop)
            finally:
                for task in tasks:
                    task.cancel()
        return 1 if failed.is_set() else exit_code

    async def _run_until_stopped(self, stop: Stop) -> int:
        await self._source.start()
        async with asyncio.TaskGroup() as runs:
            intake = asyncio.ensure_future(self._dispatcher.take_in(runs))
            asked = asyncio.ensure_future(stop.asked())
            try:
                await asyncio.wait([intake, asked], return_when=asyncio.FIRST_COMPLETED)
            finally:
                asked.cancel()
                intake.cancel()
            exit_code = _intake_verdict((await asyncio.gather(intake, return_exceptions=True))[0])
            await self._wind_down(stop)
        await self._source.close(LEAVE_S)
        log.info("stopped", exit_code=exit_code)
        return exit_code

    async def _wind_down(self, stop: Stop) -> None:
        timeline, dispatcher = self._timeline, self._dispatcher
        self._observer.notify(DrainStarted(dispatcher.executing, dispatcher.telling, timeline.drain_s))
        await self._source.stop_intake()
        if given_back := dispatcher.give_back():
            log.info("runs that had not started were given back and will be delivered again", runs=given_back)
        await _first(dispatcher.idle(timeline.drain_s), stop.urgent())
        if not dispatcher.in_flight:
            return
        log.warning("stopping what did not finish in time", runs=dispatcher.executing, reports=dispatcher.telling)
        self._reporter.hurry(timeline.kill_grace_s + timeline.report_s)
        dispatcher.stop_runs(CancelReason.AGENT_STOP)
        if not await dispatcher.idle(timeline.kill_grace_s + timeline.report_s + MARGIN_S):
            log.error("runs are left without their report; they will be delivered again", runs=dispatcher.in_flight)
            dispatcher.abort()


async def _first(*awaitables: Awaitable[object]) -> None:
    """Waits for the first to end, and cancels the others."""
    tasks = [asyncio.ensure_future(a) for a in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _intake_verdict(ended: object) -> int:
    """The exit code that the end of the intake calls for."""
    if isinstance(ended, SourceLostError):
        log.error("the source was lost: draining, then exiting to be started again", error=str(ended))
        return 1
    if isinstance(ended, Exception):
        log.error("the intake failed: draining, then exiting to be started again", exc_info=ended)
        return 1
    return 0
