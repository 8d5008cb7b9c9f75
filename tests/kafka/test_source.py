from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.domain.errors import AgentError, SourceLostError
from agent.domain.events import Committed, Event, PartitionStatus, Rebalanced, SourceFailed
from agent.domain.invocation import Channel
from agent.domain.retry import Backoff
from agent.domain.settlement import Settlement
from agent.kafka.config import CLASSIC, CONSUMER, KafkaCredentials, KafkaSettings, consumer_config
from agent.kafka.source import KafkaSource
from agent.ports import Clock, Delivery
from agent.sandbox.broker import EmbeddedBroker
from tests.kafka.refusing_broker import refusing_broker
from tests.kafka.waiting import until

RUNS, CHANGES, GROUP = "org.runs", "org.change.log", "org.agent"


class JumpingClock(SystemClock):
    """Goes on by itself, and is ``ahead_s`` ahead."""

    ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


def stand_still_until(condition: Callable[[], bool]) -> None:
    """Holds up the event loop, too."""
    deadline_s = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline_s, "the condition never came true"
        time.sleep(0.01)


class Events:
    def __init__(self) -> None:
        self.all: list[Event] = []

    def notify(self, event: Event) -> None:
        self.all.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [e for e in list(self.all) if isinstance(e, kind)]

    def rebalanced(self, how: str) -> set[tuple[str, int]]:
        """The partitions that were ever assigned, revoked or lost."""
        return {partition for e in self.of(Rebalanced) if e.event == how for partition in e.partitions}


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        started.create_topic(RUNS)
        started.create_topic(CHANGES)
        yield started


def settings_for(broker: EmbeddedBroker, **changes: Any) -> KafkaSettings:
    defaults: dict[str, Any] = {
        "group_id": GROUP,
        "runs_topic": RUNS,
        "change_log_topic": CHANGES,
        "security_protocol": "plaintext",
        "bootstrap_servers": broker.bootstrap_servers,
        "commit_interval_s": 0.05,
    }
    return KafkaSettings(**{**defaults, **changes})


async def no_credentials() -> KafkaCredentials:
    raise AssertionError("nothing needs them")


@asynccontextmanager
async def running(
    settings: KafkaSettings,
    events: Events,
    fetch: Callable[[], Awaitable[KafkaCredentials]] = no_credentials,
    clock: Clock | None = None,
) -> Any:
    source = KafkaSource(settings, fetch, events, clock or SystemClock())
    await source.start()
    try:
        yield source
    finally:
        await source.close(20)


async def take(source: KafkaSource, count: int, timeout_s: float = 40.0) -> list[Delivery]:
    async def some() -> list[Delivery]:
        taken = []
        for _ in range(count):
            delivery = await source.next()
            assert delivery is not None
            taken.append(delivery)
        return taken

    return await asyncio.wait_for(some(), timeout_s)


def fill_every_partition(broker: EmbeddedBroker, topic: str) -> int:
    """Produces until each partition has a record; returns how many that took."""
    empty = set(range(broker.create_topic(topic)))
    for number in itertools.count(1):
        empty.discard(broker.produce(topic, f"m{number}", key=f"k{number}")[0])
        if not empty:
            return number
    raise AssertionError


def produce_all(broker: EmbeddedBroker, bodies: list[bytes]) -> None:
    for body in bodies:
        broker.produce(RUNS, body, key="one partition")


both_protocols = pytest.mark.parametrize("protocol", [CLASSIC, CONSUMER])


@both_protocols
def test_only_what_is_settled_without_a_gap_is_committed(broker: EmbeddedBroker, protocol: str) -> None:
    async def go() -> None:
        events = Events()
        places = [broker.produce(RUNS, f"m{i}", key="one partition") for i in range(5)]
        partition = places[0][0]
        async with running(settings_for(broker, group_protocol=protocol), events) as source:
            taken = await take(source, 5)
            assert [d.body for d in taken] == [b"m0", b"m1", b"m2", b"m3", b"m4"]
            assert taken[0].origin == f"{RUNS}[{partition}]@0"
            assert all(await asyncio.gather(*(source.begin(d.receipt) for d in taken)))
            for index in (0, 1, 3, 4):
                source.settle(taken[index].receipt, Settlement.ACCEPT)
            await until(lambda: broker.committed(GROUP, RUNS).get(partition, (0, ""))[0] == 2)
            await until(lambda: any(s.uncommitted == 1 and s.span == 3 for s in events.of(PartitionStatus)))
            source.settle(taken[2].receipt, Settlement.REJECT)
            await until(lambda: broker.committed(GROUP, RUNS)[partition][0] == 5)
            await until(lambda: any(s.lag == 0 and s.index == partition for s in events.of(PartitionStatus)))
            assert events.of(Rebalanced)[0].event == "assigned"

    asyncio.run(go())


