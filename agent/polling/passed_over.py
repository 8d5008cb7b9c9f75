"""Runs that were claimed and are not for us: they are left out of claims, and left to others. Pure.

All times are monotonic.
"""

from __future__ import annotations

from collections import OrderedDict

from agent.domain.invocation import InvocationKind, RunId

_MOST = 1_000
"""So many are remembered, and left out of claims: each claim would hide them again."""
_REMEMBERED_S = 300.0
"""For so long: routes may change."""


class PassedOver:
    """The last of them. Of workflows' nodes, which no claim can leave out, also until when our claims hide them."""

    def __init__(self) -> None:
        self._until_s: OrderedDict[RunId, float] = OrderedDict()
        self._hidden: dict[RunId, float] = {}

    def add(self, kind: InvocationKind, run_id: RunId, hidden_until_s: float, now_s: float) -> None:
        """That run is not for us; our claim hides it from others until then."""
        self._hide(kind, run_id, hidden_until_s)
        self._until_s[run_id] = now_s + _REMEMBERED_S
        self._until_s.move_to_end(run_id)
        if len(self._until_s) > _MOST:
            self._until_s.popitem(last=False)

    def has(self, kind: InvocationKind, run_id: RunId, hidden_until_s: float) -> bool:
        """Whether a run that was claimed is one of them; then its claim hides it until then."""
        is_known = run_id in self._until_s
        if is_known:
            self._hide(kind, run_id, hidden_until_s)
        return is_known

    def left_out(self, now_s: float) -> list[RunId]:
        """Those that a claim should leave out, the oldest first."""
        while self._until_s and next(iter(self._until_s.values())) <= now_s:
            self._until_s.popitem(last=False)
        return [*self._until_s]

    def others_first_until_s(self, now_s: float, for_s: float) -> float | None:
        """Until when others should ask first for nodes, so that they get those which are pending for all again.

        That is ``for_s`` from when our claim on them ended; ``None`` where there are none.
        """
        self._hidden = {run_id: until_s for run_id, until_s in self._hidden.items() if now_s < until_s + for_s}
        return max((until_s + for_s for until_s in self._hidden.values() if until_s <= now_s), default=None)

    def _hide(self, kind: InvocationKind, run_id: RunId, until_s: float) -> None:
        if kind is InvocationKind.NODE_RUN:
            self._hidden[run_id] = until_s
