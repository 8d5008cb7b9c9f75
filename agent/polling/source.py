"""`Source` over Port's API: claims pending runs, and acknowledges each when its work begins.

A claim hides a run from all others for a while; what is not begun by then comes again, here or elsewhere. What was
acknowledged comes from nowhere any more: it is kept in a file from before the acknowledgement until it is settled.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from agent.domain.earlier import Ending
from agent.domain.errors import SourceLostError
from agent.domain.events import ClaimAcknowledged, ClaimsAsked, SourceFailed
from agent.domain.invocation import Channel, InvocationKind, RunId
from agent.domain.settlement import Settlement
from agent.polling.api import Claimed, ClaimedRun, ClaimsApi, NotClaimed, Verdict
from agent.polling.claims_file import Kept, Mark
from agent.polling.doubts import Doubts
from agent.polling.keeper import Keeper, OpenFile
from agent.polling.message import message_of
from agent.polling.pace import Line, Pace
from agent.polling.passed_over import PassedOver
from agent.polling.receipt import Receipt, doubtful, earlier_of
from agent.polling.room import room
from agent.ports import Clock, Delivery, Observer

_KINDS = (InvocationKind.ACTION_RUN, InvocationKind.NODE_RUN)
_YIELD_S = 2.0
_MOST_YIELD_S = 30.0
_COMES_AGAIN_S = 60.0
"""After this a run comes again that was given back though nobody stops: a defect shall not turn in circles."""
_EXCLUDED = 1_000
_DISK_S = 5.0
_LEAST_TIME_S = 1.0
_OPENING_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PollingSettings:
    """How Port is asked. Times in seconds.

    ``batch_size``: so many runs of one kind at most in one claim; ``slots``: so many runs execute at once, and no
    more are claimed than may be begun soon. ``visibility_s``: for so long a claim hides its runs from others.
    ``max_failure_s``: the source is lost once no claim succeeded for so long; 0: never.
    ``agent_name`` tells a later life who had begun a run.
    """

    pace: Pace = field(default_factory=Pace)
    batch_size: int = 100
    slots: int = 50
    visibility_s: float = 60.0
    max_failure_s: float = 3600.0
    agent_name: str = ""


class PollingSource:
    """Deliveries of pending runs. Belongs to the event loop's thread.

    ``open_file`` opens the file of acknowledged runs; it is called in a thread, and again while it raises.
    """

    def __init__(
        self, settings: PollingSettings, api: ClaimsApi, open_file: OpenFile, observer: Observer, clock: Clock
    ) -> None:
        self._settings = settings
        self._api = api
        self._open_file = open_file
        self._observer = observer
        self._clock = clock
        self._keeper: Keeper | None = None
        self._poller: asyncio.Task[None] | None = None
        self._starts: set[asyncio.Task[bool]] = set()
        self._open: dict[RunId, Receipt] = {}
        """By their runs, the receipts that were given out or wait to be, until they are lost or settled."""
        self._ready: deque[Receipt] = deque()
        self._doubts = Doubts(
            api,
            observer,
            clock,
            settings.pace,
            ours=self._take_back,
            perhaps_ours=self._take_perhaps,
            refused=self._drop,
        )
        self._given_back: deque[tuple[float, Receipt]] = deque()
        """Acknowledged runs that were given back, and when they come again: Port gives them to nobody."""
        self._passed_over = PassedOver()
        self._arrival = asyncio.Event()
        self._nudge = asyncio.Event()
        self._failure: SourceLostError | None = None
        self._stopped = False
        self._succeeded_at_s = 0.0
        self._lines: deque[Line] = deque()

    @property
    def name(self) -> str:
        """``polling``."""
        return "polling"

    @property
    def begins_for_good(self) -> bool:
        """Yes: Port gives to nobody what was acknowledged."""
        return True

    async def start(self) -> None:
        """Begins to poll, in the background."""
        now_s = self._succeeded_at_s = self._clock.monotonic()
        self._lines.extend(Line(kind, self._settings.pace, now_s) for kind in _KINDS)
        self._keeper = Keeper(self._open_file, self._observer, self._take_left_over)
        self._poller = asyncio.create_task(self._poll(), name="polling")
        self._poller.add_done_callback(self._on_poller_ended)

    async def next(self) -> Delivery | None:
        """The next delivery that is still ours. Raises `SourceLostError` if polling cannot go on."""
        while not self._stopped:
            while self._ready:
                receipt = self._ready.popleft()
                if self.is_ours(receipt):
                    return self._delivery(receipt)
            if self._failure is not None:
                raise self._failure
            self._arrival.clear()
            await self._arrival.wait()
        return None

    def is_ours(self, receipt: object) -> bool:
        """Whether it was acknowledged by us, or its claim has not ended. What was said not to be ours stays so."""
        run = _receipt(receipt)
        if run.is_acknowledged or (run.mark is Mark.ASKED and not run.is_lost):
            return True
        if self._clock.monotonic() >= run.until_s:
            self._lose(run)
        return not run.is_lost

    def begin(self, receipt: object) -> Awaitable[bool]:
        """Done once the run is acknowledged and kept as begun; ``False`` where another worker has acknowledged it.

        Also where the claim has ended, or Port did not answer before it did.
        """
        return self._started(receipt, is_work=True)

    def secure(self, receipt: object) -> Awaitable[bool]:
        """Done once the run is acknowledged; see `begin`."""
        return self._started(receipt, is_work=False)

    def resume(self, receipt: object) -> None:
        """It was acknowledged under another receipt, for Port gives a run that goes on to nobody."""
        run = _receipt(receipt)
        run.is_acknowledged = run.is_at_work = True
        self._keep(run, Mark.BEGUN)

    def withdraw(self, receipt: object) -> None:
        """Its work did not begin. Once acknowledged it is kept, for the next life of this agent to begin it."""
        run = _receipt(receipt)
        run.is_withdrawn = True
        if run.is_at_work:
            run.is_at_work = False
            run.begun -= 1
            self._keep(run, Mark.OURS)

    def end(self, receipt: object, ending: Ending) -> None:
        """Keeps how it ended, for the next life to tell."""
        run = _receipt(receipt)
        run.ending = ending
        run.is_at_work = False
        self._keep(run, Mark.ENDED)
        self._slots_became_free()

    def settle(self, receipt: object, settlement: Settlement) -> None:
        """What is done with is kept no more; a claim that is not ours to act on ends by itself."""
        run = _receipt(receipt)
        if run.is_settled:
            return
        run.is_settled, run.is_at_work = True, False
        if self._open.get(run.run_id) is run:
            del self._open[run.run_id]
        is_done = settlement in (Settlement.ACCEPT, Settlement.REJECT)
        if run.mark is None:
            if is_done:
                self._passed_over.add(run.kind, run.run_id, run.until_s, self._clock.monotonic())
        elif is_done:
            self._drop(run.run_id)
        elif settlement is Settlement.REPEAT:
            self._keep(run, Mark.STOPPED)
        elif run.is_acknowledged and not self._stopped:
            self._given_back.append((self._clock.monotonic() + _COMES_AGAIN_S, run))
        self._slots_became_free()

    async def stop_intake(self) -> None:
        """Claims no more. What was claimed and not begun comes again, here or elsewhere, once its claim ends."""
        self._stopped = True
        self._ready.clear()
        self._arrival.set()
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    async def close(self, timeout_s: float) -> None:
        """Waits for acknowledgements under way, and writes what is to be kept, all within about ``timeout_s``."""
        await self.stop_intake()
        deadline_s = self._clock.monotonic() + timeout_s
        if self._starts:
            await asyncio.wait(self._starts, timeout=timeout_s / 2)
            for start in self._starts:
                start.cancel()
        if self._keeper is not None:
            await self._keeper.close(max(0.0, deadline_s - self._clock.monotonic()))

    # ── starts ───────────────────────────────────────────────────────────────────────────────────────

    def _started(self, receipt: object, *, is_work: bool) -> asyncio.Future[bool]:
        run = _receipt(receipt)
        run.is_withdrawn = False
        start = asyncio.get_running_loop().create_task(self._start(run, is_work=is_work))
        self._starts.add(start)
        start.add_done_callback(self._starts.discard)
        return asyncio.shield(start)  # whoever stops waiting must not leave in doubt what Port made of it

    async def _start(self, run: Receipt, *, is_work: bool) -> bool:
        if not self.is_ours(run) or not (run.is_acknowledged or await self._acknowledged(run)):
            return False
        if run.is_withdrawn:
            return False
        if is_work:
            run.is_at_work = True
            run.begun += 1
            run.agent = self._settings.agent_name
            await self._keeping.keep(run.kept(Mark.BEGUN), _DISK_S)
        return not run.is_withdrawn

    async def _acknowledged(self, run: Receipt) -> bool:
        kept = run.kept(Mark.ASKED)
        await self._keeping.keep(kept, _DISK_S)
        left_s = max(_LEAST_TIME_S, run.until_s - self._clock.monotonic())
        answer = await self._api.acknowledge(run.kind, run.run_id, left_s)
        in_time = self._clock.monotonic() < run.until_s and self._clock.epoch() < run.until_epoch_s
        self._observer.notify(ClaimAcknowledged(str(run.kind), str(answer.verdict), answer.detail))
        is_late_echo = answer.verdict is Verdict.TAKEN and run.was_asked
        match Verdict.PERHAPS if is_late_echo else answer.verdict:
            case Verdict.OURS:
                run.is_acknowledged = True
            case Verdict.PERHAPS if in_time:  # nobody else was given it meanwhile
                run.is_acknowledged = True
            case Verdict.PERHAPS | Verdict.UNANSWERED:
                self._lose(run)
                self._doubts.add(kept)
                log.warning("nobody knows yet whether this run is ours: asking again", run_id=run.run_id)
            case _:
                self._lose(run)
                self._drop(run.run_id)
        if run.is_acknowledged:
            self._keep(run, Mark.OURS)
        return run.is_acknowledged

    @property
    def _keeping(self) -> Keeper:
        if self._keeper is None:
            raise TypeError("this source was not started")
        return self._keeper

    def _keep(self, run: Receipt, mark: Mark) -> asyncio.Future[bool]:
        return self._keeping.put(run.kept(mark))

    def _drop(self, run_id: RunId) -> None:
        self._keeping.drop(run_id)

    def _lose(self, run: Receipt) -> None:
        run.is_lost = True
        if self._open.get(run.run_id) is run:
            del self._open[run.run_id]

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────

    async def _poll(self) -> None:
        await self._keeping.tried(_OPENING_S)
        while self._failure is None and not self._stopped:
            await self._ask_for_what_is_due()
            self._hand_out_again()
            self._give_up_if_in_vain()
            await self._wait()

    async def _ask_for_what_is_due(self) -> None:
        """The kind that was asked for first is the last one next time: it may have taken all the room."""
        asked: Line | None = None
        for line in [*self._lines]:
            if self._clock.monotonic() >= line.next_at_s and not self._yields(line):
                await self._doubts.resolve()
                if await self._claim(line) and asked is None:
                    asked = line
        if asked is not None:
            self._lines.remove(asked)
            self._lines.append(asked)

    def _yields(self, line: Line) -> bool:
        """Lets other agents ask first for their nodes that are pending for all again: we would hide them anew."""
        if line.kind is not InvocationKind.NODE_RUN:
            return False
        for_s = min(self._settings.pace.interval_s + _YIELD_S, _MOST_YIELD_S)
        until_s = self._passed_over.others_first_until_s(self._clock.monotonic(), for_s)
        return until_s is not None and line.put_off(until_s)

    async def _wait(self) -> None:
        self._nudge.clear()
        due_s = min(line.next_at_s for line in self._lines) - self._clock.monotonic()
        if due_s > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(due_s):  # `wait_for` may swallow a cancellation
                    await self._nudge.wait()

    async def _claim(self, line: Line) -> bool:
        """Whether Port was asked: there may be no room for what it gives."""
        asked_s, asked_epoch_s = self._clock.monotonic(), self._clock.epoch()
        limit = min(self._settings.batch_size, room(self._open.values(), self._settings.slots, asked_s))
        if limit <= 0:
            line.had_no_room(asked_s)
            return False
        line.asked(asked_s)
        visibility_s = self._settings.visibility_s
        answer = await self._api.claim(line.kind, limit, visibility_s, self._excluded())
        now_s = self._clock.monotonic()
        if isinstance(answer, Claimed):
            self._succeeded_at_s = now_s
            line.gave(answer.count, limit, now_s)
            self._observer.notify(ClaimsAsked(str(line.kind), "ok", answer.count))
            for run in answer.runs:
                self._take(run, asked_s + visibility_s, asked_epoch_s + visibility_s)
            self._arrival.set()
        else:
            self._note_failure(line, answer, now_s)
        return True

    def _note_failure(self, line: Line, answer: NotClaimed, now_s: float) -> None:
        if answer.is_absent and line.kind is InvocationKind.NODE_RUN:
            line.is_absent(now_s)
            self._observer.notify(ClaimsAsked(str(line.kind), "absent", 0, answer.reason))
            return
        waited_s = line.failed(answer.wait_s, random.random(), now_s)  # noqa: S311 - jitter, no secret
        self._observer.notify(ClaimsAsked(str(line.kind), "failed", 0, answer.reason, waited_s))

    def _excluded(self) -> Sequence[RunId]:
        """Those that are not for us, and those in hand; but not those whose claim ended, for it may be renewed."""
        now_s = self._clock.monotonic()
        in_hand = [run.run_id for run in self._open.values() if run.waits(now_s)]
        return [*in_hand, *self._passed_over.left_out(now_s)][:_EXCLUDED]

    def _take(self, claimed: ClaimedRun, until_s: float, until_epoch_s: float) -> None:
        """One that waits here already has its claim renewed, and keeps its place."""
        run_id = claimed.run_id
        was_asked = self._doubts.end(run_id)
        if was_asked:
            self._drop(run_id)
        known = self._open.get(run_id)
        if known is not None:
            if known.mark is None:
                known.until_s, known.until_epoch_s = until_s, until_epoch_s
            return
        if self._passed_over.has(claimed.kind, run_id, until_s):
            return
        run = Receipt(run_id, claimed.kind, message_of(claimed), until_s, until_epoch_s, was_asked=was_asked)
        self._open[run_id] = run
        self._ready.append(run)

    def _delivery(self, run: Receipt) -> Delivery:
        run.given_at_s = self._clock.monotonic()
        return Delivery(run.body, run, Channel.POLLED, run.given_at_s, run.origin, run.earlier)

    def _slots_became_free(self) -> None:
        for line in self._lines:
            line.slots_became_free()
        self._nudge.set()

    # ── what comes from elsewhere ────────────────────────────────────────────────────────────────────

    def _take_left_over(self, found: Sequence[Kept]) -> None:
        for kept in found:
            if kept.run_id in self._open or self._stopped:
                continue
            if kept.mark is Mark.ASKED:
                self._doubts.add(kept)
            else:
                self._hand_out(Receipt.of_kept(kept, earlier_of(kept)))
        if found:
            log.info("runs that were acknowledged before this agent was started are taken up", runs=len(found))

    def _take_back(self, kept: Kept) -> None:
        run = Receipt.of_kept(kept, None)
        self._keep(run, Mark.OURS)
        self._hand_out(run)

    def _take_perhaps(self, kept: Kept) -> None:
        """It may be another agent's, which is given time to end it."""
        self._hand_out(Receipt.of_kept(kept, doubtful(kept)))

    def _hand_out_again(self) -> None:
        while self._given_back and self._given_back[0][0] <= self._clock.monotonic():
            _due_s, run = self._given_back.popleft()
            kept = run.kept(run.mark or Mark.OURS)
            self._hand_out(Receipt.of_kept(kept, earlier_of(kept)))

    def _hand_out(self, run: Receipt) -> None:
        self._open[run.run_id] = run
        self._ready.append(run)
        self._arrival.set()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────

    def _give_up_if_in_vain(self) -> None:
        """Never while work goes on here: a restart would cut it short, and Port's absence is not its fault."""
        limit_s = self._settings.max_failure_s
        since_s = next(line.failing_since_s for line in self._lines if line.kind is InvocationKind.ACTION_RUN)
        if not limit_s or since_s is None:
            return
        failing_s = self._clock.monotonic() - max(since_s, self._succeeded_at_s)
        if failing_s < limit_s:
            return
        if any(run.is_at_work for run in self._open.values()):
            return
        detail = f"no claim has succeeded for {failing_s:.0f} s (POLLING_MAX_FAILURE_DURATION_SECONDS)"
        self._observer.notify(SourceFailed("polling", detail, fatal=True))
        self._fail(SourceLostError(detail))

    def _on_poller_ended(self, poller: asyncio.Task[None]) -> None:
        """Without it nobody would ever poll again: better that the agent drains and is started anew."""
        if not poller.cancelled() and (error := poller.exception()) is not None:
            log.error("a defect of the agent: polling cannot go on", exc_info=error)
            self._fail(SourceLostError(repr(error)))

    def _fail(self, error: SourceLostError) -> None:
        self._failure = error
        self._arrival.set()


def _receipt(receipt: object) -> Receipt:
    if not isinstance(receipt, Receipt):
        raise TypeError(f"not a receipt of this source: {receipt!r}")
    return receipt
