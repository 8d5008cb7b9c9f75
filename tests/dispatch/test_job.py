from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from agent.dispatch.admission import SMALL_BYTES
from agent.dispatch.claims import Claims
from agent.dispatch.dispatcher import DispatchSettings
from agent.dispatch.job import Job
from agent.domain.invocation import Channel
from agent.domain.outcome import Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.ports import Delivery, Routed, RunContext
from tests.dispatch.fakes import House, MemorySource, NameIntake, Work, invocation

ROUTE = Route(name="all", match=Match(), executor="work")


async def succeed(run: RunContext) -> Outcome:
    del run
    return Succeeded()


def test_what_was_shed_is_read_again_and_its_effort_is_not_forgotten() -> None:
    intake, given = NameIntake(), invocation("deploy-1")
    claim = Claims(MemorySource()).open(given.run_id, Delivery(b"", "a", Channel.RUNS, 0.0))
    delivery = Delivery(b"deploy-1", "a", Channel.RUNS, 0.0, "runs[0]@1")
    job = Job(delivery, claim, given, Routed(ROUTE, Work(succeed)), intake)
    given.effort.spent_s = 0.7
    assert job.invocation is given
    job.shed()
    assert job.invocation == given
    assert job.invocation.effort.spent_s == 0.7
    assert job.subject.run_id == "r_deploy-1"
    assert intake.recalled == ["deploy-1"]  # once, however often it is asked for


@pytest.mark.parametrize("size_bytes", [SMALL_BYTES, SMALL_BYTES + 1])
def test_while_it_is_executed_a_large_message_is_nobody_elses(size_bytes: int) -> None:
    given = invocation("deploy-1")
    delivery = Delivery(b"x" * size_bytes, "a", Channel.RUNS, 0.0, "runs[0]@1")
    claim = Claims(MemorySource()).open(given.run_id, delivery)
    job = Job(delivery, claim, given, Routed(ROUTE, Work(succeed)), NameIntake())
    before, seen = job.subject, weakref.ref(given)
    assert job.hand_over() is given
    assert (job.subject, job.action) == (before, given.action)
    del given
    gc.collect()
    is_large = size_bytes > SMALL_BYTES
    assert (seen() is None) == is_large
    assert (job.delivery.body == b"") == is_large


@pytest.mark.parametrize(
    ("max_decoded_bytes", "recalled"),
    [
        (0, ["deploy-2", "deploy-3", "deploy-4"]),
        (5_000, ["deploy-4"]),  # each takes its text and a little more
        (DispatchSettings().max_decoded_bytes, []),
    ],
)
def test_only_runs_that_wait_behind_many_are_read_twice(
    tmp_path: Path, max_decoded_bytes: int, recalled: list[str]
) -> None:
    async def scene() -> list[str]:
        gate = asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            await gate.wait()
            assert run.inputs == {"name": str(run.run_id).removeprefix("r_")}
            return Succeeded()

        settings = DispatchSettings(max_concurrent_runs=2, max_decoded_bytes=max_decoded_bytes)
        house = House([(ROUTE, Work(work))], tmp_path, settings)
        for number in range(5):
            house.source.put(f"deploy-{number}")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.dispatcher.in_flight == 2)
        gate.set()
        await house.until(lambda: len(house.source.settled) == 5)
        house.stop.ask()
        assert await agent == 0
        return house.intake.recalled

    assert asyncio.run(scene()) == recalled


def test_there_is_room_for_decoded_messages_again_once_their_runs_have_started(tmp_path: Path) -> None:
    async def scene() -> list[str]:
        house = House(
            [(ROUTE, Work(succeed))], tmp_path, DispatchSettings(max_concurrent_runs=1, max_decoded_bytes=2_500)
        )
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        for round_ in range(3):
            for number in range(2):  # the second waits, and alone has room
                house.source.put(f"deploy-{round_}-{number}")
            await house.until(lambda: len(house.source.settled) == 2 * (round_ + 1))  # noqa: B023 - read at once
        house.stop.ask()
        assert await agent == 0
        return house.intake.recalled

    assert asyncio.run(scene()) == []
