"""Begins the runs: from deliveries to jobs, from jobs to lives, as fast as slots, limits and Port allow."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count

import structlog

from agent.dispatch.admission import Admission, Ticket
from agent.dispatch.claims import Claim, Claims
from agent.dispatch.life import Ended, Job, Lives
from agent.domain.errors import TemplateError
from agent.domain.events import MessageIgnored, MessageRejected, RunReceived, WaitingChanged
from agent.domain.invocation import Channel, Invocation, InvocationKind
from agent.domain.json import compact
from agent.domain.outcome import CancelReason, Failed, FailureKind
from agent.domain.redaction import LOG_MASK
from agent.domain.route import Unrouted
from agent.domain.settlement import Settlement
from agent.ports import Decoded, Delivery, Intake, NotOurs, Observer, Router, Source, Unacceptable

_BREATH = 32
_DEFECT = "a defect of the agent broke this run off"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """Bounds and policy.

    ``ignore_unrouted``: several agents filter one topic, so a message that no route of ours matches is left to
    the others. ``max_pending_reports``: while so many reports wait for Port, no run starts.
    """

    max_concurrent_runs: int = 50
    max_waiting_runs: int = 1_000
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_pending_reports: int = 1_000
    ignore_unrouted: bool = False


class Dispatcher:
    """Takes deliveries in and begins their runs. Everything happens on the event loop's thread.

    `take_in` reads while there is room to wait in; runs start as slots, limits, keys and fairness allow
    (`Admission`). A run holds its slot only while it executes; its report may take longer, and nothing is
    taken in while too many reports are pending.
    """

    def __init__(
        self,
        source: Source,
        intake: Intake,
        router: Router,
        lives: Lives,
        observer: Observer,
        settings: DispatchSettings,
    ) -> None:
        self._source = source
        self._intake = intake
        self._router = router
        self._lives = lives
        self._observer = observer
        self._settings = settings
        self._admission: Admission[Job] = Admission(
            settings.max_concurrent_runs,
            max_waiting=settings.max_waiting_runs,
            max_waiting_bytes=settings.max_waiting_bytes,
        )
        self._runs: asyncio.TaskGroup
        self._door = asyncio.Event()
        self._door.set()
        self._waiting_since: OrderedDict[int, float] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reporting = 0
        self._draining = False
        self._claims = Claims(source)

    @property
    def in_flight(self) -> int:
        """Runs that execute or whose last report is under way."""
        return len(self._tasks)

    async def take_in(self, runs: asyncio.TaskGroup) -> None:
        """Reads deliveries until the source has no more; their runs become tasks of ``runs``. Called once.

        Raises `SourceLostError` where the source cannot go on. Cancelling it loses nothing.
        """
        self._runs = runs
        for taken in count(1):
            await self._door.wait()
            delivery = await self._source.next()
            if delivery is None:
                return
            self._take_safely(delivery)
            if taken % _BREATH == 0:
                # A long backlog is always ready: runs, reports and probes need their turns too.
                await asyncio.sleep(0)

    def give_back(self) -> int:
        """Gives waiting runs back, to be delivered again, and begins no more; returns how many."""
        self._draining = True
        withdrawn = self._admission.withdraw()
        for ticket in withdrawn:
            ticket.item.claim.settle(Settlement.RELEASE)
            self._waiting_since.pop(id(ticket), None)
        self._tell_waiting()
        return len(withdrawn)

    def stop_runs(self, reason: CancelReason) -> None:
        """Asks every executing run to end."""
        self._lives.stop_all(reason)

    async def idle(self, timeout_s: float) -> bool:
        """Waits until no run is in flight; ``False`` if some still are after ``timeout_s``."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)
        return not self._tasks

    def abort(self) -> None:
        """Cancels what is left, without reports: the last resort of a shutdown."""
        for task in self._tasks:
            task.cancel()

    # ── from delivery to job ─────────────────────────────────────────────────────────────────────────

    def _take_safely(self, delivery: Delivery) -> None:
        """As `_take`; a defect of ours costs this message, told loudly, and not the agent."""
        try:
            self._take(delivery)
        except Exception:
            log.exception("a defect of the agent: this message was not read", origin=delivery.origin)
            self._observer.notify(MessageRejected(self._source.name, "defect", delivery.origin))
            self._source.settle(delivery.receipt, Settlement.REJECT)

    def _take(self, delivery: Delivery) -> None:
        decoded = self._intake.decode(delivery.body, delivery.channel)
        match decoded:
            case NotOurs(reason):
                self._pass_over(delivery, reason)
            case Unacceptable(reason, detail, run_id):
                detail = f"{delivery.origin}: {detail}"
                self._observer.notify(MessageRejected(self._source.name, reason, detail, run_id))
                self._source.settle(delivery.receipt, Settlement.REJECT)
            case Decoded(invocation):
                if self._claims.has(invocation.run_id, delivery):
                    log.info("a run was delivered again and is not begun again", run_id=invocation.run_id)
                else:
                    self._route(delivery, invocation)

    def _pass_over(self, delivery: Delivery, reason: str) -> None:
        self._observer.notify(MessageIgnored(self._source.name, reason))
        self._source.settle(delivery.receipt, Settlement.ACCEPT)

    def _route(self, delivery: Delivery, invocation: Invocation) -> None:
        routed = self._router.resolve(invocation)
        if isinstance(routed, Unrouted):
            self._leave_unrouted(delivery, invocation, routed)
            return
        job = Job(delivery, self._claims.open(invocation.run_id, delivery), invocation, routed)
        self._observer.notify(RunReceived(self._source.name, routed.route.name, invocation.run_id))
        try:
            ticket = _ticket(job)
        except TemplateError as error:
            failed = Failed(f"the route's key: {error}", FailureKind.BAD_TEMPLATE)
            self._fail(job.claim, invocation, failed, routed.route.name)
            return
        self._admission.offer(ticket)
        self._waiting_since[id(ticket)] = delivery.received_at_s
        self._start_what_may()

    def _leave_unrouted(self, delivery: Delivery, invocation: Invocation, unrouted: Unrouted) -> None:
        """A message for agents ends its run; any other is meant for somebody else."""
        if invocation.kind is InvocationKind.CHANGE_EVENT or not invocation.for_agents:
            log.debug("no route takes this message", run_id=invocation.run_id, reason=unrouted.reason)
            reason = "not_for_agents" if delivery.channel is Channel.RUNS else "change_event"
            self._pass_over(delivery, "undecided" if unrouted.undecided else reason)
        elif self._settings.ignore_unrouted:
            log.debug("no route takes this message", run_id=invocation.run_id, reason=unrouted.reason)
            self._pass_over(delivery, "undecided" if unrouted.undecided else "unrouted")
        else:
            self._observer.notify(RunReceived(self._source.name, "unrouted", invocation.run_id))
            failed = Failed(unrouted.reason, FailureKind.NO_ROUTE)
            self._fail(self._claims.open(invocation.run_id, delivery), invocation, failed, "unrouted")

    # ── from job to life ─────────────────────────────────────────────────────────────────────────────

    def _start_what_may(self) -> None:
        while not self._draining and self._reporting < self._settings.max_pending_reports:
            ticket = self._admission.admit()
            if ticket is None:
                break
            self._waiting_since.pop(id(ticket), None)
            if ticket.item.claim.begin():
                self._begin(self._live(ticket))
            else:
                self._admission.release(ticket)
        self._open_or_close_the_door()
        self._tell_waiting()

    def _open_or_close_the_door(self) -> None:
        """While too much waits here, for a slot or for Port, nothing more is taken in: the source pauses."""
        if self._admission.has_room and self._reporting < self._settings.max_pending_reports:
            self._door.set()
        else:
            self._door.clear()

    def _begin(self, life: Coroutine[object, object, None]) -> None:
        task = self._runs.create_task(life)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell_waiting(self) -> None:
        oldest_s = next(iter(self._waiting_since.values()), None)
        self._observer.notify(WaitingChanged(self._admission.waiting, oldest_s))

    async def _live(self, ticket: Ticket[Job]) -> None:
        """From its slot to its settlement."""
        job = ticket.item
        route = job.routed.route.name
        with structlog.contextvars.bound_contextvars(run_id=job.invocation.run_id, route=route):
            try:
                ended = await self._lives.execute(job)
            except Exception:
                log.exception(_DEFECT)
                ended = self._broken_off(job.invocation, route)
            finally:
                self._admission.release(ticket)
                self._start_what_may()
            await self._conclude(job.claim, ended)

    def _fail(self, claim: Claim, invocation: Invocation, outcome: Failed, route: str) -> None:
        """Ends a run that no executor will ever see, unless its message went to another agent."""
        if claim.begin():
            self._begin(self._report_failure(claim, invocation, outcome, route))

    async def _report_failure(self, claim: Claim, invocation: Invocation, outcome: Failed, route: str) -> None:
        with structlog.contextvars.bound_contextvars(run_id=invocation.run_id, route=route):
            await self._conclude(claim, self._lives.unexecuted(invocation, outcome, route))

    async def _conclude(self, claim: Claim, ended: Ended) -> None:
        self._reporting += 1
        self._open_or_close_the_door()
        settlement = Settlement.RELEASE
        try:
            with structlog.contextvars.bound_contextvars(**{LOG_MASK: ended.report.masked}):
                settlement = await self._report(ended)
        finally:
            self._reporting -= 1
            claim.settle(settlement)
            self._start_what_may()

    async def _report(self, ended: Ended) -> Settlement:
        """Delivers the end of a run; where that fails by a defect of ours, a plainer one."""
        try:
            return await self._lives.conclude(ended)
        except Exception:
            log.exception(_DEFECT)
        try:
            return await self._lives.conclude(self._broken_off(ended.invocation, ended.route))
        except Exception:
            log.exception("a defect of the agent left this run without its end; it will be delivered again")
            return Settlement.RELEASE

    def _broken_off(self, invocation: Invocation, route: str) -> Ended:
        failed = Failed(f"{_DEFECT}; the agent's log says more", FailureKind.EXCEPTION)
        return self._lives.unexecuted(invocation, failed, route)


def _ticket(job: Job) -> Ticket[Job]:
    """Raises `TemplateError` where the route's key fails on this message."""
    route, invocation = job.routed.route, job.invocation
    value = route.key.render(invocation.view) if route.key is not None else None
    return Ticket(
        item=job,
        lane=(route.name, invocation.action),
        route=route.name,
        limit=route.max_concurrent,
        key=None if value is None else compact(value),
        size_bytes=len(job.delivery.body),
    )
