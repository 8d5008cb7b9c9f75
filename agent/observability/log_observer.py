"""Facts as log lines: what a person on call wants to read, and nothing of any payload."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import structlog
from structlog.typing import FilteringBoundLogger

from agent.domain import events
from agent.observability.observers import EventTable
from agent.observability.outage import Outage
from agent.observability.repeats import Repeats
from agent.ports import Clock, Ear

_STANDSTILL_S = 1.0
_BURST = 30
_REFUSED_HINT = (
    "check PORT_CLIENT_ID, PORT_CLIENT_SECRET and the region in PORT_API_BASE_URL; `action-agent doctor` says "
    "where each came from. A mounted file is read anew, a variable takes a restart; outcomes are kept until then"
)
_UNGRANTED_HINT = (
    "where it does not pass by itself: is PORT_API_BASE_URL Port's API, and the proxy right? `action-agent doctor` "
    "tries it"
)
_STANDSTILL_HINT = (
    "an async Python action must not block: await, use asyncio.to_thread, or make it a plain function"
)


class LogObserver:
    """Writes a line for each fact that matters to somebody. Thread-safe.

    Every line about a run has its ``run_id``. INFO: runs start and end, partitions and routes change, the
    agent gets ready and drains. WARNING: something was refused or lost, or the other side fails; the same
    trouble at most once a minute, with the number of times in between (``repeated``); refused messages at most
    30 times a minute for each reason. ERROR: what does not pass by itself. DEBUG: the rest.

    Make it after `agent.observability.logs.configure`; ``logger`` is for tests.
    """

    def __init__(self, clock: Clock, logger: FilteringBoundLogger | None = None) -> None:
        self._clock = clock
        self._log: FilteringBoundLogger = structlog.get_logger().bind() if logger is None else logger
        self._lock = threading.Lock()
        self._repeats = Repeats()
        self._bursts = Repeats(burst=_BURST)
        self._outage = Outage(by_route=True)
        self._refusal_was_told = False
        self._outage_was_told = False
        self._table = EventTable()
        self._hear_runs()
        self._hear_sources()
        self._hear_agent()

    def ears(self, kind: type) -> Sequence[Ear]:
        """What takes note of facts of this type."""
        return self._table.ears(kind)

    def notify(self, event: events.Event) -> None:
        """Writes about ``event``, if there is anything to write."""
        self._table.notify(event)

    def _hear_runs(self) -> None:
        on = self._table.on
        on(events.MessageIgnored, self._ignored)
        on(events.MessageRejected, self._rejected)
        on(events.MessageKept, self._kept)
        on(events.MessageNotKept, self._not_kept)
        on(events.RunStarted, self._started)
        on(events.RunFinished, self._finished)
        on(events.RunReported, self._reported)
        on(events.RunRetried, self._retried)
        on(events.TargetSilent, self._target_silent)
        on(events.TargetAnswered, self._target_answered)
        on(events.LogDropped, self._log_dropped)
        on(events.JournalStood, self._journal_stood)

    def _hear_sources(self) -> None:
        on = self._table.on
        on(events.Rebalanced, self._rebalanced)
        on(events.SourceFailed, self._source_failed)
        on(events.Committed, self._committed)
        on(events.ClaimsAsked, self._claims_asked)
        on(events.ClaimAcknowledged, self._claim_acknowledged)
        on(events.ClaimsKept, self._claims_kept)
        on(events.ApiRequested, self._api_requested)
        on(events.ApiRetried, self._api_retried)
        on(events.TokenRefreshed, self._token_refreshed)

    def _hear_agent(self) -> None:
        on = self._table.on
        on(events.LoopTicked, self._loop_ticked)
        on(events.RoutesReloaded, self._routes_reloaded)
        on(events.ReadyChanged, self._ready_changed)
        on(events.AliveChanged, self._alive_changed)
        on(events.DrainStarted, self._drain_started)

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────

    def _ignored(self, event: events.MessageIgnored) -> None:
        self._log.debug("message ignored", source=event.source, reason=event.reason)

    def _rejected(self, event: events.MessageRejected) -> None:
        about = {"run_id": event.run_id, "source": event.source, "reason": event.reason, "detail": event.detail}
        self._some_a_minute("message rejected", event.reason, **about)

    def _kept(self, event: events.MessageKept) -> None:
        self._once_a_minute("message kept in quarantine", event.reason, reason=event.reason, file=event.file)

    def _not_kept(self, event: events.MessageNotKept) -> None:
        about = {"code": event.code, "detail": event.detail}
        self._once_a_minute("message not kept in quarantine", event.code, **about)

    def _started(self, event: events.RunStarted) -> None:
        self._log.info(
            "run started",
            run_id=event.run_id,
            route=event.route,
            action=event.action,
            executor=event.executor,
            waited_s=round(event.waited_s, 3),
        )

    def _finished(self, event: events.RunFinished) -> None:
        self._log.info(
            "run finished",
            run_id=event.run_id,
            route=event.route,
            action=event.action,
            executor=event.executor,
            outcome=event.status,
            duration_s=round(event.duration_s, 3),
            reason=event.reason,
            detail=event.detail,
        )

    def _reported(self, event: events.RunReported) -> None:
        about = {"run_id": event.run_id, "route": event.route, "detail": event.detail}
        if event.result == "undelivered":
            self._log.warning("report undelivered", **about)
        elif event.result == "refused":
            self._log.warning("report refused by Port", **about)
        else:
            self._log.debug("run reported", result=event.result, **about)

    def _retried(self, event: events.RunRetried) -> None:
        self._log.debug("request retried", executor=event.executor, reason=event.reason)

    def _journal_stood(self, event: events.JournalStood) -> None:
        if event.note:
            self._log.warning("the journal of outcomes was not found in order", detail=event.note)
        if event.problem:
            self._once_a_minute(
                "outcomes are not kept on disk",
                event.problem,
                detail=event.problem,
                pending=event.pending,
                hint="is AGENT_STATE_DIR writable, and is there space? Until then a restart loses these outcomes",
            )

    def _target_silent(self, event: events.TargetSilent) -> None:
        self._log.warning(
            "http target does not answer",
            target=event.target,
            requests_in_a_row=event.failures,
            detail=event.detail,
            tried_again_in_s=round(event.pause_s, 1),
            effect="until it answers, one run at a time tries it, and the others fail at once",
        )

    def _target_answered(self, event: events.TargetAnswered) -> None:
        text = "http target answers again" if event.answered else "http target is asked for no more"
        self._log.info(text, target=event.target)

    def _log_dropped(self, event: events.LogDropped) -> None:
        if event.reason == "cap":
            self._log.debug("run log lines dropped", lines=event.lines, reason=event.reason)
        else:
            self._once_a_minute("run log lines dropped", event.reason, lines=event.lines, reason=event.reason)

    # ── Kafka and Port ───────────────────────────────────────────────────────────────────────────────

    def _rebalanced(self, event: events.Rebalanced) -> None:
        write = self._log.warning if event.event == "lost" else self._log.info
        write(f"partitions {event.event}", count=len(event.partitions), partitions=_by_topic(event.partitions))

    def _source_failed(self, event: events.SourceFailed) -> None:
        if event.fatal:
            self._log.error("source failed for good", code=event.code, detail=event.detail)
        else:
            self._once_a_minute("source failing", event.code, code=event.code, detail=event.detail)

    def _claims_asked(self, event: events.ClaimsAsked) -> None:
        if event.result == "failed":
            again_s = round(event.wait_s, 1)
            self._once_a_minute(
                "claiming runs fails", event.kind, kind=event.kind, detail=event.detail, again_in_s=again_s
            )
        elif event.result == "absent":
            self._once_a_minute("port has no such runs to claim", event.kind, kind=event.kind, detail=event.detail)
        elif event.count:
            self._log.debug("runs claimed", kind=event.kind, count=event.count)

    def _claim_acknowledged(self, event: events.ClaimAcknowledged) -> None:
        about = {"kind": event.kind, "result": event.result, "detail": event.detail}
        if event.result in ("refused", "unanswered"):
            self._once_a_minute("acknowledging runs fails", event.result, **about)
        else:
            self._log.debug("run acknowledged", **about)

    def _claims_kept(self, event: events.ClaimsKept) -> None:
        if event.note:
            self._log.warning("the file of claims was not found in order", detail=event.note)
        if event.problem:
            hint = "is AGENT_STATE_DIR writable, and is there space? Until then a restart loses runs that go on"
            self._once_a_minute("claims are not kept on disk", event.problem, detail=event.problem, hint=hint)

    def _committed(self, event: events.Committed) -> None:
        if event.result != "ok":
            self._once_a_minute("commit failing", event.result, result=event.result)

    def _api_retried(self, event: events.ApiRetried) -> None:
        about = {"reason": event.reason, "route": event.route, "detail": event.detail}
        self._outage_told(told=self._once_a_minute("port api failing", event.reason, **about))

    def _token_refreshed(self, event: events.TokenRefreshed) -> None:
        about = {"result": event.result, "detail": event.detail}
        if event.result == "ok":
            self._taken_credentials()
        elif event.result == "refused":
            self._refused_credentials(**about)
        else:
            told = self._once_a_minute("port token not granted", event.result, **about, hint=_UNGRANTED_HINT)
            self._outage_told(told=told)

    def _refused_credentials(self, **about: object) -> None:
        """Does not pass by itself: until somebody mends it nothing can be reported."""
        text = "port refuses the credentials"
        self._bounded(self._repeats, self._log.error, text, None, **about, hint=_REFUSED_HINT)
        with self._lock:
            self._refusal_was_told = True

    def _taken_credentials(self) -> None:
        with self._lock:
            is_news, self._refusal_was_told = self._refusal_was_told, False
        if is_news:
            self._log.info("port takes the credentials again")

    def _outage_told(self, *, told: bool) -> None:
        with self._lock:
            self._outage_was_told |= told and self._outage.lasts_s(self._clock.monotonic()) is not None

    def _api_requested(self, event: events.ApiRequested) -> None:
        """What was said to fail is said to be over, and so is what lasted; not each hiccup of a busy minute."""
        with self._lock:
            over = self._outage.requested(event, self._clock.monotonic())
            if over is None:
                return
            is_news = self._outage_was_told or not over.is_hiccup
            self._outage_was_told = False
        if is_news:
            away_s = round(over.lasted_s, 3)
            self._log.info("port api answers again", away_s=away_s, failed_requests=over.failed_requests)

    # ── the agent itself ─────────────────────────────────────────────────────────────────────────────

    def _routes_reloaded(self, event: events.RoutesReloaded) -> None:
        if event.ok:
            self._log.info("routes reloaded", routes=event.routes)
            for warning in event.problems:
                self._log.warning("routes warning", problem=warning)
        else:
            self._log.warning(
                "routes reload refused", problems=event.problems, effect="the routes read before stay in force"
            )

    def _loop_ticked(self, event: events.LoopTicked) -> None:
        if event.late_s > _STANDSTILL_S:
            self._once_a_minute(
                "event loop stood still",
                event.python_routes,
                for_s=round(event.late_s, 1),
                python_routes=list(event.python_routes),
                hint=_STANDSTILL_HINT if event.python_routes else None,
            )

    def _ready_changed(self, event: events.ReadyChanged) -> None:
        self._log.info("ready" if event.ready else "not ready", reason=event.reason)

    def _alive_changed(self, event: events.AliveChanged) -> None:
        if event.alive:
            self._log.warning("alive again: what stood still moves")
        else:
            self._log.error("not alive: /livez fails, for a restart", reason=event.reason)

    def _drain_started(self, event: events.DrainStarted) -> None:
        self._log.info("draining", runs=event.executing, reports=event.telling, timeout_s=event.timeout_s)

    def _once_a_minute(self, text: str, what: Hashable, **about: object) -> bool:
        return self._bounded(self._repeats, self._log.warning, text, what, **about)

    def _some_a_minute(self, text: str, what: Hashable, **about: object) -> None:
        """For what tells of something else each time, as long as it is not too much."""
        self._bounded(self._bursts, self._log.warning, text, what, **about)

    def _bounded(
        self, repeats: Repeats, write: Callable[..., object], text: str, what: Hashable, **about: object
    ) -> bool:
        """Whether it was written."""
        with self._lock:
            held = repeats.ask((text, what), self._clock.monotonic())
        if held is not None:
            write(text, **about, repeated=held)
        return held is not None


def _by_topic(partitions: tuple[tuple[str, int], ...]) -> dict[str, list[int]]:
    topics: defaultdict[str, list[int]] = defaultdict(list)
    for topic, index in sorted(partitions):
        topics[topic].append(index)
    return dict(topics)
