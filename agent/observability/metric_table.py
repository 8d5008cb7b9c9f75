"""Every metric the agent exports: name, help, labels, and how many series it may have at most.

To add one: give it a line here, and feed it in `counts` (counters, histograms) or `gauges`. A test fails for a
line that nothing feeds.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_ROUTES = 50
"""Routes with names of their own; those beyond are counted as `OTHER`."""

OTHER = "other"
UNROUTED = "unrouted"

STATUSES = ("success", "failure", "accepted", "rejected", "cancelled")


@dataclass(frozen=True, slots=True)
class CounterSpec:
    """A number that only grows.

    ``known``: label values that start at 0. ``max_series``: label values beyond are all counted as `OTHER`,
    so that no bug or hostile message can flood Prometheus.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()
    max_series: int = 1


@dataclass(frozen=True, slots=True)
class HistogramSpec:
    """A distribution of seconds. ``max_series`` counts label values; each has a series per bucket and two more."""

    name: str
    help: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...]
    max_series: int


@dataclass(frozen=True, slots=True)
class GaugeSpec:
    """A number as it is at the moment of the scrape."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


def _each(*values: str) -> tuple[tuple[str, ...], ...]:
    return tuple((value,) for value in values)


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────

MESSAGES_IGNORED = CounterSpec(
    "agent_messages_ignored_total",
    "Messages passed over because they are for somebody else.",
    ("source", "reason"),
    max_series=16,
)
RUNS_RECEIVED = CounterSpec(
    "agent_runs_received_total",
    "Messages of ours, by the route that they found (unrouted: none).",
    ("source", "route"),
    max_series=MAX_ROUTES + 6,
)
RUNS_REJECTED = CounterSpec(
    "agent_runs_rejected_total",
    "Messages refused without touching Port.",
    ("reason",),
    _each("signature", "too_old", "undecodable", "defect"),
    max_series=12,
)
QUARANTINED = CounterSpec(
    "agent_quarantined_messages_total",
    "Messages that could not be acted on and were written to the quarantine file.",
    ("reason",),
    _each("signature", "too_old", "undecodable", "unexecutable", "defect"),
    max_series=12,
)
QUARANTINE_FAILURES = CounterSpec(
    "agent_quarantine_failures_total",
    "Messages that the quarantine file could not take, by the error's name; overrun: too many at once.",
    ("code",),
    _each("overrun", "ENOSPC", "EROFS"),
    max_series=12,
)
RUNS_REDELIVERED = CounterSpec(
    "agent_runs_redelivered_total",
    "Runs that were delivered before, or may have been, and came again, by what became of them.",
    ("outcome",),
    _each("in_hand", "over", "begun", "unsure", "interrupted", "concluded"),
    max_series=7,
)
RUNS_STARTED = CounterSpec(
    "agent_runs_started_total",
    "Executions begun.",
    ("executor", "route"),
    max_series=MAX_ROUTES + 6,
)
RUNS_FINISHED = CounterSpec(
    "agent_runs_finished_total",
    "Executions ended, by how they ended.",
    ("executor", "route", "status"),
    max_series=len(STATUSES) * (MAX_ROUTES + 4),
)
RUN_RETRIES = CounterSpec(
    "agent_run_retries_total",
    "Requests that an executor sent once more.",
    ("executor", "reason"),
    max_series=16,
)
HTTP_TARGETS_GIVEN_UP = CounterSpec(
    "agent_http_targets_given_up_total",
    "Times that an HTTP target was left alone, for it had left too many requests in a row without an answer.",
)
RUN_REPORTS = CounterSpec(
    "agent_run_reports_total",
    "Last words on runs: delivered to Port, refused by it, undelivered, or nothing to say.",
    ("result",),
    _each("delivered", "refused", "undelivered", "nothing"),
    max_series=6,
)
RUN_DURATION = HistogramSpec(
    "agent_run_duration_seconds",
    "How long executions took.",
    ("executor", "status"),
    (0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200),
    max_series=16,
)
RUN_QUEUE_WAIT = HistogramSpec(
    "agent_run_queue_wait_seconds",
    "From a message's arrival here to the start of its execution.",
    ("executor",),
    (0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800),
    max_series=6,
)
RUNS_IN_FLIGHT = GaugeSpec("agent_runs_in_flight", "Runs being executed.", ("executor",))
RUNS_IN_FLIGHT_LIMIT = GaugeSpec("agent_runs_in_flight_limit", "How many runs may be executed at once.")
HTTP_TARGETS_OPEN = GaugeSpec(
    "agent_http_targets_open",
    "HTTP targets with an open breaker: runs for them fail at once until one of them answers a probe.",
)
RUNS_WAITING = GaugeSpec(
    "agent_runs_waiting", "Runs that wait for their start: for a slot, their route's limit, their key, or Port."
)
RUNS_WAITING_FOR_SLOT = GaugeSpec(
    "agent_runs_waiting_for_slot",
    "Those of the runs that wait which would start if there were slots for all: more replicas help these.",
)
OLDEST_WAITING = GaugeSpec(
    "agent_oldest_waiting_run_age_seconds", "How long the oldest waiting run has waited; 0 if none waits."
)
OLDEST_IN_FLIGHT = GaugeSpec(
    "agent_oldest_in_flight_run_age_seconds", "How long the oldest run in flight has been executed; 0 if none is."
)
SINCE_PROGRESS = GaugeSpec(
    "agent_seconds_since_progress",
    "Since a run was last received, started, finished or reported; 0 while there is no work at all.",
)

# ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────

JOURNAL_PENDING = GaugeSpec(
    "agent_journal_pending_reports", "Outcomes of runs that are kept until Port accepts them."
)
JOURNAL_WRITABLE = GaugeSpec(
    "agent_journal_writable",
    "1 while outcomes are kept on disk as well; 0: they are in memory alone, and a restart would lose them.",
)

# ── run logs ─────────────────────────────────────────────────────────────────────────────────────────

LOG_LINES = CounterSpec("agent_run_log_lines_total", "Lines of run output that reached Port.")
LOG_BYTES = CounterSpec("agent_run_log_bytes_total", "Bytes of run output that reached Port.")
LOG_LINES_DROPPED = CounterSpec(
    "agent_run_log_lines_dropped_total",
    "Lines of run output that did not reach Port.",
    ("reason",),
    _each("cap", "refused", "undelivered", "closed"),
    max_series=8,
)
LOG_TRUNCATIONS = CounterSpec(
    "agent_run_log_truncations_total",
    "Times that a run's log hit a bound.",
    ("reason",),
    _each("run_cap", "line_cap"),
    max_series=4,
)

# ── traces ───────────────────────────────────────────────────────────────────────────────────────────

SPANS = CounterSpec(
    "agent_trace_spans_total",
    "Spans of traces that were sent to the collector, or given up.",
    ("result",),
    _each("sent", "failed", "dropped"),
    max_series=4,
)

# ── Kafka ────────────────────────────────────────────────────────────────────────────────────────────

KAFKA_CONSUMED = CounterSpec(
    "agent_kafka_messages_consumed_total", "Records taken off a topic.", ("topic",), max_series=6
)
KAFKA_COMMITS = CounterSpec(
    "agent_kafka_commits_total",
    "Commits, by result: ok, or the error's name.",
    ("result",),
    _each("ok"),
    max_series=16,
)
KAFKA_REBALANCES = CounterSpec(
    "agent_kafka_rebalances_total",
    "Changes of our share of the partitions.",
    ("event",),
    _each("assigned", "revoked", "lost"),
    max_series=4,
)
KAFKA_ERRORS = CounterSpec(
    "agent_kafka_client_errors_total",
    "Errors that the Kafka client reported, by the error's name.",
    ("code",),
    _each("_ALL_BROKERS_DOWN", "_TRANSPORT", "_AUTHENTICATION", "GROUP_AUTHORIZATION_FAILED"),
    max_series=24,
)
KAFKA_LAG = GaugeSpec(
    "agent_kafka_consumer_lag",
    "From the committed offset to the partition's end; what has ended above a run that goes on counts, too.",
    ("topic", "partition"),
)
KAFKA_UNCOMMITTED = GaugeSpec(
    "agent_kafka_uncommitted_messages", "Records read and not yet committed.", ("topic", "partition")
)
KAFKA_SPAN = GaugeSpec(
    "agent_kafka_offset_map_span",
    "From the lowest unsettled record to the highest settled one; reading pauses at a bound.",
    ("topic", "partition"),
)
KAFKA_OLDEST_UNCOMMITTED = GaugeSpec(
    "agent_kafka_oldest_uncommitted_age_seconds",
    "Age of the lowest record not yet committed; 0 if there is none.",
    ("topic", "partition"),
)
KAFKA_ASSIGNED = GaugeSpec("agent_kafka_assigned_partitions", "Partitions assigned to this agent.", ("topic",))
KAFKA_PAUSED = GaugeSpec("agent_kafka_paused_partitions", "Assigned partitions that are paused.", ("topic",))
KAFKA_LAST_POLL = GaugeSpec(
    "agent_kafka_last_poll_timestamp_seconds",
    "When the broker was last asked for records; the agent's start before the first time.",
)

# ── polling ──────────────────────────────────────────────────────────────────────────────────────────

POLLING_CLAIMS = CounterSpec(
    "agent_polling_claims_total",
    "Questions to Port for pending runs; absent: it does not know them.",
    ("kind", "result"),
    (("action_run", "ok"), ("action_run", "failed"), ("node_run", "ok"), ("node_run", "failed")),
    max_series=8,
)
POLLING_CLAIMED = CounterSpec(
    "agent_polling_claimed_runs_total",
    "Pending runs that Port gave; one that is not begun in time comes again, here or elsewhere.",
    ("kind",),
    _each("action_run", "node_run"),
    max_series=4,
)
POLLING_ACKNOWLEDGED = CounterSpec(
    "agent_polling_acknowledgements_total",
    "Acknowledgements of claimed runs; taken: another worker was first.",
    ("kind", "result"),
    (("action_run", "ours"), ("action_run", "taken"), ("node_run", "ours"), ("node_run", "taken")),
    max_series=12,
)
POLLING_KEPT = GaugeSpec(
    "agent_polling_claims_writable",
    "1 while acknowledged runs are kept on disk; 0: they are in memory alone, and a restart would lose them.",
)

# ── Port's API ───────────────────────────────────────────────────────────────────────────────────────

API_REQUESTS = CounterSpec(
    "agent_api_requests_total",
    "Requests to Port's API, by answer: the HTTP status or an error's word.",
    ("route", "method", "code"),
    max_series=80,
)
API_DURATION = HistogramSpec(
    "agent_api_request_duration_seconds",
    "How long requests to Port's API took.",
    ("route",),
    (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    max_series=15,
)
API_RETRIES = CounterSpec(
    "agent_api_retries_total", "Requests to Port's API sent once more.", ("route", "reason"), max_series=40
)
API_TOKEN_REFRESHES = CounterSpec(
    "agent_api_token_refreshes_total",
    "Tokens asked for.",
    ("result",),
    _each("ok", "refused", "error"),
    max_series=4,
)
API_REMAINING = GaugeSpec(
    "agent_api_rate_limit_remaining", "Requests left in the organisation's window; absent until Port says so."
)
API_LAST_SUCCESS = GaugeSpec(
    "agent_api_last_success_timestamp_seconds", "When Port's API last answered 2xx; absent before the first time."
)
API_UNANSWERED = GaugeSpec(
    "agent_api_unanswered_seconds",
    "From the first to the latest of the requests to Port's API that failed in a row, unanswered or with a 5xx; "
    "0 while it answers, and once nobody has asked for 7 minutes.",
)

# ── the agent itself ─────────────────────────────────────────────────────────────────────────────────

BUILD_INFO = GaugeSpec("agent_build_info", "Always 1; what runs here stands in the labels.", ("version", "python"))
LOOP_LAG = HistogramSpec(
    "agent_event_loop_lag_seconds",
    "How late the event loop came back to a timer: for so long something had blocked it.",
    (),
    (0.01, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60),
    max_series=1,
)
CONFIG_RELOAD = GaugeSpec(
    "agent_config_last_reload_successful", "1 if the routes file as it is now is in force, 0 if it was refused."
)
ALIVE = GaugeSpec("agent_alive", "1 unless something in the agent stands still, as /livez says.")
DRAINING = GaugeSpec("agent_draining", "1 once shutdown began.")
READY = GaugeSpec("agent_ready", "1 while the agent is a member of its group, or polls, and takes runs.")

COUNTERS = tuple(spec for spec in globals().values() if isinstance(spec, CounterSpec))
HISTOGRAMS = tuple(spec for spec in globals().values() if isinstance(spec, HistogramSpec))
GAUGES = tuple(spec for spec in globals().values() if isinstance(spec, GaugeSpec))
