"""Which harm explains what became of a run: done to the agent that had begun it, or to the broker, and in time.

Port's outages explain nothing here: whoever had the work knows how it ended, and waits until Port is back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from tests.broker.worklog import Execution
from tests.chaos.diary import Harm
from tests.chaos.evidence import Evidence
from tests.chaos.torments import (
    DRAIN_S,
    ENDED,
    FROZEN_LONG,
    KILLED,
    SESSION_TIMEOUT_S,
    STOPPED,
    STOPPED_EARLY,
)

_GONE = frozenset({KILLED, FROZEN_LONG, ENDED})
_FOUND_OUT_S = 1.0
"""What is begun just before a blow shows this much later; one that thaws finds out as late that it lost all."""
_BROKER_IS_FOUND_S = 10.0
"""So long after a broker's return its clients may look for it."""
_COMMIT_S = 1.5
"""An agent commits every second what has ended; harm that begins later comes too late to have it forgotten."""


def was_lost(evidence: Evidence, begun: Execution, until_s: float) -> bool:
    """Whether harm explains that, by then, others could not know of the work that was begun, or of its end."""
    known_s = None if begun.ended_s is None else begun.ended_s + _COMMIT_S
    return any(_lost_by(harm, begun, until_s, known_s) for harm in evidence.harms)


def event_was_lost(evidence: Evidence, begun: Execution, until_s: float) -> bool:
    """The same for a change event, of which Port cannot tell: only a commit can.

    A member of the group that died or froze holds up a rebalance until its session is over. The others have asked
    to join by then, and their commits stand behind that request, for a broker answers a connection in its order.
    """
    if begun.ended_s is None:
        return was_lost(evidence, begun, until_s)
    until_then = (
        harm.began_s + SESSION_TIMEOUT_S
        for harm in evidence.harms
        if harm.what in _GONE and harm.hits(begun.ended_s - SESSION_TIMEOUT_S, begun.ended_s + _COMMIT_S)
    )
    known_s = max((begun.ended_s, *until_then)) + _COMMIT_S
    return any(_lost_by(harm, begun, until_s, known_s) for harm in evidence.harms)


def was_stopped(evidence: Evidence, begun: Execution, until_s: float) -> bool:
    """Whether its agent was told to stop, and the work took longer than its runs then may."""
    return any(
        harm.whom == begun.agent and _cut_short_by(harm, begun) and _overlaps(harm, begun, until_s, _FOUND_OUT_S)
        for harm in evidence.harms
    )


def was_harmed(evidence: Evidence, begun: Execution, until_s: float) -> bool:
    """Whether its agent, or the broker, was harmed in any way that keeps it from telling Port by then."""
    return was_lost(evidence, begun, until_s) or any(
        harm.what.startswith(STOPPED) or harm.what in _GONE
        for harm in evidence.harm_to(begun.agent, begun.began_s, until_s)
    )


def somebody_was_gone(evidence: Evidence, from_s: float, until_s: float) -> bool:
    """Whether any agent went at once, or froze: for work of which nothing tells who had just begun it.

    It may have been about to: the commit comes before the beginning, and whoever thaws too late begins nothing.
    """
    return any(harm.what in _GONE and harm.hits(from_s, until_s) for harm in evidence.harms)


def beginnings(evidence: Evidence, run_id: str, until_s: float) -> list[Execution]:
    """Who had begun it by then, in the order of time: by the worklog, and else by the agents' own logs.

    Work that its agent had only just begun when it was killed has noted nothing.
    """
    noted = [one for one in evidence.executions_of(run_id) if one.began_s < until_s]
    return noted or [one for one in sorted(_logged(evidence, run_id), key=_began) if one.began_s < until_s]


def begun_before(evidence: Evidence, run_id: str, first: Execution) -> Execution | None:
    """Who had begun it before the first execution that was noted, by the agents' logs; ``None``: nobody tells."""
    logged = sorted((one for one in _logged(evidence, run_id) if one.began_s < first.began_s), key=_began)
    own = next((one for one in reversed(logged) if one.agent == first.agent), None)
    return next((one for one in reversed(logged) if one is not own), None)


def _began(execution: Execution) -> float:
    return execution.began_s


def _logged(evidence: Evidence, run_id: str) -> Iterator[Execution]:
    for name, text in evidence.logs.items():
        for line in text.splitlines():
            if f'"{run_id}"' in line and '"run started"' in line:
                began_s = datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
                yield Execution(run_id, 1, name, began_s)


def _lost_by(harm: Harm, begun: Execution, until_s: float, known_s: float | None) -> bool:
    """``known_s``: when the end of the work was committed at the latest."""
    if known_s is not None and harm.began_s > known_s:
        return False
    if harm.whom == "broker":
        return _overlaps(harm, begun, until_s, _BROKER_IS_FOUND_S)
    if harm.whom != begun.agent or not (harm.what in _GONE or _cut_short_by(harm, begun)):
        return False
    return _overlaps(harm, begun, until_s, _FOUND_OUT_S)


def _cut_short_by(harm: Harm, begun: Execution) -> bool:
    """Whether that is an order to stop which the work outlasted."""
    if not harm.what.startswith(STOPPED) or harm.what == STOPPED_EARLY:
        return False
    return begun.ended_s is None or begun.ended_s > harm.began_s + DRAIN_S


def _overlaps(harm: Harm, begun: Execution, until_s: float, after_s: float) -> bool:
    """``after_s``: how long it is felt."""
    return harm.began_s <= until_s and harm.ended_s + after_s >= begun.began_s
