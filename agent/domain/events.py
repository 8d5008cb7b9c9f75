"""Facts that the logic states and observers count or log; the logic never waits for anyone to listen.

No event carries an input, a secret, a user or a URL, but for what a failure's first line may quote (masked), and
the host of an HTTP target;
`run_id` is for log lines, never for a metric label. ``trace`` is ``None`` where traces are off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agent.domain.invocation import RunId
from agent.domain.trace import RunTrace, SpanContext


@dataclass(frozen=True, slots=True)
class MessageIgnored:
    """A message was passed over: not_for_agents, unrouted, change_event; undecided: it may have been ours."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class MessageRejected:
    """A message was refused: undecodable, signature, too_old, defect. Nothing in Port was touched."""

    source: str
    reason: str
    detail: str
    run_id: RunId | None = None


@dataclass(frozen=True, slots=True)
class MessageKept:
    """A message that cannot be acted on was written to the quarantine ``file``; ``reason`` as in `MessageRejected`.

    Or unexecutable: it named a run, which ends as a failure.
    """

    reason: str
    file: str


@dataclass(frozen=True, slots=True)
class MessageNotKept:
    """The quarantine could not take a message: ``code`` is the error's name (ENOSPC, …), or overrun."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class RunReceived:
    """A message of ours found its route (``route`` is "unrouted" where none matched)."""

    source: str
    route: str
    run_id: RunId | None


@dataclass(frozen=True, slots=True)
class RunRedelivered:
    """A run that was delivered before came again. ``outcome`` is what became of it.

    in_hand: this agent has it, or has ended it lately; over: it has ended in Port; begun: it is executed again;
    unsure: it is executed, perhaps for the first time, for it was there before anything was noted of this topic;
    interrupted: it ends as a failure, for whoever was at it is gone; concluded: its end is told without executing
    it, for an agent that could not tell it, or because no executor here takes it.
    """

    run_id: RunId | None
    outcome: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A slot was free and the executor was called. ``waited_s``: from its arrival here to now."""

    executor: str
    route: str
    run_id: RunId | None
    action: str | None
    waited_s: float
    attempt: int = 1
    trace: RunTrace | None = None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The executor is done. ``status``: success, failure, accepted, rejected, cancelled.

    ``detail`` is the first line of why it failed, masked. ``action`` is ``None`` for messages that name none.
    """

    executor: str
    route: str
    run_id: RunId | None
    status: str
    reason: str
    detail: str
    duration_s: float
    action: str | None = None
    trace: RunTrace | None = None


@dataclass(frozen=True, slots=True)
class RunReported:
    """The last word on the run was (or was not) delivered: delivered, refused, undelivered, nothing."""

    route: str
    run_id: RunId | None
    result: str
    detail: str = ""
    trace: RunTrace | None = None


@dataclass(frozen=True, slots=True)
class RunRetried:
    """An executor sent its request once more."""

    executor: str
    reason: str


@dataclass(frozen=True, slots=True)
class TargetRequested:
    """An executor's request to another system ended; told in recorded traces only, for which ``span`` is its place.

    ``target`` is host and port; ``code`` "200" …, or an error's word.
    """

    span: SpanContext
    method: str
    target: str
    code: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class TargetSilent:
    """An HTTP target left so many requests in a row without an answer that it is left alone for ``pause_s``.

    ``target`` is host and port, ``detail`` the last error; ``silent_targets`` counts all such targets by now.
    """

    target: str
    failures: int
    detail: str
    pause_s: float
    silent_targets: int


@dataclass(frozen=True, slots=True)
class TargetAnswered:
    """A silent target is called as any other again: it ``answered``, or nobody has asked for it for long."""

    target: str
    answered: bool
    silent_targets: int


@dataclass(frozen=True, slots=True)
class WaitingChanged:
    """How many runs wait for their start, and since when the oldest does (monotonic seconds, ``None`` if none).

    ``in_hand``: how many others are being dealt with: asked about, waited for elsewhere, executed, or reported.
    ``for_slot``: how many of those that wait lack a slot alone, and neither their key, nor their route's limit, nor
    Port.
    """

    count: int
    oldest_since_s: float | None
    in_hand: int = 0
    for_slot: int = 0


@dataclass(frozen=True, slots=True)
class ApiRequested:
    """One request to Port's API ended. ``route`` is the path's pattern; ``code`` "200" …, or an error's word."""

    route: str
    method: str
    code: str
    duration_s: float


