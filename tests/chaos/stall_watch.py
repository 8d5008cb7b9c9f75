"""Looks whether anybody stands still: each agent by its own counters, and the group by what it has committed.

Sums over the fleet would hide one member that is stuck.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from tests.broker.agent_process import AgentProcess
from tests.chaos.clockwork import Clockwork
from tests.chaos.diary import Diary, Harm

STALLED = "stands still"

_LOOK_EVERY_S = 2.0
_DONE = (
    "agent_kafka_messages_consumed_total",
    "agent_messages_ignored_total",
    "agent_runs_started_total",
    "agent_runs_finished_total",
    "agent_run_reports_total",
)
_TO_DO = (
    "agent_kafka_consumer_lag",
    "agent_kafka_uncommitted_messages",
    "agent_runs_waiting",
    "agent_runs_in_flight",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` is whatever changes as work gets done; ``has_work``: whether there is any left."""

    done: Hashable
    has_work: bool


class StallWatch:
    """Notes in ``diary`` whoever has work and gets nothing done for ``stall_s``. ``look_at_group`` may fail."""

    def __init__(
        self,
        agents: Sequence[AgentProcess],
        look_at_group: Callable[[], Progress],
        diary: Diary,
        stall_s: float,
    ) -> None:
        self._agents = agents
        self._look_at_group = look_at_group
        self._diary = diary
        self._stall_s = stall_s
        self._still: dict[str, tuple[Hashable, float]] = {}

    def watch(self, _chance: random.Random, clockwork: Clockwork) -> None:
        """Looks until the time is over."""
        while not clockwork.is_over:
            for agent in self._agents:
                self.look(agent.name, _progress(agent))
            self.look("group", self._look_at_group())
            clockwork.pass_time(_LOOK_EVERY_S)

    def look(self, whom: str, progress: Progress | None) -> None:
        """Takes note of how far it is now; ``None``: it does not tell, or is not there."""
        now_s = time.time()
        if progress is None or not progress.has_work:
            self._still.pop(whom, None)
            return
        done, since_s = self._still.get(whom, (None, now_s))
        if done != progress.done:
            self._still[whom] = (progress.done, now_s)
        elif now_s - since_s >= self._stall_s:
            self._diary.note(Harm(whom, STALLED, since_s, now_s))
            self._still[whom] = (progress.done, now_s)


def _progress(agent: AgentProcess) -> Progress | None:
    told = agent.metrics()
    if told is None:
        return None
    # An agent that is started anew begins to count anew: that is progress, too.
    done = tuple(told.get(name, 0.0) for name in _DONE)
    return Progress(done, any(told.get(name, 0.0) > 0 for name in _TO_DO))
