"""The embedded broker must serve real clients, also those of other processes: it is all that the sandbox has."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from agent.sandbox.broker import EmbeddedBroker

DEADLINE_S = 30.0

READ_ONE_ELSEWHERE = """
import sys
from confluent_kafka import Consumer, TopicPartition
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "elsewhere"})
consumer.assign([TopicPartition("org.runs", int(sys.argv[2]), 0)])
print(consumer.poll(20).value().decode())
consumer.close()
"""


def test_records_are_read_and_offsets_committed_with_their_metadata() -> None:
    with EmbeddedBroker() as broker:
        assert broker.create_topic("org.runs") == 4
        partition, offset = broker.produce("org.runs", "hello")
        assert offset == 0
        settings = {"bootstrap.servers": broker.bootstrap_servers, "group.id": "org.agent"}
        consumer = Consumer(settings | {"enable.auto.commit": False})
        consumer.assign([TopicPartition("org.runs", partition, 0)])
        try:
            message = None
            until = time.monotonic() + DEADLINE_S
            while message is None and time.monotonic() < until:
                message = consumer.poll(0.2)
            assert message is not None
            assert message.value() == b"hello"
            done = TopicPartition("org.runs", partition, 1, "map")
            consumer.commit(offsets=[done], asynchronous=False)
        finally:
            consumer.close()
        assert broker.committed("org.agent", "org.runs") == {partition: (1, "map")}
        assert broker.end_offsets("org.runs") == {n: int(n == partition) for n in range(4)}


def test_other_processes_reach_it() -> None:
    with EmbeddedBroker() as broker:
        partition, _ = broker.produce("org.runs", "across")
        command = [sys.executable, "-c", READ_ONE_ELSEWHERE, broker.bootstrap_servers, str(partition)]
        read = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    assert read.stdout == "across\n"


def test_signals_never_reach_its_thread() -> None:
    # They would end it, and closing the broker would then hang for ever.
    def is_of_a_broker(task: Path) -> bool:
        try:
            return "rdk:mock" in (task / "comm").read_text()
        except FileNotFoundError:  # a thread that has ended since it was listed
            return False

    def of_brokers() -> set[Path]:
        return set(filter(is_of_a_broker, Path("/proc/self/task").iterdir()))

    others = of_brokers()
    with EmbeddedBroker():
        (task,) = of_brokers() - others
        status = (task / "status").read_text()
        blocked = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            assert blocked >> (number - 1) & 1
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_records_with_one_key_keep_one_partition() -> None:
    with EmbeddedBroker() as broker:
        broker.create_topic("org.runs")
        assert len({broker.produce("org.runs", "x", "one key")[0] for _ in range(5)}) == 1


def test_outside_its_block_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="with"):
        EmbeddedBroker().produce("org.runs", "x")
