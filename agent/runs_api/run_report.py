"""One run's report: its log streams, its details wait for the status, and the status goes last and once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from agent.domain.errors import EntityRefusedError
from agent.domain.json import Json, JsonObject, as_text
from agent.domain.outcome import Conclusion, Outcome, conclude
from agent.domain.redaction import Redactor
from agent.domain.route import EntityVerb
from agent.domain.settlement import Delivered, NothingToReport, Refused, Reported, Undelivered
from agent.ports import Clock, EntityChange, Observer, Subject
from agent.runs_api import wire
from agent.runs_api.client import RunsClient
from agent.runs_api.connection import Answer, Unanswered
from agent.runs_api.details import KnownDetails, ReportLimits
from agent.runs_api.exchange import Reply
from agent.runs_api.journal import Journal
from agent.runs_api.journal_file import Entry
from agent.runs_api.log_buffer import Batch
from agent.runs_api.log_stream import MaskedStream, RunLog, Spawn
from agent.runs_api.response import response_data
from agent.runs_api.targets import Target, target_of

log = structlog.get_logger(__name__)

_FORM_REFUSED = (400, 413, 422)
"""Answers that may be about what was sent, and not about the run."""
_OUTPUT_FRAME_BYTES = 64
"""What stands around the response where it is an output."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What all reports of one reporter share. ``spawn`` starts tasks that somebody else joins in the end.

    ``journal`` ``None``: outcomes do not outlive the process.
    """

    client: RunsClient
    observer: Observer
    clock: Clock
    limits: ReportLimits
    journal: Journal | None
    spawn: Spawn


class PortRunReport:
    """The report of one run; implements `agent.ports.RunReport`, whose docstrings hold.

    Everything is masked before it is kept, names and values of entities and outputs included: a secret in the
    catalogue is a leak like any other. Where there is no run everything is taken, lines are counted, and nothing is
    sent. ``on_end`` is called when nothing more will be said, perhaps more than once.
    """

    def __init__(
        self, subject: Subject, redactor: Redactor, shared: Shared, *, on_end: Callable[[PortRunReport], None]
    ) -> None:
        self._subject = subject
        self._target = target_of(subject.run_id, subject.kind)
        self._client = shared.client
        self._limits = shared.limits
        self._journal = shared.journal
        self._redactor = redactor
        self._spawn = shared.spawn
        self._on_end = on_end
        self._details = KnownDetails(redactor, shared.limits)
        self._log = RunLog(
            None if self._target is None else self._send_log,
            shared.client.budget_is_low,
            redactor,
            shared.observer,
            shared.clock,
            shared.limits.log,
            spawn=shared.spawn,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._early: asyncio.Task[None] | None = None
        self._response: JsonObject | None = None
        self._early_refused = self._ended = False
        self._concluding = asyncio.Event()
        """From then on the log lets nobody go first: the run's status waits for it."""

    # ── what is said while the run goes on ───────────────────────────────────────────────────────────

    def mask(self, secret: str) -> None:
        """Masks ``secret`` from now on; one that is too short (`agent.domain.redaction`) is not."""
        self._redactor.add(secret)

    def masked(self, text: str, *, is_cut: bool = False) -> str:
        """``text`` as it may leave the process."""
        return self._redactor.mask_text(text, is_cut=is_cut)

    def log(self, message: str, level: str = "INFO") -> None:
        """Adds lines to the run's log."""
        self._log.write_text(message, level)

    def stream(self, name: str) -> MaskedStream:  # noqa: ARG002 - Port shows one log; names are for other reporters
        """A new stream of raw output."""
        return self._log.stream()

    def link(self, url: Json) -> None:
        """Adds a link, or every link of a list; null is none. What is left out is told in the log."""
        for item in url if isinstance(url, list | tuple) else [url]:
            self._warn(self._details.add_link(item))
        self._tell_soon()

    def summary(self, text: Json) -> None:
        """Sets the summary; the last one wins."""
        self._details.set_text("summary", text)
        self._tell_soon()

    def status_label(self, text: Json) -> None:
        """Sets the label. Nodes of workflows have none."""
        self._details.set_text("status_label", text)
        self._tell_soon()

    def external_run_id(self, value: Json) -> None:
        """Sets the other side's id."""
        self._details.set_text("external_run_id", value)
        self._tell_soon()

    def output(self, name: str, value: Json) -> None:
        """Adds a named result, told for nodes of workflows. What is left out is told in the log."""
        self._warn(self._details.add_output(name, value))

    def response(self, response: JsonObject) -> None:
        """Keeps the answer of a synchronous call for the end."""
        self._response = response

    async def change_entity(self, change: EntityChange) -> None:
        """Sends a catalogue change until Port answers. Raises `EntityRefusedError`."""
        if self._ended or self._target is None:
            return
        body = self._redactor.mask_json(change.body)
        change = EntityChange(
            change.verb,
            self.masked(change.blueprint),
            None if change.identifier is None else self.masked(change.identifier),
            body if isinstance(body, dict) else {},
        )
        try:
            request = wire.change_entity(change, self._target.entity_tie)
        except wire.UnfitIdentifierError as error:
            raise EntityRefusedError(f"Port was not asked {_named(change)}: {error}") from error
        answer = await self._client.send(request)
        if isinstance(answer, Unanswered):
            said = self._excerpt(answer.reason)
            raise EntityRefusedError(f"Port gave no answer in time when asked {_named(change)}: {said}")
        gone = change.verb is EntityVerb.DELETE and answer.status_code == 404 and answer.maybe_repeated
        if not answer.ok and not gone:
            said = self._excerpt(answer.message)
            raise EntityRefusedError(f"Port refused {_named(change)}: {said} (HTTP {answer.status_code})")

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────

    async def finish(self, outcome: Outcome) -> Reported:
        """Keeps the outcome, flushes the log for a bounded time, then tells the outcome until Port answers."""
        if self._ended:
            return NothingToReport()
        self._ended = True
        self._concluding.set()
        conclusion = conclude(outcome)
        try:
            if conclusion is None:
                return NothingToReport()
            await self._stop_early()
            if self._target is None:
                await self._log.finish(self._flush_s())
                return NothingToReport()
            return await self._tell(self._target, conclusion)
        finally:
            self._leave()

    def abandon(self) -> None:
        """Nothing more is said."""
        self._ended = True
        self._leave()

    def hurry(self, timeout_s: float) -> None:
        """The agent is stopping: half of the time is for the log, the rest for the status."""
        self._log.hurry(timeout_s / 2)

    def _flush_s(self) -> float:
        left_s = self._client.left_s()
        flush_s = self._limits.log.flush_timeout_s
        return flush_s if left_s is None else min(flush_s, left_s / 2)

    @property
    def size_bytes(self) -> int:
        """The log that waits, the details, and the response."""
        response = 0 if self._response is None else len(as_text(self._response.get("text")))
        return self._log.waiting_bytes + self._details.size_bytes + response

    async def _tell(self, target: Target, conclusion: Conclusion) -> Reported:
        response = self._conclude_response(target, conclusion)
        requests = target.conclude(self._details.conclude(conclusion.summary, ""), conclusion)
        self._keep(requests)
        known = (self._details.changes, self._redactor.size)
        if response is not None:
            await self._tell_response(response)
        lost_lines = await self._log.finish(self._flush_s())
        if lost_lines or known != (self._details.changes, self._redactor.size):
            # Anew: what was learned to be a secret meanwhile is masked, and what was said meanwhile is told.
            note = f"({lost_lines:,} log lines could not be uploaded in time.)" if lost_lines else ""
            requests = target.conclude(self._details.conclude(conclusion.summary, note), conclusion)
        reported = await tell(self._client, requests, self._excerpt)
        if self._journal is not None and not isinstance(reported, Undelivered):
            self._journal.drop((self._subject.run_id, self._subject.origin))
        return reported

    def _conclude_response(self, target: Target, conclusion: Conclusion) -> wire.Request | None:
        """What tells the response before the end; where it goes with the end, it is among the outputs now."""
        told, self._response = self._response, None
        if told is None or conclusion.status is None:
            return None
        data = response_data(told, self._redactor, self._limits.outputs_bytes - _OUTPUT_FRAME_BYTES)
        output = target.response_output(told.get("statusCode"), data)
        if output is not None:
            self._warn(self._details.add_output("response", output))
        return target.response(data)

    async def _tell_response(self, request: wire.Request) -> None:
        """For a bounded time: the status shall have its turn. That it did not get there is told in the log."""
        answer = await self._client.send(request, timeout_s=self._flush_s())
        if isinstance(answer, Unanswered):
            self.log(f"Port was not given the response in time: {self._excerpt(answer.reason)}", "WARN")
        elif not answer.ok:
            said = f"{self._excerpt(answer.message)} (HTTP {answer.status_code})"
            self.log(f"Port did not take the response: {said}", "WARN")

    def _keep(self, requests: Sequence[wire.Request]) -> None:
        """Not waited for: the disk shall not delay what Port can be told at once."""
        if self._journal is not None and requests:
            self._journal.keep(Entry(self._subject, tuple(requests)))

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._early is not None:
            self._early.cancel()
        self._log.abandon()
        self._on_end(self)

    # ── details ahead of the status ──────────────────────────────────────────────────────────────────

    def _tell_soon(self) -> None:
        """In a long run details are told before its end, several together."""
        busy = self._timer is not None or self._early is not None
        done = self._ended or self._early_refused
        if self._target is not None and self._details.untold and not busy and not done:
            self._timer = asyncio.get_running_loop().call_later(
                self._limits.early_after_s, self._start_early, self._target
            )

    def _start_early(self, target: Target) -> None:
        self._timer = None
        self._early = self._spawn(self._tell_early(target))

    async def _tell_early(self, target: Target) -> None:
        """Sends what is untold. What Port did not take stays for the end; after a refusal nothing is told early."""
        names = self._details.take_untold()
        taken = False
        try:
            request = target.update(self._details.told(names))
            if request is not None:
                answer = await self._client.send(request, can_wait=True)
                taken = isinstance(answer, Reply) and answer.ok
                self._early_refused = not taken
        finally:
            self._early = None
            if taken:
                self._tell_soon()
            else:
                self._details.untold |= names

    async def _stop_early(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._early is not None:
            self._early.cancel()
            await asyncio.wait({self._early})

    # ── small change ─────────────────────────────────────────────────────────────────────────────────

    async def _send_log(self, batch: Batch) -> Answer:
        assert self._target is not None  # noqa: S101 - only where there is a run, the log has this function
        return await self._client.send(self._target.log(batch), can_wait=True, until=self._concluding)

    def _excerpt(self, said: str) -> str:
        """What the other side said, masked whole and then cut."""
        return wire.excerpt(self.masked(said))

    def _warn(self, problem: str | None) -> None:
        if problem is not None:
            self.log(problem, "WARN")


async def tell(
    client: RunsClient, requests: Sequence[wire.Request], excerpt: Callable[[str], str] = wire.excerpt
) -> Reported:
    """Sends the first of ``requests`` that Port does not refuse for its form; waits until Port answers.

    ``excerpt`` shortens what Port says. Empty: there is nothing to tell.
    """
    reported: Reported = NothingToReport()
    maybe_repeated = False
    for request in requests:
        answer = await client.send(request)
        if isinstance(answer, Unanswered):
            return Undelivered(excerpt(answer.reason))
        if answer.ok:
            if isinstance(reported, Refused):
                code, detail = reported.status_code, reported.message
                log.warning("Port refused a part of the report", status_code=code, detail=detail)
            return Delivered()
        reported = Refused(answer.status_code, excerpt(answer.message))
        maybe_repeated |= answer.maybe_repeated
        if answer.status_code not in _FORM_REFUSED:
            break
    if isinstance(reported, Refused) and maybe_repeated and reported.status_code not in (404, 413):
        # The answer to an earlier attempt was lost; that the run is closed by now is its echo.
        return Delivered()
    return reported


def _named(change: EntityChange) -> str:
    identifier = "" if change.identifier is None else f" {wire.excerpt(change.identifier)!r}"
    return f"to {change.verb} the entity{identifier} of blueprint {wire.excerpt(change.blueprint)!r}"
