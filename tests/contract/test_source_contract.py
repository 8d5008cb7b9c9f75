"""What the dispatcher may count on, whichever way messages come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.domain.earlier import Ending, Past
from agent.domain.settlement import Settlement
from agent.ports import Delivery, Source
from tests.contract.source_rig import SourceRig, Stage
from tests.contract.source_rigs import RIGS
from tests.kafka.waiting import until

_PATIENCE_S = 40.0

pytestmark = pytest.mark.parametrize("rig", RIGS, ids=lambda rig: rig.name)


def _play(rig: SourceRig, tmp_path: Path, scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def go() -> None:
        async with rig.stage(tmp_path) as stage:
            await scene(stage)

    asyncio.run(go())


async def _take(source: Source, count: int) -> list[Delivery]:
    async def some() -> list[Delivery]:
        return [await _next(source) for _ in range(count)]

    return await asyncio.wait_for(some(), _PATIENCE_S)


async def _next(source: Source) -> Delivery:
    delivery = await source.next()
    assert delivery is not None
    return delivery


async def _begun(source: Source, count: int) -> list[Delivery]:
    taken = await _take(source, count)
    assert all([await source.begin(delivery.receipt) for delivery in taken])
    return taken


def _is_new(delivery: Delivery) -> bool:
    """Nothing tells of earlier work: no source may say so where there was any."""
    return delivery.earlier is None or delivery.earlier.past is Past.UNKNOWN


def test_each_message_comes_once_and_is_ours(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        names = [f"m{number}" for number in range(20)]
        await stage.put(*names)
        async with stage.life() as source:
            assert source.name == rig.name
            taken = await _take(source, 20)
            assert sorted(map(stage.name_of, taken)) == sorted(names)
            assert len({delivery.origin for delivery in taken}) == 20
            assert all(source.is_ours(delivery.receipt) for delivery in taken)
            assert all(map(_is_new, taken))
            await stage.put("last")
            [last] = await _take(source, 1)
            assert stage.name_of(last) == "last"

    _play(rig, tmp_path, scene)


def test_a_cancelled_wait_loses_nothing(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        async with stage.life() as source:
            taken: list[Delivery] = []
            put = 0
            while len(taken) < 10:
                waiting = asyncio.create_task(source.next())
                for _ in range(put % 4):
                    await asyncio.sleep(0.005)
                if put < 10:
                    await stage.put(f"m{put}")
                    put += 1
                waiting.cancel()
                [came] = await asyncio.gather(waiting, return_exceptions=True)
                if isinstance(came, Delivery):
                    taken.append(came)
                elif put == 10:
                    taken += await _take(source, 10 - len(taken))
            assert sorted(map(stage.name_of, taken)) == [f"m{number}" for number in range(10)]

    _play(rig, tmp_path, scene)


@pytest.mark.parametrize("settlement", [Settlement.ACCEPT, Settlement.REJECT])
def test_what_was_begun_and_is_done_with_never_comes_again(
    rig: SourceRig, tmp_path: Path, settlement: Settlement
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a", "b")
        async with stage.life() as source:
            for delivery in await _begun(source, 2):
                source.end(delivery.receipt, Ending.SUCCESS)
                source.settle(delivery.receipt, settlement)
        assert sorted(stage.settled()) == ["a", "b"]
        await stage.put("c")
        async with stage.life() as source:
            assert stage.name_of(*await _take(source, 1)) == "c"

    _play(rig, tmp_path, scene)


def test_what_was_never_begun_comes_again_as_new(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("released", "forgotten")
        async with stage.life() as source:
            for delivery in await _take(source, 2):
                if stage.name_of(delivery) == "released":
                    source.settle(delivery.receipt, Settlement.RELEASE)
        assert stage.settled() == []
        async with stage.life("another") as source:
            taken = await _take(source, 2)
            assert sorted(map(stage.name_of, taken)) == ["forgotten", "released"]
            assert all(map(_is_new, taken))

    _play(rig, tmp_path, scene)


def test_what_was_begun_and_not_settled_comes_again_as_interrupted(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a")
        for attempt in (0, 1, 2):
            async with stage.life() as source:
                [delivery] = await _begun(source, 1)
                earlier = delivery.earlier
                if attempt:
                    assert earlier is not None
                    assert (earlier.past, earlier.begun, earlier.agent) == (Past.INTERRUPTED, attempt, "first")
                else:
                    assert _is_new(delivery)
        assert stage.settled() == []

    _play(rig, tmp_path, scene)


def test_an_end_that_port_was_not_told_of_is_known_later(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a")
        async with stage.life() as source:
            [delivery] = await _begun(source, 1)
            source.end(delivery.receipt, Ending.FAILURE)
            source.settle(delivery.receipt, Settlement.RELEASE)
        async with stage.life() as source:
            [again] = await _take(source, 1)
            assert again.earlier is not None
            assert (again.earlier.past, again.earlier.ending) == (Past.ENDED, Ending.FAILURE)
            assert again.origin == delivery.origin

    _play(rig, tmp_path, scene)


def test_work_that_was_stopped_in_order_is_known_as_that(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a")
        async with stage.life() as source:
            [delivery] = await _begun(source, 1)
            source.settle(delivery.receipt, Settlement.REPEAT)
        async with stage.life() as source:
            [again] = await _take(source, 1)
            assert again.earlier is not None
            assert (again.earlier.past, again.earlier.begun) == (Past.STOPPED, 1)

    _play(rig, tmp_path, scene)


def test_a_start_that_was_withdrawn_was_none(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a", "b")
        async with stage.life() as source:
            first, second = await _take(source, 2)
            assert await source.begin(first.receipt)
            asyncio.ensure_future(source.begin(second.receipt)).cancel()
            for delivery in (first, second):
                source.withdraw(delivery.receipt)
                source.settle(delivery.receipt, Settlement.RELEASE)
        async with stage.life() as source:
            for again in await _begun(source, 2):
                assert _is_new(again)

    _play(rig, tmp_path, scene)


def test_begun_by_one_of_two_agents_it_is_not_the_others_any_more(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        names = [f"m{number}" for number in range(12)]
        await stage.put(*names)
        async with stage.life("first") as first:
            held = {stage.name_of(delivery): delivery for delivery in await _take(first, 12)}
            async with stage.life("second") as second:
                [delivery] = await _begun(second, 1)
                lost = held[stage.name_of(delivery)].receipt
                assert not await first.begin(lost)
                assert not await first.secure(lost)
                assert not first.is_ours(lost)
                assert second.is_ours(delivery.receipt)

    _play(rig, tmp_path, scene)


def test_two_agents_side_by_side_begin_each_message_once(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        begun: list[str] = []
        names = [f"m{number:02}" for number in range(30)]

        async def work(source: Source) -> None:
            while (delivery := await source.next()) is not None:
                if await source.begin(delivery.receipt):
                    begun.append(stage.name_of(delivery))
                    source.settle(delivery.receipt, Settlement.ACCEPT)

        async with stage.life("first") as first, stage.life("second") as second:
            working = [asyncio.create_task(work(source)) for source in (first, second)]
            for name in names:
                await stage.put(name)
                await asyncio.sleep(0)
            await until(lambda: len(begun) >= 30)
            await first.stop_intake()
            await second.stop_intake()
            await asyncio.wait_for(asyncio.gather(*working), _PATIENCE_S)
        assert sorted(begun) == names

    _play(rig, tmp_path, scene)


def test_a_run_that_was_secured_is_done_with_once_settled(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a")
        async with stage.life() as source:
            [delivery] = await _take(source, 1)
            assert await source.secure(delivery.receipt)
            source.settle(delivery.receipt, Settlement.ACCEPT)
        assert stage.settled() == ["a"]

    _play(rig, tmp_path, scene)


def test_after_the_intake_stopped_nothing_comes_and_what_came_may_be_settled(
    rig: SourceRig, tmp_path: Path
) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a")
        async with stage.life() as source:
            [delivery] = await _begun(source, 1)
            waiting = asyncio.create_task(source.next())
            await asyncio.sleep(0)
            await source.stop_intake()
            await stage.put("b")
            assert await asyncio.wait_for(waiting, _PATIENCE_S) is None
            assert await source.next() is None
            await source.stop_intake()
            source.end(delivery.receipt, Ending.SUCCESS)
            source.settle(delivery.receipt, Settlement.ACCEPT)
        assert stage.settled() == ["a"]

    _play(rig, tmp_path, scene)


def test_closing_twice_is_closing_once(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a")
        async with stage.life() as source:
            await _take(source, 1)
            await source.close(20)
            assert await source.next() is None

    _play(rig, tmp_path, scene)


def test_a_receipt_of_something_else_is_refused(rig: SourceRig, tmp_path: Path) -> None:
    async def scene(stage: Stage) -> None:
        await stage.put("a")
        async with stage.life() as source:
            await _take(source, 1)
            for use in (source.is_ours, source.begin, source.withdraw, source.resume):
                with pytest.raises(TypeError):
                    use("not a receipt")

    _play(rig, tmp_path, scene)
