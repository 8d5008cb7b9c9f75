"""The whole play: a broker, a stand-in for Port, agents, users, and all the harm; then peace, and the evidence."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException

from tests.broker.agent_process import AgentProcess
from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.broker.stand_in import StandIn
from tests.broker.worklog import Worklog
from tests.chaos.clockwork import Clockwork
from tests.chaos.customer import Customer, Demand
from tests.chaos.diary import Diary, Harm
from tests.chaos.evidence import Evidence, Offsets, PortRun
from tests.chaos.order import PARTITIONS, place
from tests.chaos.routes import AGENT_VARIABLE, write_routes
from tests.chaos.stall_watch import Progress, StallWatch
from tests.chaos.target import Target
from tests.chaos.torments import (
    ENDED,
    SETTINGS,
    STOP_TAKES_AT_MOST_S,
    Part,
    everything,
)

Harming = Callable[[Sequence[AgentProcess], RealKafka, StandIn, Diary], Mapping[str, Part]]
"""Who does what to whom, by name; each has a thread and a chance of its own."""

_REPOSITORY = Path(__file__).parents[2]
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played. ``seconds`` is for the harm alone; then all has ``settle_s`` to come to rest.

    ``harm`` says who does what, each in a thread of its own. ``stall_s``: an agent that has work and gets nothing
    done for so long stands still; ``None`` where others' harm may keep it from that.
    """

    seconds: float
    seed: int
    agents: int = 3
    settle_s: float = 420.0
    demand: Demand = field(default_factory=Demand)
    harm: Harming = everything
    stall_s: float | None = None


def play(plan: Plan, libs: Path, home: Path, say: Callable[[str], None]) -> Evidence:
    """Plays it, with everything that it writes under ``home``, which is emptied first.

    Raises what went wrong with the stage itself, where no agent can be blamed.
    """
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    worklog = Worklog(home / "worklog")
    target = Target(worklog)
    kafka = RealKafka(libs, home / "kafka")
    try:
        kafka.start()
        with Stage(kafka, home, f"org_Chaos{plan.seed}") as stage:
            stage.make_topics(PARTITIONS)
            stage.routes.write_text(write_routes(home, worklog.file, target.url))
            return _Play(plan, stage, worklog, say).run()
    finally:
        kafka.close()
        target.close()


class _Play:
    def __init__(self, plan: Plan, stage: Stage, worklog: Worklog, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._stage = stage
        self._worklog = worklog
        self._say = say
        self._diary = Diary()
        self._customer = Customer(stage, plan.demand)

    def run(self) -> Evidence:
        """From the first agent's start to the last one's end."""
        agents = [self._start_agent(f"agent-{number + 1}") for number in range(self._plan.agents)]
        for agent in agents:
            agent.wait_ready()
        began_s = time.time()
        self._make_chaos(agents)
        self._say(f"chaos is over after {time.time() - began_s:.0f} s: all that is left has time to settle")
        settled_after_s = self._settle(agents)
        exits = {agent.name: self._stop(agent) for agent in agents}
        return self._evidence(began_s, settled_after_s, agents, exits)

    def _chance(self, whose: str) -> random.Random:
        return random.Random(f"{self._plan.seed}-{whose}")  # noqa: S311 - no secrets are made of it

    def _start_agent(self, name: str) -> AgentProcess:
        return self._stage.start_agent(
            name,
            {**SETTINGS, AGENT_VARIABLE: name, "AGENT_PYTHONPATH": f"{self._stage.home}:{_REPOSITORY}"},
        )

    def _make_chaos(self, agents: Sequence[AgentProcess]) -> None:
        """Everybody at once, until the time is over. Raises the first failure of the stage itself."""
        clockwork = Clockwork(self._plan.seconds, self._plan.seed)
        roles = dict(self._plan.harm(agents, self._stage.kafka, self._stage.port, self._diary))
        roles["customer"] = self._customer.ask
        if self._plan.stall_s is not None:
            watch = StallWatch(agents, self._group_progress, self._diary, self._plan.stall_s)
            roles["watch"] = watch.watch
        with ThreadPoolExecutor(len(roles)) as threads:
            parts = [threads.submit(role, self._chance(name), clockwork) for name, role in roles.items()]
            for part in as_completed(parts):
                if part.exception() is not None:
                    clockwork.break_off()
        for part in parts:
            part.result()

    def _settle(self, agents: Sequence[AgentProcess]) -> float | None:
        """How long it took until all runs had their end and all was committed; ``None``: longer than it may."""
        began_s = time.monotonic()
        while (left := self._unsettled()) and time.monotonic() - began_s < self._plan.settle_s:
            for agent in agents:
                if not agent.running:
                    self._diary.note(Harm(agent.name, ENDED, time.time(), time.time(), agent.exit_code))
                    agent.start()
            time.sleep(_LOOK_EVERY_S)
        took_s = time.monotonic() - began_s
        self._say(f"not settled after {took_s:.0f} s: {left}" if left else f"settled after {took_s:.0f} s")
        return None if left else took_s

    def _unsettled(self) -> str:
        """What is not settled yet; empty if all is."""
        if count := self._stage.port.unfinished():
            return f"{count} runs have no terminal status"
        try:
            offsets = self._offsets()
        except KafkaException as error:
            return f"Kafka does not tell what is committed: {error}"
        touched = [(p, one) for p, one in offsets.items() if not one.is_untouched]
        behind = [p for p, one in touched if one.committed != one.end or one.map is None or one.map.marks]
        return f"partitions {behind} are not committed to their end" if behind else ""

    def _group_progress(self) -> Progress:
        offsets = self._offsets()
        done = sum(one.committed or 0 for one in offsets.values())
        return Progress(done, has_work=done < sum(one.end for one in offsets.values()))

    def _stop(self, agent: AgentProcess) -> int | None:
        agent.stop(STOP_TAKES_AT_MOST_S)
        return agent.exit_code

    def _offsets(self) -> dict[str, Offsets]:
        stage, told = self._stage, {}
        for topic in (stage.topic, change_log := f"{stage.org}.change.log"):
            ends = stage.client.end_offsets(topic)
            for p, found in stage.client.committed(stage.group, topic).items():
                name = place(p, change_log=topic == change_log)
                told[name] = Offsets(found.offset, found.metadata, ends[p])
        return told

    def _evidence(
        self,
        began_s: float,
        settled_after_s: float | None,
        agents: Sequence[AgentProcess],
        exits: dict[str, int | None],
    ) -> Evidence:
        ledger = self._stage.port.ledger()
        (self._stage.home / "ledger.json").write_text(json.dumps(ledger, indent=1))
        return Evidence(
            began_s=began_s,
            settled_after_s=settled_after_s,
            orders=self._customer.orders,
            executions=self._worklog.by_run(),
            runs={run_id: PortRun.read(told) for run_id, told in ledger["runs"].items()},
            requests=ledger["requests"],
            harms=self._diary.harms,
            offsets=self._offsets(),
            logs={agent.name: agent.output() for agent in agents},
            exits=exits,
        )
