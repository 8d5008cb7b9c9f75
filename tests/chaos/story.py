"""One run's story: its order, executions and requests, what agents logged, what its partition remembers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.chaos.evidence import Evidence, is_about
from tests.chaos.order import Order

_MAX_LINES = 60


def story(evidence: Evidence, run_id: str) -> str:
    """Everything that is known of one run, in the order of time where it has one; seconds since the begin."""
    events = sorted([*_executions(evidence, run_id), *_requests(evidence, run_id), *_said(evidence, run_id)])
    shown = [f"    {at_s - evidence.began_s:8.3f} s  {what}" for at_s, what in events[:_MAX_LINES]]
    left = len(events) - len(shown)
    return "\n".join(
        [f"  {run_id}", *_order(evidence, run_id), *shown, *([f"    and {left} more"] if left else [])]
    )


def _order(evidence: Evidence, run_id: str) -> list[str]:
    order = evidence.orders.get(run_id)
    if order is None:
        return ["    nobody asked for it"]
    wanted = f"{order.shape} for {order.executor}, on_interrupted {order.policy}, key {order.key}"
    return [
        f"    {wanted}, {order.seconds:.2f} s of work",
        f"    {_place(evidence, order)}",
    ]


def _place(evidence: Evidence, order: Order) -> str:
    offset = order.offset
    place = f"{order.place} offset {offset}"
    offsets = evidence.offsets.get(order.place)
    if offsets is None:
        return f"{place}; Kafka does not tell what is committed"
    known = offsets.map
    if known is None:
        return f"{place}; committed {offsets.committed} with {offsets.metadata!r}, which is no offset map"
    mark = "" if offset is None else f", which says {known.mark(offset).name} {known.note(offset)}"
    return f"{place}; committed {offsets.committed} with a map of {len(known.marks)} marks{mark}"


def _executions(evidence: Evidence, run_id: str) -> list[tuple[float, str]]:
    found = []
    for one in evidence.executions_of(run_id):
        found.append((one.began_s, f"{one.agent} began attempt {one.attempt}"))
        if one.ended_s is not None:
            found.append((one.ended_s, f"attempt {one.attempt} by {one.agent} came to its end"))
        found += [
            (harm.began_s, f"{harm.whom}: {harm.what}, for {harm.ended_s - harm.began_s:.1f} s")
            for harm in evidence.harm_to(one.agent, one.began_s - 1, (one.ended_s or one.began_s + 60) + 5)
        ]
    return found


def _requests(evidence: Evidence, run_id: str) -> list[tuple[float, str]]:
    return [
        (request["at_s"], f"{request['method']} {request['path']} {_status(request)} → {_answer(request)}")
        for request in evidence.requests
        if is_about(request, run_id)
    ]


def _status(request: Mapping[str, Any]) -> str:
    body = request["body"]
    told = {k: body[k] for k in ("status", "result", "summary") if k in body} if isinstance(body, dict) else {}
    return json.dumps(told)


def _answer(request: Mapping[str, Any]) -> str:
    applied = "" if request["applied"] else ", not applied"
    return f"{request['status'] or 'no answer'}{applied}"


def _said(evidence: Evidence, run_id: str) -> list[tuple[float, str]]:
    """The agents' log lines that name it."""
    return [
        _line(name, line)
        for name, text in evidence.logs.items()
        for line in text.splitlines()
        if f'"{run_id}"' in line
    ]


def _line(name: str, line: str) -> tuple[float, str]:
    said = json.loads(line)
    at_s = datetime.fromisoformat(said.pop("timestamp")).timestamp()
    told = {k: v for k, v in said.items() if k not in ("run_id", "level", "logger") and v not in ("", None)}
    return at_s, f"{name} logged {json.dumps(told)}"