def test_closing_commits_what_is_settled_below_a_released_message(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        for index in range(3):
            broker.produce(RUNS, f"m{index}", key="k")
        async with running(settings_for(broker, commit_interval_s=3600), Events()) as source:
            first = await take(source, 3)
            source.settle(first[0].receipt, Settlement.ACCEPT)
            source.settle(first[1].receipt, Settlement.RELEASE)
            source.settle(first[2].receipt, Settlement.ACCEPT)
        assert [offset for offset, _ in broker.committed(GROUP, RUNS).values()] == [1]

    asyncio.run(go())


def test_a_start_that_was_committed_long_ago_as_the_loop_hears_of_it_is_committed_anew(
    broker: EmbeddedBroker,
) -> None:
    """The whole process stood still meanwhile: the group may have given the partition to somebody else."""

    async def go() -> None:
        events, clock = Events(), JumpingClock()
        broker.produce(RUNS, "m0", key="k")
        async with running(settings_for(broker, commit_interval_s=3600), events, clock=clock) as source:
            [delivery] = await take(source, 1)
            await until(lambda: bool(events.of(Committed)))  # that it is open
            start = source.begin(delivery.receipt)
            stand_still_until(lambda: len(events.of(Committed)) == 2)
            clock.ahead_s = 3600.0
            assert await asyncio.wait_for(start, 40)
            await until(lambda: [e.result for e in events.of(Committed)] == ["ok", "ok", "ok"], 10)

    asyncio.run(go())


def test_the_topic_decides_the_channel(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        broker.produce(CHANGES, b'{"payload": {"action": {"invocationMethod": {"agent": true}}}}')
        broker.produce(RUNS, b'{"changelogDestination": {"agent": true}}')
        async with running(settings_for(broker), Events()) as source:
            taken = await take(source, 2)
        assert {d.channel: d.body[:8] for d in taken} == {
            Channel.CHANGE_LOG: b'{"payloa',
            Channel.RUNS: b'{"change',
        }

    asyncio.run(go())


def test_while_nobody_takes_partitions_are_paused_and_nothing_is_lost(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        events = Events()
        for index in range(300):
            broker.produce(RUNS, f"m{index}")
        async with running(settings_for(broker, max_records=10), events) as source:
            await until(lambda: any(s.paused for s in events.of(PartitionStatus)))
            taken = await take(source, 300)
            assert {d.body for d in taken} == {f"m{i}".encode() for i in range(300)}
            for delivery in taken:
                source.settle(delivery.receipt, Settlement.ACCEPT)
            ends = broker.end_offsets(RUNS)
            await until(
                lambda: (
                    {p: o for p, (o, _) in broker.committed(GROUP, RUNS).items()}
                    == {p: end for p, end in ends.items() if end}
                )
            )
            await until(lambda: not events.of(PartitionStatus)[-1].paused)

    asyncio.run(go())


def test_what_was_given_back_is_told(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        events = Events()
        produce_all(broker, [b"kept", b"given back", b"done"])
        async with running(settings_for(broker), events) as source:
            _kept, given_back, done = await take(source, 3)
            source.settle(given_back.receipt, Settlement.RELEASE)
            source.settle(done.receipt, Settlement.ACCEPT)
            await until(lambda: any((s.uncommitted, s.held) == (2, 1) for s in events.of(PartitionStatus)))

    asyncio.run(go())


def test_reading_runs_ahead_of_an_unsettled_message_only_so_far(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        events = Events()
        for index in range(3):
            broker.produce(RUNS, f"m{index}", key="k")
        async with running(settings_for(broker, max_span=3), events) as source:
            taken = await take(source, 3)
            await until(lambda: any(s.paused for s in events.of(PartitionStatus)))
            broker.produce(RUNS, "m3", key="k")
            source.settle(taken[0].receipt, Settlement.ACCEPT)
            [late] = await take(source, 1)
            assert late.body == b"m3"

    asyncio.run(go())


@both_protocols
def test_a_partition_that_moves_to_another_agent_takes_its_messages_along(
    broker: EmbeddedBroker, protocol: str
) -> None:
    async def go() -> None:
        mine, theirs = Events(), Events()
        settings = settings_for(broker, change_log_topic=RUNS, session_timeout_ms=6000, group_protocol=protocol)
        count = fill_every_partition(broker, RUNS)
        async with running(settings, mine) as first:
            early = await take(first, count)
            async with running(settings, theirs) as second:
                await until(lambda: bool(theirs.rebalanced("assigned")))
                moved = mine.rebalanced("revoked")
                assert theirs.rebalanced("assigned") <= moved
                stale = [d for d in early if not first.is_ours(d.receipt)]
                assert {d.origin.partition("@")[0] for d in stale} == {f"{topic}[{p}]" for topic, p in moved}
                for delivery in early:
                    first.settle(delivery.receipt, Settlement.ACCEPT)
                again = await take(second, len(stale))
                assert {d.body for d in again} == {d.body for d in stale}

    asyncio.run(go())


def test_intake_stops_at_once_and_settlements_still_count(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        broker.produce(RUNS, "m0", key="k")
        async with running(settings_for(broker), Events()) as source:
            [delivery] = await take(source, 1)
            await source.stop_intake()
            assert await source.next() is None
            source.settle(delivery.receipt, Settlement.ACCEPT)
        assert [offset for offset, _ in broker.committed(GROUP, RUNS).values()] == [1]

    asyncio.run(go())


def test_cancelling_next_again_and_again_loses_nothing(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        bodies = [f"m{index}".encode() for index in range(30)]
        taken: list[bytes] = []
        cancelled = 0
        async with running(settings_for(broker), Events()) as source:
            producing = asyncio.create_task(asyncio.to_thread(produce_all, broker, bodies))
            deadline_s = time.monotonic() + 40
            for turns in itertools.cycle(range(5)):
                waiting = asyncio.ensure_future(source.next())
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiting.cancel()
                await asyncio.wait([waiting])
                if waiting.cancelled():
                    cancelled += 1
                elif delivery := waiting.result():
                    taken.append(delivery.body)
                if len(taken) >= len(bodies):
                    break
                assert time.monotonic() < deadline_s, f"only {len(taken)} came"
                await asyncio.sleep(0.001)
            await producing
        assert taken == bodies
        assert cancelled

    asyncio.run(go())


def test_an_unreachable_broker_is_told_and_waited_for() -> None:
    async def go() -> None:
        events = Events()
        settings = KafkaSettings(
            GROUP, RUNS, CHANGES, security_protocol="plaintext", bootstrap_servers="127.0.0.1:1"
        )
        async with running(settings, events) as source:
            await until(lambda: bool(events.of(SourceFailed)))
            assert not events.of(Rebalanced)
            assert not any(e.fatal for e in events.of(SourceFailed))
            with pytest.raises(TimeoutError):
                await take(source, 1, timeout_s=0.05)

    asyncio.run(go())


def test_credentials_are_asked_for_until_there_are_some(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.kafka.source._BACKOFF", Backoff(0.01))
    answers = 0

    async def fetch() -> KafkaCredentials:
        nonlocal answers
        answers += 1
        if answers < 3:
            raise AgentError("Port's API is down")
        return KafkaCredentials((broker.bootstrap_servers,), "user", "password")

    async def go() -> None:
        events = Events()
        broker.produce(RUNS, "m0")
        async with running(settings_for(broker, bootstrap_servers=""), events, fetch) as source:
            await take(source, 1)
        assert [e.code for e in events.of(SourceFailed)] == ["credentials", "credentials"]

    asyncio.run(go())


def test_refused_credentials_are_asked_for_again_until_there_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.kafka.source._BACKOFF", Backoff(0.01, cap_s=0.05))
    users: list[bytes] = []
    asked = itertools.count()

    async def fetch() -> KafkaCredentials:
        return KafkaCredentials((address,), "old" if next(asked) < 4 else "new", "password")

    async def go() -> None:
        settings = KafkaSettings(GROUP, RUNS, CHANGES, security_protocol="sasl_plaintext")
        async with running(settings, Events(), fetch):
            await until(lambda: b"new" in users)

    with refusing_broker(users) as address:
        asyncio.run(go())
    assert users[0] == b"old"


def test_credentials_that_nobody_refuses_any_more_are_not_asked_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.kafka.source._BACKOFF", Backoff(0.001, cap_s=0.001))
    asked = 0

    async def fetch() -> KafkaCredentials:
        nonlocal asked
        asked += 1
        return KafkaCredentials((address,), "same", "password")

    async def go() -> None:
        settings = KafkaSettings(GROUP, RUNS, CHANGES, security_protocol="sasl_plaintext")
        events = Events()
        async with running(settings, events, fetch):
            await until(lambda: asked > 6)
            # The client tells the same refusal once in 30 s: for one that it told there are seven questions.
            told = sum(e.code == "_AUTHENTICATION" for e in events.of(SourceFailed))
            assert asked <= 1 + 7 * told

    with refusing_broker() as address:
        asyncio.run(go())


def test_other_brokers_end_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.kafka.source._BACKOFF", Backoff(0.01, cap_s=0.05))
    asked = itertools.count()

    async def fetch() -> KafkaCredentials:
        given = [(address, "127.0.0.1:9"), ("127.0.0.1:9", address), (address, "127.0.0.1:19"), ("127.0.0.1:29",)]
        return KafkaCredentials(given[next(asked)], "user", "password")

    async def go() -> None:
        settings = KafkaSettings(GROUP, RUNS, CHANGES, security_protocol="sasl_plaintext")
        async with running(settings, Events(), fetch) as source:
            with pytest.raises(SourceLostError, match="the organisation's brokers have changed"):
                await asyncio.wait_for(source.next(), 40)

    with refusing_broker() as address:
        asyncio.run(go())
    assert next(asked) == 4, "others beside one that stayed are no other cluster"


def test_a_client_that_cannot_be_made_ends_the_source() -> None:
    async def go() -> None:
        settings = KafkaSettings(
            GROUP, RUNS, CHANGES, security_protocol="plaintext", bootstrap_servers="x", auto_offset_reset="never"
        )
        async with running(settings, Events()) as source:
            with pytest.raises(AgentError, match=r"the Kafka consumer stopped: .*auto\.offset\.reset"):
                await asyncio.wait_for(source.next(), 20)

    asyncio.run(go())


def test_closing_before_the_credentials_came_is_quick() -> None:
    async def fetch() -> KafkaCredentials:
        await asyncio.Event().wait()
        raise AssertionError

    async def go() -> None:
        settings = KafkaSettings(GROUP, RUNS, CHANGES)
        async with running(settings, Events(), fetch) as source:
            assert source.name == "kafka"

    asyncio.run(go())


def test_receipts_of_others_are_a_mistake(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        async with running(settings_for(broker), Events()) as source:
            with pytest.raises(TypeError, match="was not given out by this source"):
                source.settle("strange", Settlement.ACCEPT)

    asyncio.run(go())


def test_the_configuration_of_ports_brokers() -> None:
    settings = KafkaSettings(GROUP, RUNS, CHANGES)
    assert settings.needs_credentials
    config = consumer_config(settings, KafkaCredentials(("a:1", "b:2"), "user", "secret"))
    assert config["bootstrap.servers"] == "a:1,b:2"
    assert config["security.protocol"] == "sasl_ssl"
    assert (config["sasl.mechanism"], config["sasl.username"], config["sasl.password"]) == (
        "SCRAM-SHA-512",
        "user",
        "secret",
    )
    assert config["enable.auto.commit"] is False
    assert "secret" not in repr(KafkaCredentials(("a:1",), "user", "secret"))


@pytest.mark.parametrize(("protocol", "believed_for_s"), [(CLASSIC, 22.5), (CONSUMER, 3.0)])
def test_a_commit_is_believed_within_a_session_that_we_know_of_only(protocol: str, believed_for_s: float) -> None:
    """The brokers set that of the protocol "consumer", whatever is set here."""
    settings = KafkaSettings(GROUP, RUNS, CHANGES, session_timeout_ms=45_000, group_protocol=protocol)
    assert settings.believed_for_s == believed_for_s


def test_brokers_set_by_hand_need_nobody() -> None:
    settings = KafkaSettings(GROUP, RUNS, CHANGES, security_protocol="plaintext", bootstrap_servers="k:9092")
    assert not settings.needs_credentials
    config = consumer_config(settings, None)
    assert config["bootstrap.servers"] == "k:9092"
    assert "sasl.username" not in config


def test_it_closes_although_actions_hold_every_thread_of_the_default_executor(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        release, loop = threading.Event(), asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, release.wait)
        try:
            async with running(settings_for(broker), events := Events()):
                await until(lambda: bool(events.of(Rebalanced)))
            assert not events.of(SourceFailed)
            assert not [thread for thread in threading.enumerate() if thread.name == "kafka-consumer"]
        finally:
            release.set()
            await blocked

    asyncio.run(asyncio.wait_for(go(), 60))


def test_a_thread_that_does_not_close_in_time_is_told_and_left(broker: EmbeddedBroker) -> None:
    async def go() -> None:
        async with running(settings_for(broker), events := Events()) as source:
            await until(lambda: bool(events.of(Rebalanced)))
            await source.close(0.0)
        (failure,) = events.of(SourceFailed)
        assert failure.code == "close_timeout"

    asyncio.run(asyncio.wait_for(go(), 60))
