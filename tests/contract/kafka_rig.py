"""The Kafka source under contract, on an embedded broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from agent.clock import SystemClock
from agent.kafka.config import KafkaCredentials, KafkaSettings
from agent.kafka.source import KafkaSource
from agent.ports import Delivery, Source
from agent.sandbox.broker import EmbeddedBroker
from tests.contract.source_rig import Stage
from tests.runs_api.rig import Facts

_RUNS, _GROUP = "org.runs", "org.agent"
"""One topic is both: of two, an agent might be given the partitions of the empty one alone."""


class KafkaStage:
    """One group of agents."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker
        self._places: dict[str, tuple[int, int]] = {}

    async def put(self, *names: str) -> None:
        for name in names:
            self._places[name] = self._broker.produce(_RUNS, name, key=name)

    @asynccontextmanager
    async def life(self, agent: str = "first") -> AsyncIterator[Source]:
        settings = KafkaSettings(
            group_id=_GROUP,
            runs_topic=_RUNS,
            change_log_topic=_RUNS,
            security_protocol="plaintext",
            bootstrap_servers=self._broker.bootstrap_servers,
            commit_interval_s=0.05,
            session_timeout_ms=6000,
            agent_name=agent,
        )
        source = KafkaSource(settings, _no_credentials, Facts(), SystemClock())
        await source.start()
        try:
            yield source
        finally:
            await source.close(20)

    def name_of(self, delivery: Delivery) -> str:
        return delivery.body.decode()

    def settled(self) -> Sequence[str]:
        """Those below the committed offset of their partition."""
        committed = self._broker.committed(_GROUP, _RUNS)
        return [name for name, (part, at) in self._places.items() if committed.get(part, (0, ""))[0] > at]


async def _no_credentials() -> KafkaCredentials:
    raise AssertionError("nothing needs them")


class KafkaRig:
    """See `agent.kafka`."""

    name = "kafka"

    @asynccontextmanager
    async def stage(self, tmp_path: Path) -> AsyncIterator[Stage]:
        del tmp_path
        with EmbeddedBroker() as broker:
            broker.create_topic(_RUNS)
            yield KafkaStage(broker)
