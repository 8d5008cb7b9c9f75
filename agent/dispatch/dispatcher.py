"""Begins the runs: from deliveries to jobs, from jobs to lives, as fast as slots, limits and Port allow."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count

import structlog

from agent.dispatch.admission import Admission, Ticket
from agent.dispatch.backlog import Backlog
from agent.dispatch.decision import Begin, Conclude, Decision, LookAgain, Over
from agent.dispatch.job import Job, subject_of
from agent.dispatch.life import Ended, Lives
from agent.dispatch.reception import Reception, Refusal
from agent.dispatch.redelivery import Redelivery, redelivery_word
from agent.dispatch.telling import DEFECT, Telling, broken_off
from agent.domain.earlier import Earlier
from agent.domain.events import RunRedelivered, WaitingChanged
from agent.domain.invocation import RunId
from agent.domain.outcome import CancelReason
from agent.domain.settlement import Settlement
from agent.ports import Delivery, Observer, Source, Subject

_BREATH = 32
_SECOND_LOOK_S = 2.0
_QUESTIONS = 20
"""So many runs are asked about at once: what was delivered before may be thousands, and Port counts requests."""
_FRAME_BYTES = 2048
"""What a decoded message takes beside its text, at least."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DispatchSettings:
    """Bounds. While ``max_pending_reports`` wait for Port, or ``max_pending_bytes`` of them, no run starts.

    The large messages of runs that execute at once have ``max_running_bytes``, see `Admission`; each takes several
    times as much memory as it has bytes.

    Of the runs that wait, the messages of ``max_decoded_bytes`` are kept decoded, which takes several times as much
    memory; of more only the bytes are kept, and decoding them takes its time once more.
    """

    max_concurrent_runs: int = 50
    max_waiting_runs: int = 12_000
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_running_bytes: int = 8 * 1024 * 1024
    max_decoded_bytes: int = 1024 * 1024
    max_pending_reports: int = 1_000
    max_pending_bytes: int = 64 * 1024 * 1024


