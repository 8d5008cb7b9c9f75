"""A run's log on its way to Port: masked, cut into lines, joined into few requests, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from agent.domain.events import LogDropped, LogSent, LogTruncated
from agent.domain.redaction import Redactor
from agent.ports import Clock, Observer
from agent.runs_api.connection import Answer, Unanswered
from agent.runs_api.lines import LineCutter, clean
from agent.runs_api.log_buffer import Batch, LogBuffer, LogLimits
from agent.time_limit import TimeLimit

_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR", "FATAL": "ERROR", "TRACE": "DEBUG"}
_TOO_BIG = (400, 413)
"""Answers that may mean "too long": Port tells no limit for a message."""

Spawn = Callable[[Coroutine[object, object, None]], "asyncio.Task[None]"]
"""Starts a task that somebody else joins in the end."""


class MaskedStream:
    """One stream of raw output into a `RunLog`.

    Masked as bytes before anything else is done to it, and once more where terminal escapes were taken out of a
    line: a secret that was coloured half-way shows up only then.
    """

    def __init__(self, log: RunLog, redactor: Redactor, max_line_chars: int) -> None:
        self._log = log
        self._redactor = redactor
        self._masked = redactor.stream()
        self._cutter = LineCutter(max_line_chars)
        self._open = True

    def write(self, chunk: bytes) -> None:
        """Takes the next bytes. Never blocks; after `close` it does nothing."""
        if self._open:
            self._add(self._cutter.feed(self._masked.feed(chunk)))

    def close(self) -> None:
        """The stream ended: what was held back goes out. Idempotent."""
        if self._open:
            self._open = False
            self._add([*self._cutter.feed(self._masked.close()), *self._cutter.close()])

    def _add(self, lines: list[str]) -> None:
        if self._cutter.cuts:
            self._log.line_was_cut()
        text = "\n".join(lines)
        if clean(text) != text:  # looked for in all at once: few programs print escapes
            lines = [self._redactor.mask_text(clean(line)) for line in lines]
        self._log.add(lines, "INFO")


class RunLog:
    """Collects the lines of one run and sends them while it goes on, one request at a time.

    ``send`` delivers one batch and comes back with Port's final word; ``None``: there is no run to tell, and
    lines are only counted. ``is_scarce`` says whether requests should be few. A quiet log sends nothing, one that
    is short and ends soon is one request. A request that was repeated because its answer got lost may show its
    lines twice. Belongs to the event loop's thread.
    """

    def __init__(
        self,
        send: Callable[[Batch], Awaitable[Answer]] | None,
        is_scarce: Callable[[], bool],
        redactor: Redactor,
        observer: Observer,
        clock: Clock,
        limits: LogLimits,
        *,
        spawn: Spawn,
    ) -> None:
        self._send = send
        self._is_scarce = is_scarce
        self._redactor = redactor
        self._observer = observer
        self._clock = clock
        self._limits = limits
        self._spawn = spawn
        self._buffer = LogBuffer(limits)
        self._message_bytes = limits.message_bytes
        self._streams: list[MaskedStream] = []
        self._pump: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._in_flight: Batch | None = None
        self._began_s: float | None = None
        self._waiting_since_s = self._last_sent_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._flush: TimeLimit | None = None
        self._cut_told = self._ending = self._over = False
        self._given_up = None if send is not None else "no_run"
        """Why nothing more is sent, if so: lines are counted from then on, and not kept."""
        self._lost_lines = 0

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""
        return self._buffer.waiting_bytes

    # ── lines come in ────────────────────────────────────────────────────────────────────────────────

    def stream(self) -> MaskedStream:
        """A new stream; lines of several ones interleave as they are completed."""
        self._streams.append(MaskedStream(self, self._redactor, self._limits.line_chars))
        return self._streams[-1]

    def write_text(self, message: str, level: str) -> None:
        """Adds one or more lines of text."""
        level = level.upper()
        level = _LEVELS.get(level, level)
        masked = self._redactor.mask_text(message)
        # What is printable is one line, with nothing to clean.
        is_plain = len(masked) <= self._limits.line_chars and masked.isprintable()
        lines = [masked] if is_plain else self._tidy_lines(masked)
        self.add(lines, level if level in ("DEBUG", "WARN", "ERROR") else "INFO")

    def _tidy_lines(self, masked: str) -> list[str]:
        cutter = LineCutter(self._limits.line_chars)
        lines = [*cutter.feed(masked.encode("utf-8", "replace")), *cutter.close()] or [""]
        if cutter.cuts:
            self.line_was_cut()
        return [self._redactor.mask_text(clean(line)) for line in lines]

    def add(self, lines: Sequence[str], level: str) -> None:
        """Takes finished lines."""
        if self._over:
            return
        if self._given_up:
            self._lost_lines += len(lines)
            return
        before_bytes, was_capped = self._buffer.waiting_bytes, self._buffer.capped
        self._buffer.add(lines, level)
        if self._buffer.capped and not was_capped:
            self._observer.notify(LogTruncated("run_cap"))
        self._announce(before_bytes)

    def line_was_cut(self) -> None:
        """States, once per run, that a line was too long."""
        if not self._cut_told:
            self._cut_told = True
            self._observer.notify(LogTruncated("line_cap"))

    def _announce(self, before_bytes: int) -> None:
        """Wakes the pump if a threshold was crossed: it must not wake for every line."""
        now_bytes = self._buffer.waiting_bytes
        if now_bytes and not before_bytes:
            self._waiting_since_s = self._clock.monotonic()
            if self._began_s is None:
                self._began_s = self._last_sent_s = self._waiting_since_s
        if any(before_bytes < mark <= now_bytes for mark in (1, self._limits.batch_bytes, self._message_bytes)):
            self._news.set()
            if self._pump is None:
                self._start_soon()

    # ── requests go out ──────────────────────────────────────────────────────────────────────────────

    def _start_soon(self) -> None:
        """Starts the pump when the first batch is due: most runs have ended by then, and need none."""
        self._cancel_timer()
        wait_s = self._wait_s()
        if not self._ending and wait_s is not None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._start)

    def _start(self) -> None:
        self._timer = None
        self._pump = self._spawn(self._run())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def finish(self, timeout_s: float) -> int:
        """Sends what is left, for at most ``timeout_s``; returns how many lines did not get there in time."""
        for stream in self._streams:
            stream.close()
        self._ending = True
        if self._given_up is None:
            before_bytes = self._buffer.waiting_bytes
            self._buffer.end()
            self._announce(before_bytes)
        self._cancel_timer()
        await self._send_rest(timeout_s)
        return self._close("undelivered")

    async def _send_rest(self, timeout_s: float) -> None:
        try:
            with TimeLimit.after(timeout_s) as self._flush:
                if self._pump is None:
                    await self._run()
                else:
                    self._news.set()
                    await asyncio.wait({self._pump})
        except TimeoutError:
            if self._pump is not None:
                self._pump.cancel()
                await asyncio.wait({self._pump})
        except Exception as error:  # noqa: BLE001 - a defect of ours costs the log, and not the outcome
            told = {"message": "a run's log could not be sent", "exception": error}
            asyncio.get_running_loop().call_exception_handler(told)
        finally:
            self._flush = None

    def hurry(self, timeout_s: float) -> None:
        """A `finish` under way has this long from now, if it had longer."""
        if self._flush is not None:
            at_s = asyncio.get_running_loop().time() + timeout_s
            self._flush.move(min(at_s, self._flush.at_s or at_s))

    def abandon(self) -> None:
        """Sends nothing more and forgets what waits; ends a `finish` under way. Idempotent."""
        self._cancel_timer()
        if self._pump is not None:
            self._pump.cancel()
        self.hurry(0.0)
        self._close("closed")

    def _give_up(self, reason: str) -> None:
        """Nothing more will be sent: forgets what waits, and counts it."""
        self._given_up = reason
        self._lost_lines += self._buffer.drop_all() + (self._in_flight.line_count if self._in_flight else 0)

    def _close(self, reason: str) -> int:
        """States what was never sent. Returns the lines for which there was no time."""
        if self._over:
            return 0
        self._over = True
        why = self._given_up or reason
        self._give_up(why)
        for lines, word in ((self._lost_lines, why), (self._buffer.left_out_lines, "cap")):
            if lines:
                self._observer.notify(LogDropped(lines, word))
        return self._lost_lines if why == "undelivered" else 0

    async def _run(self) -> None:
        while self._given_up is None:
            await self._until_due()
            batch = self._buffer.take(self._message_bytes)
            self._waiting_since_s = self._clock.monotonic()
            if batch is not None:
                await self._deliver(batch)
            elif self._ending:
                return

    async def _until_due(self) -> None:
        while not self._ending:
            self._news.clear()
            wait_s = self._wait_s()
            if wait_s is not None and wait_s <= 0:
                return
            try:
                with TimeLimit.after(wait_s):
                    await self._news.wait()
            except TimeoutError:
                return

    def _wait_s(self) -> float | None:
        """How long the next batch may still grow; ``None`` while there is nothing to send."""
        limits, waiting_bytes = self._limits, self._buffer.waiting_bytes
        if not waiting_bytes:
            return None
        if waiting_bytes >= self._message_bytes:
            return 0.0
        now_s = self._clock.monotonic()
        age_s = now_s - (self._began_s or now_s)
        factor = limits.low_budget_factor if self._is_scarce() else 1.0
        interval_s = limits.interval_s if age_s < limits.early_phase_s else limits.later_interval_s
        due_s = self._waiting_since_s + factor * interval_s
        if waiting_bytes >= limits.batch_bytes:
            due_s = min(due_s, self._last_sent_s + factor * limits.interval_s)
        return due_s - now_s

    async def _deliver(self, batch: Batch) -> None:
        assert self._send is not None  # noqa: S101 - without it the pump is never started
        self._in_flight = batch
        answer = await self._send(batch)
        self._last_sent_s = self._clock.monotonic()
        if isinstance(answer, Unanswered):
            self._give_up("undelivered")
        elif answer.ok:
            self._observer.notify(LogSent(batch.line_count, batch.size_bytes))
        elif answer.status_code in _TOO_BIG and batch.size_bytes > self._limits.smallest_message_bytes:
            self._message_bytes = max(self._limits.smallest_message_bytes, batch.size_bytes // 2)
            self._buffer.put_back(batch)
        else:
            # The run is closed, or unknown, or takes no log: its status will tell, more lines will not.
            self._give_up("refused")
        self._in_flight = None
