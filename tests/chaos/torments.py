"""Who does harm to whom: each torment has one subject, does one thing to it at a time, and puts it right again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tests.broker.agent_process import AgentProcess
from tests.broker.real_kafka import RealKafka
from tests.broker.stand_in import StandIn
from tests.chaos.clockwork import Clockwork
from tests.chaos.diary import Diary, Harm

KILLED = "kill -9"
STOPPED = "SIGTERM"
STOPPED_EARLY = "SIGTERM at start"
"""Before Python has read the first line of the agent it ends as the signal has it, and has begun nothing."""
NOT_OBEYED = f"{STOPPED}, not obeyed"
FROZEN_SHORT = "SIGSTOP, short"
FROZEN_LONG = "SIGSTOP, long"
ENDED = "ended by itself"

STOP_TAKES_AT_MOST_S = 60.0
"""Much more than the agent's own hard end by `SETTINGS`, whose exit code tells on it: a machine may stand still."""

SESSION_TIMEOUT_S = 6.0
DRAIN_S = 3.0
_SHORT_S = (0.3, 4.0)
_LONG_S = (SESSION_TIMEOUT_S + 2, SESSION_TIMEOUT_S + 5)
"""Less than what is left of a route's time when the longest work has ended: a frozen agent sees that no more."""
_PYTHON_STARTS_S = 3.0
_LAST_WORDS_S = 5.0
_LAST_WORDS_LINES = 150

SETTINGS: Mapping[str, str] = {
    "KAFKA_CONSUMER_SESSION_TIMEOUT_MS": f"{SESSION_TIMEOUT_S * 1000:.0f}",
    "AGENT_MAX_CONCURRENT_RUNS": "16",
    "AGENT_DRAIN_TIMEOUT_S": f"{DRAIN_S:.0f}",
    "AGENT_KILL_GRACE_S": "1",
    "AGENT_REPORT_TIMEOUT_S": "4",
    "AGENT_CLOSE_CHECK_S": "3",
    "PYTHONFAULTHANDLER": "1",
}
"""Of every agent: short times, so that things happen; and one that hangs can tell where."""


def stop_of(agent: AgentProcess, began_s: float, age_s: float) -> Harm:
    """How ``agent`` ended, which was asked to at ``began_s``, when it was ``age_s`` old; waits for its end.

    One that does not obey is made to write where each of its threads stands, and is killed.
    """
    if agent.has_ended_within(STOP_TAKES_AT_MOST_S):
        early = agent.exit_code == -signal.SIGTERM and age_s < _PYTHON_STARTS_S
        return Harm(agent.name, STOPPED_EARLY if early else STOPPED, began_s, time.time(), agent.exit_code)
    agent.send(signal.SIGABRT)
    agent.has_ended_within(_LAST_WORDS_S)
    agent.end()
    return Harm(agent.name, NOT_OBEYED, began_s, time.time(), last_words=agent.tail(_LAST_WORDS_LINES))


class Torment(Protocol):
    """Something that can be harmed. ``calm_s`` bounds the time between two blows."""

    calm_s: tuple[float, float]

    def strike(self, chance: random.Random, clockwork: Clockwork) -> None:
        """Does one thing to it, and puts it right before it returns, also where the time is over meanwhile."""


Part = Callable[[random.Random, Clockwork], None]
"""What somebody does until the time is over; then all is right again, as far as it was theirs."""


def tormented(one: Torment) -> Part:
    """Strikes again and again."""

    def part(chance: random.Random, clockwork: Clockwork) -> None:
        while clockwork.await_blow(chance, one.calm_s):
            one.strike(chance, clockwork)

    return part


def everything(agents: Sequence[AgentProcess], kafka: RealKafka, port: StandIn, diary: Diary) -> Mapping[str, Part]:
    """All harm to all of them."""
    torments: dict[str, Torment] = {agent.name: AgentTorment(agent, diary) for agent in agents}
    torments["broker"] = BrokerTorment(kafka, diary)
    torments["port"] = PortTorment(port, diary)
    return {whom: tormented(one) for whom, one in torments.items()}


