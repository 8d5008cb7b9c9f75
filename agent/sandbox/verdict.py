"""Whether the examples ended as they should, and the table that says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.sandbox.actions import SandboxAction
from agent.sandbox.ledger import Ledger
from agent.sandbox.records import RunRecord

_COLUMNS = ("", "run", "action", "executor", "status", "seconds", "log lines", "API requests", "summary")
_NUMBERS = frozenset({5, 6, 7})
_SUMMARY_WIDTH = 48


@dataclass(frozen=True, slots=True)
class Verdict:
    """One example's run, and everything about it that is not as expected."""

    action: SandboxAction
    run: RunRecord
    requests: int
    complaints: tuple[str, ...]


def verdict(action: SandboxAction, run_id: str, ledger: Ledger) -> Verdict:
    """Compares what Port was told of the run with what the example says."""
    run = ledger.runs[run_id]
    questions = ledger.requests_to(f"*/runs/{run_id}", "GET")
    return Verdict(action, run, ledger.requests_of(run_id), tuple(_complaints(action, run, len(questions))))


def _complaints(action: SandboxAction, run: RunRecord, questions: int) -> Iterator[str]:
    expected = action.expected
    if run.terminal_statuses != [expected.status]:
        yield f"terminal statuses are {run.terminal_statuses}, expected {[expected.status]}"
    if run.refused_statuses:
        yield f"further statuses came after the end: {run.refused_statuses}"
    if expected.summary not in (run.summary or ""):
        yield f"the summary is {run.summary!r}, expected to find {expected.summary!r} in it"
    if len(run.links) != expected.links:
        yield f"links are {run.links}, expected {expected.links}"
    written = {write.identifier for write in run.entities}
    if written != set(expected.entities):
        yield f"entities are {sorted(written)}, expected {sorted(expected.entities)}"
    if run.log_line_count < expected.log_lines:
        yield f"the log has {run.log_line_count} lines, expected at least {expected.log_lines}"
    told = run.log_text + (run.summary or "")
    secrets = [str(one.default) for one in action.inputs if one.kind == "secret"]
    if any(secret in told for secret in secrets):
        yield "a secret input stands in the log or the summary"
    if questions:
        yield "Port was asked about it, as if the agent might have begun it before"


def table(verdicts: Sequence[Verdict]) -> str:
    """All runs, one a line, and under those that failed what was wrong."""
    rows = [_COLUMNS, *map(_row, verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [_line(rows[0], widths), "  ".join("─" * width for width in widths)]
    for row, judged in zip(rows[1:], verdicts, strict=True):
        lines.append(_line(row, widths))
        lines.extend(f"     {complaint}" for complaint in judged.complaints)
    return "\n".join(lines)


def _row(judged: Verdict) -> tuple[str, ...]:
    run = judged.run
    summary = " ".join((run.summary or "").split())
    return (
        "✗" if judged.complaints else "✓",
        run.id,
        judged.action.identifier,
        judged.action.executor,
        run.terminal_statuses[-1] if run.terminal_statuses else run.status,
        "" if run.duration_s is None else f"{run.duration_s:.1f}",
        str(run.log_line_count),
        str(judged.requests),
        summary if len(summary) <= _SUMMARY_WIDTH else summary[: _SUMMARY_WIDTH - 1] + "…",
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