@dataclass(frozen=True, slots=True)
class ApiRetried:
    """A request to Port's API will be sent once more: status_429, timeout, connection, token.

    ``detail`` is a line for people: the request, and what was answered or why nothing was; without any secret.
    """

    route: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RateBudget:
    """What the last answer said about the organisation's request budget."""

    remaining: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class TokenRefreshed:
    """A token was asked for: ok, refused (the credentials are wrong), error.

    ``detail``: a line for people, as in `ApiRetried`.
    """

    result: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LogSent:
    """Lines of run output reached Port."""

    lines: int
    bytes: int


@dataclass(frozen=True, slots=True)
class LogDropped:
    """Lines of run output did not reach Port: cap, refused, undelivered, closed."""

    lines: int
    reason: str


@dataclass(frozen=True, slots=True)
class LogTruncated:
    """A run's log hit a bound: run_cap, line_cap."""

    reason: str


@dataclass(frozen=True, slots=True)
class SpansSent:
    """So many spans of traces were sent to their collector, or given up: sent, failed; dropped by a full queue."""

    spans: int
    result: str


@dataclass(frozen=True, slots=True)
class JournalStood:
    """So many outcomes are kept until Port accepts them. ``problem``: why the disk does not have them, if so.

    ``note`` tells of something that was found when the journal was opened.
    """

    pending: int
    problem: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Consumed:
    """Records were taken off a topic."""

    topic: str
    count: int


@dataclass(frozen=True, slots=True)
class Polled:
    """The consumer thread asked the broker for records (wall-clock epoch seconds)."""

    at_epoch_s: float


@dataclass(frozen=True, slots=True)
class Rebalanced:
    """assigned, revoked or lost; with the partitions as (topic, index)."""

    event: str
    partitions: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit ended: ok, or the error's name."""

    result: str


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """The client library reported an error; it goes on by itself unless ``fatal``."""

    code: str
    detail: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class ClaimsAsked:
    """Port was asked for pending runs of one kind (action_run, node_run).

    ``result``: ok, failed, or absent where Port does not know this way of asking; ``count`` is how many it gave.
    ``detail`` is a line for people, without any secret; ``wait_s`` is how long is waited after a failure.
    """

    kind: str
    result: str
    count: int
    detail: str = ""
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ClaimAcknowledged:
    """A claimed run was acknowledged. ``result``: ours, taken, perhaps, refused, unanswered."""

    kind: str
    result: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ClaimsKept:
    """Whether acknowledged runs are kept on disk: ``problem`` says why not. ``note``: what was found wrong."""

    problem: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """Where one partition stands. Ages in seconds.

    ``lag``: records from what may be committed to the partition's end, ``None`` while unknown.
    ``unread_for_s``: for how long nothing was read of it although the source said each time it was asked that there
    is more, and it was not paused; ``None`` where all is well, or the source does not answer. ``held``: messages
    that were given back here, and come again to nobody before a restart or a rebalance.
    """

    topic: str
    index: int
    lag: int | None
    uncommitted: int
    span: int
    oldest_uncommitted_age_s: float | None
    paused: bool
    unread_for_s: float | None = None
    held: int = 0


@dataclass(frozen=True, slots=True)
class LoopTicked:
    """The event loop came back to a timer, ``late_s`` after it was due: for so long it had stood still.

    ``python_routes``: whose Python actions were being executed since the last time; one of them may have blocked.
    """

    late_s: float
    python_routes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutesReloaded:
    """The routes file changed: ``ok`` tells whether the new one is in force; then ``problems`` are warnings."""

    ok: bool
    routes: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadyChanged:
    """The agent became ready or stopped being so, and why."""

    ready: bool
    reason: str


@dataclass(frozen=True, slots=True)
class AliveChanged:
    """Something in the agent stands still, so that it should be started anew; or it moves again. And which."""

    alive: bool
    reason: str


@dataclass(frozen=True, slots=True)
class DrainStarted:
    """Shutdown began: no new run starts from here on.

    ``executing`` runs may go on for ``timeout_s``; ``telling`` others have ended, and Port does not know it yet.
    """

    executing: int
    telling: int
    timeout_s: float


Event: TypeAlias = (
    MessageIgnored
    | MessageRejected
    | MessageKept
    | MessageNotKept
    | RunReceived
    | RunRedelivered
    | RunStarted
    | RunFinished
    | RunReported
    | RunRetried
    | TargetRequested
    | TargetSilent
    | TargetAnswered
    | WaitingChanged
    | ApiRequested
    | ApiRetried
    | RateBudget
    | TokenRefreshed
    | LogSent
    | LogDropped
    | LogTruncated
    | SpansSent
    | JournalStood
    | Consumed
    | Polled
    | Rebalanced
    | Committed
    | SourceFailed
    | ClaimsAsked
    | ClaimAcknowledged
    | ClaimsKept
    | PartitionStatus
    | LoopTicked
    | RoutesReloaded
    | ReadyChanged
    | AliveChanged
    | DrainStarted
)
