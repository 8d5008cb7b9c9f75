"""A fleet that is never the same for long: agents join, leave in order and are killed, one every moment."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Mapping, Sequence

from tests.broker.agent_process import AgentProcess
from tests.broker.real_kafka import RealKafka
from tests.broker.stand_in import StandIn
from tests.chaos.clockwork import Clockwork
from tests.chaos.diary import Diary, Harm
from tests.chaos.torments import ENDED, KILLED, Part, stop_of

JOINED = "joins"

_CALM_S = (0.5, 3.0)
_AT_LEAST = 2
_JOINS = 0.5
_KILLS = 0.5


class Fleet:
    """Agents of which two or more are there at any time. Belongs to the thread that calls `come_and_go`."""

    def __init__(self, agents: Sequence[AgentProcess], diary: Diary) -> None:
        self._agents = {agent.name: agent for agent in agents}
        self._diary = diary
        self._there = dict.fromkeys(self._agents, time.time())
        """Since when; by name."""
        self._leaving: dict[str, float] = {}
        """Since when they were asked to; by name."""
        self._ages_s: dict[str, float] = {}
        """How old they were then; by name."""

    def come_and_go(self, chance: random.Random, clockwork: Clockwork) -> None:
        """Every half second to three seconds something, until the time is over; then all are there again."""
        while clockwork.await_blow(chance, _CALM_S):
            self._look()
            self._change(chance)
        for name in [*self._leaving]:
            self._note_stop(name)
        self._look()
        for name in self._agents:
            if name not in self._there:
                self._join(name)

    def _change(self, chance: random.Random) -> None:
        gone = sorted(self._agents.keys() - self._there.keys() - self._leaving.keys())
        if gone and (len(self._there) <= _AT_LEAST or chance.random() < _JOINS):
            self._join(chance.choice(gone))
        elif len(self._there) > _AT_LEAST:
            name = chance.choice(sorted(self._there))
            if chance.random() < _KILLS:
                del self._there[name]
                self._agents[name].end()
                self._note(name, KILLED, time.time())
            else:
                self._leaving[name] = time.time()
                self._agents[name].send(signal.SIGTERM)
                self._ages_s[name] = time.time() - self._there.pop(name)

    def _join(self, name: str) -> None:
        self._agents[name].start()
        self._there[name] = time.time()
        self._note(name, JOINED, time.time())

    def _look(self) -> None:
        """Takes note of those that have ended since, whether they were asked to or not."""
        for name in [*self._leaving]:
            if not self._agents[name].running:
                self._note_stop(name)
        for name in [*self._there]:
            code = self._agents[name].exit_code
            if code is not None:
                del self._there[name]
                self._note(name, ENDED, time.time(), code)

    def _note_stop(self, name: str) -> None:
        self._diary.note(stop_of(self._agents[name], self._leaving.pop(name), self._ages_s[name]))

    def _note(self, name: str, what: str, began_s: float, exit_code: int | None = None) -> None:
        self._diary.note(Harm(name, what, began_s, time.time(), exit_code))


def coming_and_going(
    agents: Sequence[AgentProcess], _kafka: RealKafka, _port: StandIn, diary: Diary
) -> Mapping[str, Part]:
    """No harm but that of a fleet that changes; see `tests.chaos.play.Plan`."""
    return {"fleet": Fleet(agents, diary).come_and_go}