class AgentTorment:
    """Kills, stops and freezes one agent, and has it back each time, with the same state directory."""

    calm_s = (3.0, 18.0)

    def __init__(self, agent: AgentProcess, diary: Diary) -> None:
        self._agent = agent
        self._diary = diary
        self._started_s = time.time()

    def strike(self, chance: random.Random, clockwork: Clockwork) -> None:
        """One of kill -9, SIGTERM, and SIGSTOP for less or more than the session timeout."""
        if not self._agent.running:
            now_s = time.time()
            self._diary.note(Harm(self._agent.name, ENDED, now_s, now_s, self._agent.exit_code))
            self._start()
            return
        what = chance.choices([KILLED, STOPPED, FROZEN_SHORT, FROZEN_LONG], [35, 25, 20, 20])[0]
        match what:
            case "kill -9":
                with self._diary.noted(self._agent.name, KILLED):
                    self._agent.end()
                    clockwork.pass_time(chance.uniform(0.2, 10))
                    self._start()
            case "SIGTERM":
                self._stop()
                clockwork.pass_time(chance.uniform(0, 3))
                self._start()
            case _:
                low, high = _SHORT_S if what == FROZEN_SHORT else _LONG_S
                with self._diary.noted(self._agent.name, what):
                    self._agent.send(signal.SIGSTOP)
                    clockwork.pass_time(chance.uniform(low, high))
                    self._agent.send(signal.SIGCONT)

    def _start(self) -> None:
        self._started_s = time.time()
        self._agent.start()

    def _stop(self) -> None:
        began_s = time.time()
        self._agent.send(signal.SIGTERM)
        self._diary.note(stop_of(self._agent, began_s, began_s - self._started_s))


class BrokerTorment:
    """Stops, kills and freezes the broker; its records outlive that."""

    calm_s = (25.0, 70.0)  # a client that lost it may wait ten seconds before it looks for it again

    def __init__(self, kafka: RealKafka, diary: Diary) -> None:
        self._kafka = kafka
        self._diary = diary

    def strike(self, chance: random.Random, clockwork: Clockwork) -> None:
        """One of the three."""
        what = chance.choice(["stop", KILLED, "SIGSTOP"])
        with self._diary.noted("broker", what):
            if what == "SIGSTOP":
                self._kafka.freeze()
                clockwork.pass_time(chance.uniform(1, 10))
                self._kafka.thaw()
                return
            if what == KILLED:
                self._kafka.kill()
            else:
                self._kafka.stop()
            clockwork.pass_time(chance.uniform(0, 8))
            self._kafka.start(timeout_s=120)


class PortTorment:
    """Has Port's stand-in misbehave towards everybody."""

    calm_s = (4.0, 20.0)

    _WAYS: Mapping[str, Mapping[str, object]] = {
        "503": {"status": 503},
        "429": {"status": 429, "headers": {"retry-after": "1"}},
        "hangs": {"effect": "hang"},
        "resets": {"effect": "reset"},
        "drops replies": {"effect": "drop_reply"},
        "slow": {"effect": "delay", "delay_s": 1.5},
    }

    def __init__(self, port: StandIn, diary: Diary) -> None:
        self._port = port
        self._diary = diary

    def strike(self, chance: random.Random, clockwork: Clockwork) -> None:
        """One way for a while, or all tokens expire at once."""
        what = chance.choice([*self._WAYS, "tokens expire"])
        with self._diary.noted("port", what):
            if what == "tokens expire":
                self._port.expire_tokens()
                return
            self._port.misbehave({"path": "*", "times": None, **self._WAYS[what]})
            clockwork.pass_time(chance.uniform(1, 12))
            self._port.misbehave()
