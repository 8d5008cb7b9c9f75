"""All that is known in the end: what was asked for, what was done, what Port was told, what the agents said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from agent.delivery.offset_map import OffsetMap
from tests.broker.worklog import Execution
from tests.chaos.diary import Harm
from tests.chaos.order import Order

INTERRUPTED = "interrupted while running on"
STOPPED = "the agent was stopped while the run was in progress"
TOLD_BY_ANOTHER = "which could not tell Port"


def is_about(request: Mapping[str, Any], run_id: str) -> bool:
    """Whether a request names the run, or asks for a workflow's node by its external id."""
    return run_id in (request["run_id"], request["query"].get("external_run_id"))


@dataclass(frozen=True, slots=True)
class PortRun:
    """A run as Port knows it in the end. Times are epoch seconds; ``said`` is its summary and its log."""

    run_id: str
    created_s: float
    ended_s: float | None
    statuses: tuple[str, ...]
    refused: tuple[str, ...]
    said: str

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Self:
        """From the stand-in's ledger."""
        ended = told["ended_at"]
        return cls(
            run_id=told["id"],
            created_s=datetime.fromisoformat(told["created_at"]).timestamp(),
            ended_s=None if ended is None else datetime.fromisoformat(ended).timestamp(),
            statuses=tuple(told["terminal_statuses"]),
            refused=tuple(told["refused_statuses"]),
            said="\n".join([told["summary"] or "", *(line["message"] for line in told["logs"])]),
        )

    @property
    def succeeded(self) -> bool:
        """Whether Port shows it as a success."""
        return self.statuses[:1] == ("SUCCESS",)

    @property
    def was_interrupted(self) -> bool:
        """Whether Port shows it as failed because its agent was gone."""
        # A run that was repeated says in its log why, however it ended.
        return self._failed_with(INTERRUPTED) and not self.was_stopped

    @property
    def was_stopped(self) -> bool:
        """Whether Port shows it as failed because its agent was stopped in order: nothing else in it fails."""
        return self._failed_with(STOPPED) or self._failed_with(TOLD_BY_ANOTHER)

    @property
    def was_told_by_another(self) -> bool:
        """Whether another agent than the one that had executed it told Port how it ended."""
        return TOLD_BY_ANOTHER in self.said

    def _failed_with(self, words: str) -> bool:
        return self.statuses[:1] in (("FAILURE",), ("FAILED",), ("CANCELLED",)) and words in self.said


@dataclass(frozen=True, slots=True)
class Offsets:
    """One partition in the end: what the group has committed, and where the records end."""

    committed: int | None
    metadata: str
    end: int

    @property
    def map(self) -> OffsetMap | None:
        """What travels with the commit; ``None`` where that is no offset map."""
        return OffsetMap.decode(self.metadata, self.committed or 0)

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was ever produced there, so that there is nothing to commit."""
        return self.end == 0 and self.committed is None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything by which the agents are judged. ``began_s`` is epoch seconds, ``exits`` the last exit codes.

    ``offsets`` go by `tests.chaos.order.place`, ``requests`` are the stand-in's records of all requests, ``logs``
    the agents' own logs, ``settled_after_s`` is ``None`` if not everything was settled in time.
    """

    began_s: float
    settled_after_s: float | None
    orders: Mapping[str, Order]
    executions: Mapping[str, Sequence[Execution]]
    runs: Mapping[str, PortRun]
    requests: Sequence[Mapping[str, Any]]
    harms: Sequence[Harm]
    offsets: Mapping[str, Offsets]
    logs: Mapping[str, str]
    exits: Mapping[str, int | None]

    def executions_of(self, run_id: str) -> Sequence[Execution]:
        """How often, when and by whom it was executed; empty if it was not."""
        return self.executions.get(run_id, ())

    def harm_to(self, whom: str, from_s: float, until_s: float) -> list[Harm]:
        """What was done to an agent within that time."""
        return [harm for harm in self.harms if harm.whom == whom and harm.hits(from_s, until_s)]
