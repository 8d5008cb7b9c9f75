"""What happened, on one screen: what was done to whom, how the runs ended, what is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.evidence import Evidence, PortRun
from tests.chaos.story import story
from tests.chaos.verdict import Trouble, known_limits, troubles

_SHOWN_TIMES = 12
_SHOWN_LIMITS = 5
_SHOWN_TROUBLES = 30
_STORIES = 10


def table(evidence: Evidence) -> str:
    """The whole of it; ends with the stories of the runs in trouble."""
    found = troubles(evidence)
    return "\n".join(
        [
            "harm done",
            *_harms(evidence),
            "runs",
            *_runs(evidence),
            "known limits that showed",
            *_limits(known_limits(evidence)),
            f"troubles: {len(found) or 'none'}",
            *_troubles(evidence, found),
        ]
    )


def _harms(evidence: Evidence) -> Iterator[str]:
    by_kind: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for harm in evidence.harms:
        by_kind[harm.whom, harm.what].append(harm.began_s - evidence.began_s)
    for (whom, what), at_s in sorted(by_kind.items()):
        times = " ".join(f"{at:.0f}" for at in sorted(at_s)[:_SHOWN_TIMES])
        more = " …" if len(at_s) > _SHOWN_TIMES else ""
        yield f"  {whom:<10} {what:<16} {len(at_s):>4}   at {times}{more} s"


def _runs(evidence: Evidence) -> Iterator[str]:
    runs = evidence.runs.values()
    outcomes = Counter(_outcome(evidence, run) for run in runs)
    for outcome, count in sorted(outcomes.items(), key=lambda one: -one[1]):
        yield f"  {count:>6} {outcome}"
    times = Counter(len(evidence.executions_of(run.run_id)) for run in runs)
    told = ", ".join(f"{number} for {count} runs" for number, count in sorted(times.items()))
    yield f"  executions per run: {told}"
    echoes = sum(run.refused.count(run.statuses[0]) for run in runs if run.statuses)
    yield f"  {echoes} statuses were said again after a lost reply, and refused"
    ended = [(run.ended_s - run.created_s, run.run_id) for run in runs if run.ended_s is not None]
    if ended:
        waited_s = sorted(seconds for seconds, _ in ended)
        longest_s, run_id = max(ended)
        median_s = waited_s[len(waited_s) // 2]
        yield f"  to their end: median {median_s:.1f} s, longest {longest_s:.1f} s ({run_id})"


def _outcome(evidence: Evidence, run: PortRun) -> str:
    if not run.statuses:
        return "without an end"
    if run.was_interrupted:
        return "failure, interrupted"
    if run.was_stopped:
        return "failure, stopped with its agent"
    if not run.succeeded:
        return "failure of another kind"
    attempts = [one.attempt for one in evidence.executions_of(run.run_id)]
    return f"success, attempt {max(attempts)}" if attempts and max(attempts) > 1 else "success"


def _limits(found: Sequence[Trouble]) -> Iterator[str]:
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for limit in found:
        by_kind[limit.what.partition(":")[0]].append(f"{limit.run_id} {limit.what.partition(':')[2]}".strip())
    for what, about in by_kind.items():
        more = " …" if len(about) > _SHOWN_LIMITS else ""
        yield f"  {len(about):>6} {what}: {'; '.join(about[:_SHOWN_LIMITS])}{more}"
    if not found:
        yield "  none"


def _troubles(evidence: Evidence, found: Sequence[Trouble]) -> Iterator[str]:
    for trouble in found[:_SHOWN_TROUBLES]:
        yield f"  {trouble.run_id or '-'}: {trouble.what}"
    if len(found) > _SHOWN_TROUBLES:
        yield f"  and {len(found) - _SHOWN_TROUBLES} more"
    run_ids = list(dict.fromkeys(trouble.run_id for trouble in found if trouble.run_id is not None))
    if found:
        yield "committed"
        for place, offsets in evidence.offsets.items():
            remembered = offsets.map or repr(offsets.metadata)
            yield f"  {place}: {offsets.committed} of {offsets.end}, {remembered}"
    if run_ids:
        yield "stories"
        yield from (story(evidence, run_id) for run_id in run_ids[:_STORIES])
