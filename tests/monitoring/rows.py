"""What the dashboard shows, row by row; `tests.monitoring.dashboard` makes Grafana's JSON of it."""

from __future__ import annotations

from tests.monitoring.panels import (
    BY_POD,
    OURS,
    POD,
    RUNS_TOPIC,
    Panel,
    Query,
    lines,
    number,
    or_none,
    per_minute,
    quantile,
    rate,
    total,
)

GOOD_ABOVE_0 = ((0, "red"), (1, "green"))

FAILURES = f'sum (increase(agent_runs_finished_total{{{OURS}, status="failure"}}[1h]))'
TAKEN = f"sum without (executor) (agent_runs_in_flight{{{OURS}}}) / agent_runs_in_flight_limit{{{OURS}}}"
FINISHED = f"sum (increase(agent_runs_finished_total{{{OURS}}}[1h]))"

ROWS: dict[str, list[Panel]] = {
    "Overview": [
        number(
            "Agents ready", "Members of the group that take runs.", "short", total("agent_ready"), *GOOD_ABOVE_0
        ),
        number(
            "Slots taken",
            "By runs being executed now, on the agent that has most to do; one action alone gets nine tenths.",
            "percentunit",
            f"max ({TAKEN})",
            (0, "green"),
            (0.75, "orange"),
            (0.85, "red"),
        ),
        number(
            "Runs waiting", "For their start.", "short", total("agent_runs_waiting"), (0, "green"), (100, "orange")
        ),
        number(
            "Failed, 1 h",
            "Of the runs that ended within the last hour.",
            "percentunit",
            f"{FAILURES} / ({FINISHED} > 0) or vector(0)",
            (0, "green"),
            (0.05, "orange"),
            (0.2, "red"),
        ),
        number(
            "Outcomes not told",
            "Kept until Port accepts them.",
            "short",
            total("agent_journal_pending_reports"),
            (0, "green"),
            (50, "orange"),
            (500, "red"),
        ),
        number(
            "Port unanswered for",
            "0 while Port's API answers, and once nobody asks.",
            "s",
            total("agent_api_unanswered_seconds", of="max"),
            (0, "green"),
            (10, "orange"),
            (120, "red"),
        ),
        Panel(
            "Agents",
            "Which version runs in which pod.",
            "short",
            (Query(f"agent_build_info{{{OURS}}}"),),
            "table",
            8,
        ),
        Panel(
            "Standing",
            "Alive: nothing stands still. Writable: outcomes are kept on disk. Configured: the routes "
            "file as it is now is in force.",
            "short",
            (
                Query(total("agent_ready", of="min"), "ready"),
                Query(total("agent_alive", of="min"), "alive"),
                Query(total("agent_journal_writable", of="min"), "writable"),
                Query(total("agent_config_last_reload_successful", of="min"), "configured"),
                Query(f"1 - {total('agent_draining', of='max')}", "not draining"),
            ),
            "state-timeline",
            16,
            steps=GOOD_ABOVE_0,
            names={0: "no", 1: "yes"},
        ),
    ],
    "Runs": [
        lines(
            "Received, per minute",
            "Messages of ours, by route.",
            "short",
            (per_minute("agent_runs_received_total", "route"), "{{route}}"),
            stacked=True,
        ),
        lines(
            "Ended, per minute",
            "By how they ended.",
            "short",
            (per_minute("agent_runs_finished_total", "status"), "{{status}}"),
            stacked=True,
        ),
        lines(
            "Failed, by route, per minute",
            "Runs that ended as failures.",
            "short",
            (per_minute("agent_runs_finished_total", "route", ', status="failure"'), "{{route}}"),
        ),
        lines(
            "In flight",
            "Being executed, by executor, and how many may be.",
            "short",
            (total("agent_runs_in_flight", "executor"), "{{executor}}"),
            (total("agent_runs_in_flight_limit"), "limit"),
        ),
        lines(
            "Duration",
            "Of executions, by executor.",
            "s",
            (quantile(0.5, "agent_run_duration_seconds", "executor"), "{{executor}}, median"),
            (quantile(0.95, "agent_run_duration_seconds", "executor"), "{{executor}}, 95 %"),
        ),
        lines(
            "Wait before the start",
            "From a message's arrival here to the start of its execution.",
            "s",
            (quantile(0.5, "agent_run_queue_wait_seconds"), "median"),
            (quantile(0.95, "agent_run_queue_wait_seconds"), "95 %"),
            (total("agent_oldest_waiting_run_age_seconds", of="max"), "oldest that waits"),
        ),
        lines(
            "Oldest run in flight",
            "By pod.",
            "s",
            (total("agent_oldest_in_flight_run_age_seconds", BY_POD, of="max"), POD),
        ),
        lines(
            "Refused and passed over, per minute",
            "Messages that were refused, by reason, or that are for somebody else.",
            "short",
            (per_minute("agent_runs_rejected_total", "reason"), "refused: {{reason}}"),
            (f"{per_minute('agent_messages_ignored_total')} or vector(0)", "passed over"),
        ),
        lines(
            "Came again, per minute",
            "Runs that were delivered before, by what became of them.",
            "short",
            (per_minute("agent_runs_redelivered_total", "outcome"), "{{outcome}}"),
        ),
        lines(
            "Requests of http routes",
            "Sent once more, by reason; targets that do not answer are left alone.",
            "short",
            (f"{per_minute('agent_run_retries_total')} or vector(0)", "repeated, per minute"),
            (total("agent_http_targets_open"), "targets left alone"),
        ),
        lines(
            "Last words, per minute",
            "What became of the ends of runs that Port was told.",
            "short",
            (per_minute("agent_run_reports_total", "result"), "{{result}}"),
        ),
        lines(
            "Quarantine, per minute",
            "Messages that were kept because they could not be acted on, or could not be kept.",
            "short",
            (per_minute("agent_quarantined_messages_total", "reason"), "kept: {{reason}}"),
            (per_minute("agent_quarantine_failures_total"), "not kept"),
        ),
    ],
    "Kafka": [
        lines(
            "Lag",
            "From the committed offset to the end; new: what has come since the newest message that is finished.",
            "short",
            (total("agent_kafka_consumer_lag", "topic"), "{{topic}}"),
            (
                f"sum by (topic) (agent_kafka_consumer_lag{{{OURS}}} - agent_kafka_offset_map_span{{{OURS}}})",
                "{{topic}}, new",
            ),
        ),
        lines(
            "Consumed, per minute",
            "Records read, by topic.",
            "short",
            (per_minute("agent_kafka_messages_consumed_total", "topic"), "{{topic}}"),
        ),
        lines(
            "Not committed",
            "Records read and not committed, by topic.",
            "short",
            (total("agent_kafka_uncommitted_messages", "topic"), "{{topic}}"),
        ),
        lines(
            "Oldest not committed",
            "How old the lowest record is that is not committed.",
            "s",
            (total("agent_kafka_oldest_uncommitted_age_seconds", "topic", of="max"), "{{topic}}"),
        ),
        lines(
            "Span of the offset map",
            "From the lowest record that is not settled to the highest that is; at 10,000 a partition is paused.",
            "short",
            (total("agent_kafka_offset_map_span", "topic", of="max"), "{{topic}}, largest"),
            (total("agent_kafka_paused_partitions", "topic"), "{{topic}}, paused partitions"),
        ),
        lines(
            "Commits, per minute",
            "By result.",
            "short",
            (per_minute("agent_kafka_commits_total", "result"), "{{result}}"),
        ),
        lines(
            "Rebalances, per hour",
            "Changes of the share of the partitions.",
            "short",
            (f"sum by (event) (increase(agent_kafka_rebalances_total{{{OURS}}}[1h]))", "{{event}}"),
        ),
        lines(
            "Errors of the client, per minute",
            "By Kafka's name for them.",
            "short",
            (per_minute("agent_kafka_client_errors_total", "code"), "{{code}}"),
        ),
        lines(
            "Since the last poll",
            "By pod; liveness fails at AGENT_STALL_TIMEOUT_S.",
            "s",
            (f"time() - {total('agent_kafka_last_poll_timestamp_seconds', BY_POD, of='max')}", POD),
        ),
    ],
    "Port API": [
        lines(
            "Requests", "By answer.", "reqps", (rate("agent_api_requests_total", "code"), "{{code}}"), stacked=True
        ),
        lines(
            "Requests by route",
            "By the path's pattern.",
            "reqps",
            (rate("agent_api_requests_total", "route"), "{{route}}"),
            stacked=True,
        ),
        lines(
            "Duration",
            "How long requests took, 95 %.",
            "s",
            (quantile(0.95, "agent_api_request_duration_seconds", "route"), "{{route}}"),
        ),
        lines(
            "Repeated",
            "Requests sent once more, by reason.",
            "reqps",
            (
                or_none(rate("agent_api_retries_total", "reason"), "reason"),
                "{{reason}}",
            ),
        ),
        lines(
            "Budget",
            "Requests left in the organisation's window, as Port last said.",
            "short",
            (total("agent_api_rate_limit_remaining", of="min"), "left"),
        ),
        lines(
            "Unanswered for",
            "From the first to the latest of the requests that failed in a row, unanswered or with a 5xx.",
            "s",
            (total("agent_api_unanswered_seconds", BY_POD, of="max"), POD),
        ),
        lines(
            "Outcomes not told",
            "Kept until Port accepts them, by pod.",
            "short",
            (total("agent_journal_pending_reports", BY_POD), POD),
        ),
        lines(
            "Tokens, per hour",
            "Asked for, by what came of it.",
            "short",
            (f"sum by (result) (increase(agent_api_token_refreshes_total{{{OURS}}}[1h]))", "{{result}}"),
        ),
        lines(
            "Last success",
            "How long ago Port's API last answered 2xx.",
            "s",
            (f"time() - {total('agent_api_last_success_timestamp_seconds', BY_POD, of='max')}", POD),
        ),
    ],
    "Logs": [
        lines(
            "Lines, per minute",
            "Of runs' output that reached Port.",
            "short",
            (per_minute("agent_run_log_lines_total"), "lines"),
        ),
        lines("Bytes", "Of runs' output that reached Port.", "Bps", (rate("agent_run_log_bytes_total"), "bytes")),
        lines(
            "Dropped and cut, per minute",
            "Lines that did not reach Port, and logs that hit a bound.",
            "short",
            (per_minute("agent_run_log_lines_dropped_total", "reason"), "dropped: {{reason}}"),
            (per_minute("agent_run_log_truncations_total", "reason"), "cut: {{reason}}"),
        ),
        lines(
            "Spans of traces, per minute",
            "Sent to the collector, or given up. None where traces are off.",
            "short",
            (per_minute("agent_trace_spans_total", "result"), "{{result}}"),
        ),
    ],
    "Resources": [
        lines(
            "Processor",
            "Of the agent alone, without its commands.",
            "percentunit",
            (rate("process_cpu_seconds_total", BY_POD), POD),
        ),
        lines(
            "Memory",
            "Of the agent alone, without its commands.",
            "bytes",
            (total("process_resident_memory_bytes", BY_POD), POD),
        ),
        lines("Open files", "And connections.", "short", (total("process_open_fds", BY_POD), POD)),
        lines(
            "Event loop",
            "How late it came back to a timer, 99 %.",
            "s",
            (quantile(0.99, "agent_event_loop_lag_seconds", BY_POD), POD),
        ),
        lines(
            "Up for",
            "Since the process was started.",
            "s",
            (f"time() - {total('process_start_time_seconds', BY_POD, of='max')}", POD),
        ),
        lines(
            "Since progress",
            "With work at hand: since a run was last received, started, finished or reported.",
            "s",
            (total("agent_seconds_since_progress", BY_POD, of="max"), POD),
        ),
    ],
    "Scaling": [
        lines(
            "Replicas",
            "Agents that answer, those that are ready, and how many can have a partition of the topic of runs.",
            "short",
            (f"count (agent_ready{{{OURS}}})", "agents"),
            (total("agent_ready"), "ready"),
            (total("agent_kafka_assigned_partitions", where=RUNS_TOPIC), "partitions"),
        ),
        lines(
            "Partitions",
            "Of the topic of runs, by pod; a pod without any is a stand-by.",
            "short",
            (total("agent_kafka_assigned_partitions", BY_POD, RUNS_TOPIC), POD),
            stacked=True,
        ),
        lines(
            "Slots taken",
            "By pod.",
            "percentunit",
            (f"max by ({BY_POD}) ({TAKEN})", POD),
        ),
        lines(
            "Waiting",
            "For a slot, by pod: more replicas help these.",
            "short",
            (total("agent_runs_waiting_for_slot", BY_POD), POD),
            stacked=True,
        ),
        lines(
            "Lag by partition",
            "The ten furthest behind.",
            "short",
            (f"topk (10, {total('agent_kafka_consumer_lag', 'topic, partition')})", "{{topic}}[{{partition}}]"),
        ),
        lines(
            "Begun by pod, per minute",
            "Executions.",
            "short",
            (per_minute("agent_runs_started_total", BY_POD), POD),
            stacked=True,
        ),
    ],
}