class Dispatcher:
    """Takes deliveries in and begins their runs. Everything happens on the event loop's thread.

    `take_in` reads while there is room to wait in; runs start as slots, limits, keys and fairness allow
    (`Admission`). A run holds its slot only while it executes; its report may take longer, and nothing is
    taken in while too many reports are pending.
    """

    def __init__(
        self,
        source: Source,
        reception: Reception,
        lives: Lives,
        redelivery: Redelivery,
        observer: Observer,
        settings: DispatchSettings,
    ) -> None:
        self._source = source
        self._reception = reception
        self._lives = lives
        self._redelivery = redelivery
        self._observer = observer
        self._admission: Admission[Job] = Admission(
            settings.max_concurrent_runs,
            max_waiting=settings.max_waiting_runs,
            max_waiting_bytes=settings.max_waiting_bytes,
            max_running_bytes=settings.max_running_bytes,
        )
        self._runs: asyncio.TaskGroup
        self._door = asyncio.Event()
        self._door.set()
        self._waiting_since: OrderedDict[int, float] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beginning: set[asyncio.Task[None]] = set()
        self._backlog = Backlog(settings.max_pending_reports, settings.max_pending_bytes)
        self._telling = Telling(lives, self._backlog, self._start_what_may)
        self._max_decoded_bytes = settings.max_decoded_bytes
        self._decoded_bytes = 0
        self._asking = 0
        self._executing = 0
        self._second_questions = asyncio.Semaphore(_QUESTIONS)
        self._draining = False
        self._will_tell_waiting = False

    @property
    def in_flight(self) -> int:
        """Runs that execute or whose last report is under way."""
        return len(self._tasks) - len(self._beginning)

    @property
    def executing(self) -> int:
        """Those of the runs in flight whose work goes on."""
        return self._executing

    @property
    def telling(self) -> int:
        """Those of them whose work is over, or never began: Port has to be told, and the source."""
        return self.in_flight - self._executing

    async def take_in(self, runs: asyncio.TaskGroup) -> None:
        """Reads deliveries until the source has no more; their runs become tasks of ``runs``. Called once.

        First of all it delivers what an earlier life of this agent has left to tell.

        Raises `SourceLostError` where the source cannot go on. Cancelling it loses nothing.
        """
        self._runs = runs
        for left_over in self._lives.left_over():
            claim = self._reception.claim_left_over(left_over.subject)  # before its message may come again
            self._begin(self._telling.deliver(left_over, claim))
        await asyncio.sleep(0)  # they count as pending before anything is taken in
        looking = asyncio.create_task(self._look_at_the_refused_again())
        try:
            await self._take_all()
        finally:
            looking.cancel()

    async def _take_all(self) -> None:
        for taken in count(1):
            await self._door.wait()
            delivery = await self._source.next()
            if delivery is None:
                return
            self._take(delivery)
            if taken % _BREATH == 0:
                # A long backlog is always ready: runs, reports and probes need their turns too.
                await asyncio.sleep(0)

    async def _look_at_the_refused_again(self) -> None:
        while True:
            await asyncio.sleep(_SECOND_LOOK_S)
            for delivery in self._reception.take_again():
                self._take(delivery)
            self._tell_waiting()

    def give_back(self) -> int:
        """Gives waiting runs back, to be delivered again, and begins no more; returns how many."""
        self._draining = True
        withdrawn = self._admission.withdraw()
        for ticket in withdrawn:
            ticket.item.claim.settle(Settlement.RELEASE)
            self._waiting_since.pop(id(ticket), None)
        for task in self._beginning:
            task.cancel()
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

    # ── from delivery to life ────────────────────────────────────────────────────────────────────────

    def _take(self, delivery: Delivery) -> None:
        match self._reception.receive(delivery):
            case Ticket() as ticket:
                self._admission.offer(ticket)
                self._waiting_since[id(ticket)] = delivery.received_at_s
                self._start_what_may()
                if id(ticket) in self._waiting_since:
                    self._keep_decoded_or_shed(ticket)
            case Refusal() as refusal:
                self._begin(self._refuse(refusal))
            case None:
                self._tell_waiting()

    def _keep_decoded_or_shed(self, ticket: Ticket[Job]) -> None:
        """It has to wait: perhaps for a moment, perhaps behind thousands."""
        wanted = ticket.size_bytes + _FRAME_BYTES
        if self._decoded_bytes + wanted > self._max_decoded_bytes:
            ticket.item.shed()
        else:
            self._decoded_bytes += wanted
            ticket.item.decoded_bytes = wanted

    def _start_what_may(self) -> None:
        while not self._draining and self._backlog.has_room:
            ticket = self._admission.admit(self._is_ready)
            if ticket is None:
                break
            self._asking += ticket.item.decision is None
            self._waiting_since.pop(id(ticket), None)
            self._decoded_bytes -= ticket.item.decoded_bytes
            ticket.item.decoded_bytes = 0
            self._begin(self._live(ticket))
        self._open_or_close_the_door()
        self._tell_waiting()

    def _is_ready(self, job: Job) -> bool:
        """What must be asked about waits in its lane until it can be: so lanes take turns in asking as well."""
        return job.decision is not None or self._asking < _QUESTIONS

    def _open_or_close_the_door(self) -> None:
        """While too much waits here, for a slot or for Port, nothing more is taken in: the source pauses."""
        if self._admission.has_room and self._backlog.has_room:
            self._door.set()
        else:
            self._door.clear()

    def _begin(self, life: Coroutine[object, object, None]) -> None:
        task = self._runs.create_task(life)
        self._tasks.add(task)
        self._beginning.add(task)
        task.add_done_callback(self._let_go)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._beginning.discard(task)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Once for all that changes in this turn of the loop: under load that is much."""
        if not self._will_tell_waiting:
            self._will_tell_waiting = True
            asyncio.get_running_loop().call_soon(self._tell_waiting_now)

    def _tell_waiting_now(self) -> None:
        self._will_tell_waiting = False
        oldest_s = next(iter(self._waiting_since.values()), None)
        in_hand = len(self._tasks) + self._reception.kept
        for_slot = self._admission.waiting_for_slot(self._is_ready) if self._backlog.has_room else 0
        self._observer.notify(WaitingChanged(self._admission.waiting, oldest_s, in_hand, for_slot))

    async def _live(self, ticket: Ticket[Job]) -> None:
        """From its slot to its settlement, or back to wait for a slot, where it must be asked about first."""
        claim, about = ticket.item.claim, ticket.item.subject
        _name_in_the_log(about)
        if ticket.item.decision is None:
            await self._look_up(ticket)
            return
        decision = await self._take_up(ticket, ticket.item.decision)
        self._leave_beginning()
        try:
            ended = await self._carry_out(ticket.item, decision)
        finally:
            self._admission.release(ticket)
            self._start_what_may()
        message_bytes = ticket.size_bytes
        del ticket  # a thousand ends may wait for Port, but not with all their messages
        if ended is not None:
            # Entities are made of the message: it is kept until they are written.
            kept_bytes = ended.report.size_bytes + (0 if ended.rest is None else message_bytes)
            with self._telling.counted(kept_bytes):
                await self._telling.conclude(claim, ended)

    async def _look_up(self, ticket: Ticket[Job]) -> None:
        """Finds out what became of it before; meanwhile it has no slot, for Port may be away for long.

        A drain withdraws the ticket, and cancels this.
        """
        job = ticket.item
        job.shed()
        self._admission.park(ticket)
        self._start_what_may()
        try:
            decision = await self._ask(job)
        finally:
            self._asking -= 1
            self._start_what_may()
        while isinstance(decision, LookAgain):
            await _wait_for_another(decision)
            async with self._second_questions:
                decision = await self._ask(job)
        job.decision = decision
        if self._admission.unpark(ticket):
            self._waiting_since[id(ticket)] = job.delivery.received_at_s
            self._waiting_since.move_to_end(id(ticket), last=False)
        self._start_what_may()

    async def _ask(self, job: Job) -> Decision:
        try:
            return await self._redelivery.decide(job)
        except Exception:
            log.exception(DEFECT)
            return Conclude(broken_off())

    async def _take_up(self, ticket: Ticket[Job], decision: Decision) -> Decision | None:
        """Makes the start known where there is one; ``None``: the run is not ours any more.

        A drain cancels this: the job is given back as it came.
        """
        claim = ticket.item.claim
        try:
            may_go_on = await self._make_known(ticket.item) if isinstance(decision, Begin) else claim.take_up()
            if may_go_on and isinstance(decision, Begin) and await self._redelivery.has_ended_since(ticket.item):
                decision = Over()
        except asyncio.CancelledError:
            claim.take_back()
            claim.settle(Settlement.RELEASE)
            self._admission.release(ticket)
            raise
        except Exception:
            log.exception(DEFECT)
            decision, may_go_on = Conclude(broken_off()), claim.take_up()
        return decision if may_go_on else None

    async def _make_known(self, job: Job) -> bool:
        """A drain does not break off what nobody else would get: of what came again, nobody has to be told."""
        if self._source.begins_for_good and job.delivery.earlier is None:
            self._leave_beginning()
        return await job.claim.begin()

    def _leave_beginning(self) -> None:
        """From here on a drain waits for the run, and does not break it off."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - only tasks get here
        self._beginning.discard(task)

    async def _carry_out(self, job: Job, decision: Decision | None) -> Ended | None:
        """Executes the job if that was decided; ``None`` where there is no more to do for it."""
        if decision is not None and not isinstance(decision, LookAgain):
            self._tell_redelivered(job.delivery.earlier, job.run_id, decision)
        match decision:
            case Begin(attempt, note):
                return await self._execute(job, attempt, note)
            case Conclude(outcome):
                return self._lives.unexecuted(job.subject, job.action, outcome)
            case Over():
                log.info("a run was delivered again, and has ended in Port: nothing to do")
                job.claim.settle(Settlement.ACCEPT)
            case _:
                job.claim.drop()
        return None

    def _tell_redelivered(
        self, earlier: Earlier | None, run_id: RunId | None, decision: Begin | Over | Conclude
    ) -> None:
        if earlier is not None:
            self._observer.notify(RunRedelivered(run_id, redelivery_word(earlier, decision)))

    async def _execute(self, job: Job, attempt: int, note: str) -> Ended:
        self._executing += 1
        try:
            return await self._lives.execute(job, attempt, note)
        except Exception:
            log.exception(DEFECT)
            return self._lives.unexecuted(job.subject, job.action, broken_off())
        finally:
            self._executing -= 1

    async def _refuse(self, refusal: Refusal) -> None:
        """Ends a run that no executor of ours will ever see, unless another agent's does, or has ended it."""
        claim, about = refusal.claim, subject_of(refusal.delivery, refusal.invocation, refusal.route)
        action = refusal.invocation.action
        _name_in_the_log(about)
        decision = await self._decide_on_refused(refusal)
        self._leave_beginning()
        earlier = refusal.delivery.earlier
        del refusal  # see `_live`
        if isinstance(decision, Over):
            self._tell_redelivered(earlier, about.run_id, decision)
            claim.settle(Settlement.ACCEPT)
        elif await claim.secure():
            self._tell_redelivered(earlier, about.run_id, decision)
            with self._telling.counted():
                ended = self._lives.unexecuted(about, action, decision.outcome)
                await self._telling.conclude(claim, ended)
        else:
            claim.drop()

    async def _decide_on_refused(self, refusal: Refusal) -> Over | Conclude:
        """A drain cancels this, too."""
        try:
            while True:
                with self._telling.counted():
                    decision = await self._redelivery.decide_on_refused(refusal)
                if not isinstance(decision, LookAgain):
                    return decision
                await _wait_for_another(decision)
        except asyncio.CancelledError:
            refusal.claim.settle(Settlement.RELEASE)
            raise
        except Exception:
            log.exception(DEFECT)
            return Conclude(refusal.outcome)


async def _wait_for_another(decision: LookAgain) -> None:
    write = log.info if decision.is_first else log.debug
    write("another agent may be at this run still, or have its outcome to tell", again_in_s=decision.in_s)
    await asyncio.sleep(decision.in_s)


def _name_in_the_log(about: Subject) -> None:
    """From here on each line that this task logs says which run it is about."""
    structlog.contextvars.bind_contextvars(run_id=about.run_id, route=about.route, trace_id=about.trace_id)
