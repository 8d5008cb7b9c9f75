"""The Kafka source alone on a real broker: what only shows where partitions really come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.domain.events import Event, PartitionStatus, Rebalanced
from agent.domain.settlement import Settlement
from agent.kafka.config import KafkaCredentials, KafkaSettings
from agent.kafka.source import KafkaSource
from tests.broker.kafka_client import KafkaClient
from tests.broker.real_kafka import AGENT, RealKafka

pytestmark = pytest.mark.kafka


class Events:
    def __init__(self) -> None:
        self.all: list[Event] = []

    def notify(self, event: Event) -> None:
        self.all.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.all.copy() if isinstance(event, kind)]


def open_source(kafka: RealKafka, org: str, events: Events, max_records: int) -> KafkaSource:
    async def credentials() -> KafkaCredentials:
        return KafkaCredentials((kafka.bootstrap,), AGENT.username, AGENT.password)

    settings = KafkaSettings(
        group_id=f"{org}.agent",
        runs_topic=f"{org}.runs",
        change_log_topic=f"{org}.change.log",
        ca_file=kafka.ca_file,
        max_records=max_records,
    )
    return KafkaSource(settings, credentials, events, SystemClock())


async def until(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition lies in another thread
            await asyncio.sleep(0.05)


async def take_all(source: KafkaSource, into: set[bytes]) -> None:
    while (delivery := await source.next()) is not None:
        into.add(delivery.body)
        source.settle(delivery.receipt, Settlement.ACCEPT)


async def wait_and_stop(taking: Awaitable[None], condition: Callable[[], bool]) -> None:
    task = asyncio.ensure_future(taking)
    try:
        await until(condition)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_a_partition_that_was_paused_when_it_went_is_read_when_it_comes_back(
    kafka: RealKafka, client: KafkaClient
) -> None:
    org = "org_away"
    client.create_topic(f"{org}.runs", 3)
    client.create_topic(f"{org}.change.log", 1)
    client.allow_agent(org)
    wanted = {b"%d" % n for n in range(900)}
    client.produce(f"{org}.runs", sorted(wanted))

    async def scenario() -> set[bytes]:
        events, guests = Events(), Events()
        host = open_source(kafka, org, events, max_records=1)
        guest = open_source(kafka, org, guests, max_records=1)
        try:
            await host.start()
            # Nobody takes, so the host is full: all that has given a record is paused.
            await until(lambda: {s.index for s in events.of(PartitionStatus) if s.paused} >= {0, 1, 2})
            await guest.start()
            await until(lambda: any(e.event == "revoked" for e in events.of(Rebalanced)))
            await until(lambda: any(e.partitions for e in guests.of(Rebalanced)))
            await guest.close(20)
            taken: set[bytes] = set()
            await wait_and_stop(take_all(host, taken), lambda: taken >= wanted)
            return taken
        finally:
            await guest.close(20)
            await host.close(20)

    assert asyncio.run(scenario()) == wanted
