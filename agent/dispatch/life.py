"""One run's life: opened inputs, execution, the route's rules, the report, the verdict over its message."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import structlog

from agent.dispatch.active_run import ActiveRun
from agent.dispatch.aftermath import apply_report, until_stopped, unwritten, write_entities
from agent.dispatch.execution import supervise
from agent.dispatch.job import Job
from agent.dispatch.workspace import Workspace
from agent.domain.earlier import Ending
from agent.domain.errors import DecryptionError
from agent.domain.events import RunFinished, RunReported, RunStarted
from agent.domain.invocation import Invocation, InvocationKind, RunId
from agent.domain.outcome import (
    Cancelled,
    CancelReason,
    Failed,
    FailureKind,
    Outcome,
    Rejected,
    Succeeded,
    ending_of,
    outcome_label,
)
from agent.domain.redaction import LOG_MASK, MIN_SECRET_CHARS, is_maskable
from agent.domain.route import Route
from agent.domain.settlement import (
    Delivered,
    NothingToReport,
    Refused,
    Reported,
    Settlement,
    Undelivered,
    settle,
    settle_told,
)
from agent.ports import Clock, Intake, LeftOver, Observer, Reporter, RunReport, Subject

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LifeSettings:
    """What every run's life is bound by.

    ``redeliver_when_stopped``: a run that the agent's stop cuts short is begun anew by the next agent, and Port
    hears nothing of it. ``masked``: values that no run may ever show (the agent's own credentials).
    ``environment`` is where a route's ``secrets`` are looked up; ``learn`` is told them, for the agent's own log.
    ``workspaces`` is the parent of the runs' private directories.
    """

    workspaces: Path
    kill_grace_s: float = 10.0
    redeliver_when_stopped: bool = False
    masked: tuple[str, ...] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    learn: Callable[[str], object] = field(default=lambda _secret: None)


@dataclass(frozen=True, slots=True)
class Rest:
    """What a route's entities still need of a run whose work is over."""

    run: ActiveRun
    route: Route
    duration_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that is over, and the report that must still be delivered. ``action`` is for log lines.

    ``rest`` is what `Lives.complete` has to do first, if anything.
    """

    subject: Subject
    action: str | None
    report: RunReport
    outcome: Outcome
    rest: Rest | None = None


class Lives:
    """Lives the runs that the dispatcher starts: `execute` (or `unexecuted`), then `complete`, then `conclude`."""

    def __init__(
        self, intake: Intake, reporter: Reporter, observer: Observer, clock: Clock, settings: LifeSettings
    ) -> None:
        self._intake = intake
        self._reporter = reporter
        self._observer = observer
        self._clock = clock
        self._settings = settings
        self._active: dict[ActiveRun, float] = {}
        self._learned: set[str] = set()
        self._stopped: CancelReason | None = None

    def executing_for(self, at_least_s: float) -> frozenset[RunId]:
        """The action runs that have been executed for so long."""
        until_s = self._clock.monotonic() - at_least_s
        return frozenset(
            run.run_id
            for run, since_s in self._active.items()
            if run.run_id is not None and since_s <= until_s and run.invocation.kind is InvocationKind.ACTION_RUN
        )

    def stop(self, run_id: RunId, reason: CancelReason) -> None:
        """Asks one run to end, if it is still executed."""
        for run in self._active:
            if run.run_id == run_id:
                run.stop(reason)

    def stop_all(self, reason: CancelReason) -> None:
        """Asks every executing run to end, and those to come; the first reason that a run hears counts."""
        self._stopped = reason
        for run in self._active:
            run.stop(reason)

    async def execute(self, job: Job, attempt: int = 1, note: str = "") -> Ended:
        """Does the work of a job, from opening its inputs on; what fails is its outcome.

        ``attempt`` counts from 1; ``note`` is the first line of the run's log, if there is anything to note.
        """
        route, invocation = job.routed.route, job.hand_over()
        report = self._open_report(job.subject, route)
        if note:
            report.log(note)
        started_s = self._clock.monotonic()
        waited_s, trace = started_s - job.delivery.received_at_s, job.delivery.trace
        self._observer.notify(
            RunStarted(route.executor, route.name, invocation.run_id, invocation.action, waited_s, attempt, trace)
        )
        # What only this run knows as a secret is masked in the agent's log, too, whatever makes it say it.
        structlog.contextvars.bind_contextvars(**{LOG_MASK: report.masked})
        run: ActiveRun | None = None
        try:
            outcome, run = await self._work(job, invocation, report, started_s, attempt)
        except Exception as error:
            log.exception("a defect of the agent ended this run")
            outcome = Failed(f"internal error of the agent: {type(error).__name__}", FailureKind.EXCEPTION)
        finally:
            structlog.contextvars.unbind_contextvars(LOG_MASK)
        duration_s = self._clock.monotonic() - started_s
        if run is not None and route.entities:
            return Ended(job.subject, invocation.action, report, outcome, Rest(run, route, duration_s))
        ended = Ended(job.subject, invocation.action, report, outcome)
        self._tell_finished(ended, route.executor, duration_s)
        return ended

    async def complete(self, ended: Ended) -> Ended:
        """Writes what the route says of entities, however long Port takes; that may change the outcome.

        Asked to stop meanwhile, it soon gives up: a success that could not be written in full is a failure then.
        """
        if (rest := ended.rest) is None:
            return ended
        writing = write_entities(rest.run, rest.route, ended.report, ended.outcome)
        self._active[rest.run] = self._clock.monotonic() - rest.duration_s
        try:
            outcome = await until_stopped(writing, rest.run)
        finally:
            del self._active[rest.run]
        if outcome is None:
            outcome = unwritten(ended.report, ended.outcome)
        done = replace(ended, outcome=outcome, rest=None)
        self._tell_finished(done, rest.route.executor, rest.duration_s)
        return done

    def broken_off(self, ended: Ended, outcome: Failed) -> Ended:
        """The end of an execution that cannot be completed, for a defect of ours: ``outcome`` is what is told."""
        done = replace(ended, outcome=outcome, rest=None)
        if (rest := ended.rest) is not None:
            self._tell_finished(done, rest.route.executor, rest.duration_s)
        return done

    def unexecuted(self, subject: Subject, action: str | None, outcome: Succeeded | Failed) -> Ended:
        """The end of a run that no executor of this agent will ever see."""
        ended = Ended(subject, action, self._reporter.open(subject, self._settings.masked), outcome)
        self._tell_finished(ended, "none", 0.0)
        return ended

    async def conclude(self, ended: Ended, *, is_ours: bool = True) -> Settlement:
        """Delivers the last report, however long Port takes, and decides over the message.

        A run that was stopped because the agent stops is left to the next agent, untold, where the settings say so.
        But not where its message ``is_ours`` no more: whoever has it then takes it for one that goes on here.
        """
        if is_ours and self._is_to_be_repeated(ended.outcome):
            ended.report.abandon()
            self._tell_reported(ended.subject, NothingToReport())
            return Settlement.REPEAT
        reported = await ended.report.finish(ended.outcome)
        self._tell_reported(ended.subject, reported)
        return settle(ended.outcome, reported)

    def ending(self, ended: Ended) -> Ending | None:
        """What others must know of this end until Port does; ``None`` where there is nothing to tell Port."""
        return None if self._is_to_be_repeated(ended.outcome) else ending_of(ended.outcome)

    def _is_to_be_repeated(self, outcome: Outcome) -> bool:
        stopped = isinstance(outcome, Cancelled) and outcome.reason is CancelReason.AGENT_STOP
        return stopped and self._settings.redeliver_when_stopped

    def left_over(self) -> Sequence[LeftOver]:
        """The runs that ended in an earlier life of this agent and are still to be told."""
        return self._reporter.left_over()

    async def deliver(self, left_over: LeftOver) -> Settlement:
        """Tells the end of such a run, however long Port takes, and decides over its message."""
        reported = await left_over.deliver()
        self._tell_reported(left_over.subject, reported)
        return settle_told(reported)

    def _open_report(self, subject: Subject, route: Route) -> RunReport:
        environment = self._settings.environment
        named = [environment[name] for name in route.secrets if environment.get(name)]
        for secret in set(named) - self._learned:
            self._learned.add(secret)
            self._settings.learn(secret)
        return self._reporter.open(subject, (*self._settings.masked, *named))

    async def _work(
        self, job: Job, invocation: Invocation, report: RunReport, started_s: float, attempt: int
    ) -> tuple[Outcome, ActiveRun | None]:
        """The run only where the route's rules on entities apply to it."""
        route = job.routed.route
        try:
            invocation, plain = self._intake.unlock(invocation, route.decrypt, listed=route.decrypts_listed)
        except DecryptionError as error:
            return Failed(str(error), FailureKind.DECRYPTION), None
        _mask(report, plain)
        if not route.decrypts_listed:
            _tell_idle_paths(report, [path for path in route.decrypt if path not in plain])
        return await self._supervise(job, invocation, report, started_s, attempt)

    async def _supervise(
        self, job: Job, invocation: Invocation, report: RunReport, started_s: float, attempt: int
    ) -> tuple[Outcome, ActiveRun | None]:
        if self._stopped is not None:
            return Cancelled(self._stopped, "the agent was stopped before this run began"), None
        route, trace = job.routed.route, job.delivery.trace
        workspace = Workspace(self._settings.workspaces)
        deadline_s = started_s + route.timeout_s
        traceparent = None if trace is None else trace.execution.traceparent
        run = ActiveRun(invocation, route, report, workspace, self._observer, deadline_s, attempt, traceparent)
        self._active[run] = started_s
        try:
            outcome = await supervise(run, job.routed.executor, route, self._clock, self._settings.kill_grace_s)
        finally:
            del self._active[run]
            await workspace.remove()
        if isinstance(outcome, Cancelled):
            return outcome, None
        return apply_report(run, route.report, report, outcome), run

    def _tell_finished(self, ended: Ended, executor: str, duration_s: float) -> None:
        reason, detail = _words(ended.outcome)
        self._observer.notify(
            RunFinished(
                executor,
                ended.subject.route,
                ended.subject.run_id,
                outcome_label(ended.outcome),
                reason,
                ended.report.masked(detail).partition("\n")[0],
                duration_s,
                ended.action,
                ended.subject.trace,
            )
        )

    def _tell_reported(self, subject: Subject, reported: Reported) -> None:
        words = _reported_words(reported)
        self._observer.notify(RunReported(subject.route, subject.run_id, *words, trace=subject.trace))


def _mask(report: RunReport, plain: Mapping[str, Sequence[str]]) -> None:
    """Has the opened inputs masked; which of them cannot be is told before anything might show them."""
    for value in chain.from_iterable(plain.values()):
        report.mask(value)
    for name, values in plain.items():
        if not all(map(is_maskable, values)):
            short = f"a value in it is shorter than {MIN_SECRET_CHARS} characters"
            report.log(f"encrypted input {name!r} is not masked, or not in full: {short}", "WARN")


def _tell_idle_paths(report: RunReport, paths: Sequence[str]) -> None:
    """Who wrote such a path may have meant another one, whose value now goes out encrypted as it is."""
    for path in dict.fromkeys(paths):
        hint = "; paths begin without a dot" if path.startswith(".") else ""
        report.log(f"nothing was decrypted at {path!r}, where the message has no value{hint}", "WARN")


def _words(outcome: Outcome) -> tuple[str, str]:
    """A word for metrics, and for operators why it failed: what more there is to say is for the run's page."""
    match outcome:
        case Failed(reason, kind):
            return str(kind), reason
        case Cancelled(reason, detail):
            return str(reason), detail
        case Rejected(reason):
            return "rejected", reason
        case _:
            return "", ""


def _reported_words(reported: Reported) -> tuple[str, str]:
    match reported:
        case Delivered():
            return "delivered", ""
        case Refused(status_code, message):
            return "refused", f"{status_code}: {message}"
        case Undelivered(reason):
            return "undelivered", reason
        case NothingToReport():
            return "nothing", ""
