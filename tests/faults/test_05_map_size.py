"""A partition as far ahead of its lowest run as it may get, in the pattern that is hardest to spell."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from agent.delivery.offset_map import MAX_CHARS, MAX_NOTES, MAX_SPAN, Mark, Note, OffsetMap
from agent.sandbox.messages import Click, kafka_v1, wire_text
from tests.broker.real_kafka import AGENT, RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

READ_AHEAD = 10_000
"""As far as the agent reads beyond its lowest run; docs/delivery.md says so."""

AS_TEXT_AT_LEAST = 2_600
"""Three states in a random order cannot be told in less, where there are so many."""


def test_the_longest_map_that_can_be_is_taken_by_the_broker(
    kafka: RealKafka, tmp_path: Path, chance: random.Random
) -> None:
    base = 2**62
    marks = bytes(chance.choice([Mark.OPEN, Mark.STARTED, Mark.DONE]) for _ in range(MAX_SPAN - 1)) + b"\x02"
    places = sorted(chance.sample(range(MAX_SPAN), MAX_NOTES))
    notes = {base + place: Note(127, goes_on=True) for place in places}
    known = OffsetMap(base, marks, notes, crowded=True, unsure_below=base + MAX_SPAN, agent="a" * 64)
    text = known.encode()
    assert len(text) <= MAX_CHARS

    with Stage(kafka, tmp_path, "org_T3stLongest") as stage:
        stage.make_topics()
        config = {**kafka.client_config(AGENT), "group.id": stage.group, "enable.auto.commit": False}
        with Consumer(config) as consumer:
            consumer.commit(offsets=[TopicPartition(stage.topic, 0, base, text)], asynchronous=False)
        assert stage.offset_maps()[0] == known


def test_an_agent_that_reads_as_far_ahead_as_it_may_commits_and_hands_over_a_map_of_it(
    kafka: RealKafka, tmp_path: Path, chance: random.Random
) -> None:
    """Of each three records one is nobody's, one a run that never ends, and one waits for a run that never ends."""
    kinds = [
        "endless",
        "blocked",
        *(chance.choice(["nobodys", "endless", "blocked"]) for _ in range(READ_AHEAD + 500)),
    ]
    expected = {"nobodys": Mark.DONE, "endless": Mark.STARTED, "blocked": Mark.OPEN}
    marks = bytes([Mark.STARTED, Mark.STARTED, *(expected[kind] for kind in kinds[2:])])
    with Stage(kafka, tmp_path, "org_T3stSpan") as stage:
        others = f"{stage.org}.zzz"  # of two partitions the group's newcomer gets the one that is named first
        settings = {
            "AGENT_MAX_CONCURRENT_RUNS": "6000",
            "AGENT_MAX_WAITING_RUNS": "12000",
            "KAFKA_CHANGE_LOG_TOPIC": others,
        }
        stage.client.create_topic(stage.topic, 1)
        stage.client.create_topic(others, 1)
        stage.client.allow_agent(stage.org)
        stage.routes.write_text(_ROUTES)
        (tmp_path / "endless_actions.py").write_text(_ACTION)
        first = stage.start_agent("first", settings)
        first.wait_ready()
        stage.client.produce(stage.topic, [_record(number, kind) for number, kind in enumerate(kinds)])

        def remembers_all() -> bool:
            known = stage.offset_maps()[0].marks
            return len(known) >= READ_AHEAD - 10 and known == marks[: len(known)].rstrip(b"\x00")

        wait_until(remembers_all, timeout_s=120, what=stage.report)
        text = stage.client.committed(stage.group, stage.topic)[0].metadata
        assert AS_TEXT_AT_LEAST < len(text) <= MAX_CHARS
        assert len(stage.offset_maps()[0].marks) < MAX_SPAN

        second = stage.start_agent("second", settings)
        wait_until(lambda: stage.offset_maps()[0].crowded, timeout_s=60, what=stage.report)
        handed_over = stage.offset_maps()[0]
        assert len(stage.client.committed(stage.group, stage.topic)[0].metadata) <= MAX_CHARS
        assert handed_over.marks == marks[: len(handed_over.marks)].rstrip(b"\x00")
        assert len(handed_over.notes) == MAX_NOTES
        assert '"commit failing"' not in first.output(), first.tail()
        wait_until(lambda: "may be at this run still" in second.output(), timeout_s=60, what=stage.report)


def _record(number: int, kind: str) -> bytes:
    click = Click(f"r_{kind}{number:05d}", kind, {}, "service")
    return wire_text(kafka_v1(click)).encode()


_ROUTES = """\
routes:
  - name: endless
    match: {action: endless}
    python: {callable: "endless_actions:never_ends"}
  - name: blocked
    match: {action: blocked}
    max_concurrent: 1
    python: {callable: "endless_actions:never_ends"}
"""

_ACTION = """\
import asyncio

from agent import Run


async def never_ends(run: Run) -> None:
    await asyncio.Event().wait()
"""
