"""Messages that are signed with a secret that has not reached us yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.dispatch.second_look import SecondLook
from agent.domain.events import MessageRejected, WaitingChanged
from agent.domain.invocation import Channel
from agent.domain.outcome import Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.domain.settlement import Settlement
from agent.ports import Delivery, RunContext
from tests.dispatch.fakes import House, RealClock, Work

ROUTE = Route(name="all", match=Match(), executor="work")


def played(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scene: Callable[[House], Awaitable[None]],
    patience_s: float = 300.0,
) -> House:
    monkeypatch.setattr("agent.dispatch.dispatcher._SECOND_LOOK_S", 0.01)

    async def work(run: RunContext) -> Outcome:
        del run
        return Succeeded()

    async def go() -> House:
        house = House([(ROUTE, Work(work))], tmp_path, signature_patience_s=patience_s)
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await scene(house)
        house.stop.ask()
        assert await agent == 0
        return house

    return asyncio.run(go())


async def kept(house: House) -> None:
    house.source.put("foreign-1")
    house.source.put("deploy-1")
    await house.until(lambda: "deploy-1" in house.source.settled)
    assert house.events.of(WaitingChanged)[-1].in_hand >= 1


def test_it_is_executed_as_soon_as_the_secret_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(house: House) -> None:
        await kept(house)
        house.intake.knows_new_secret = True
        await house.until(lambda: "foreign-1" in house.source.settled)

    house = played(tmp_path, monkeypatch, scene)
    assert house.source.settled["foreign-1"] is Settlement.ACCEPT
    assert house.reporter.reports["r_foreign-1"].outcome == Succeeded()
    assert house.events.of(MessageRejected) == []


def test_it_is_refused_once_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(house: House) -> None:
        house.source.put("foreign-1")
        await house.until(lambda: "foreign-1" in house.source.settled)

    house = played(tmp_path, monkeypatch, scene, patience_s=0.1)
    assert house.source.settled == {"foreign-1": Settlement.REJECT}
    [refused] = house.events.of(MessageRejected)
    assert (refused.reason, refused.run_id) == ("signature", "r_foreign-1")
    assert [reason for _, reason in house.quarantine.kept] == ["signature"]
    assert house.reporter.reports == {}


def test_where_its_partition_went_it_is_the_new_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(house: House) -> None:
        await kept(house)
        house.source.revoked.add("foreign-1")
        house.intake.knows_new_secret = True
        await house.until(lambda: house.events.of(WaitingChanged)[-1].in_hand == 0)
        house.source.put("deploy-2")
        await house.until(lambda: "deploy-2" in house.source.settled)

    house = played(tmp_path, monkeypatch, scene)
    assert "foreign-1" not in house.source.settled
    assert "r_foreign-1" not in house.reporter.reports


def test_a_stop_leaves_it_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = played(tmp_path, monkeypatch, kept)
    assert set(house.source.settled) == {"deploy-1"}


def test_without_patience_and_without_room_nothing_is_kept() -> None:
    clock = RealClock()
    delivery = Delivery(b"", "a", Channel.RUNS, clock.monotonic())
    assert not SecondLook(0.0, clock).keep(delivery)
    look = SecondLook(60.0, clock)
    assert [look.keep(delivery) for _ in range(201)] == [True] * 200 + [False]
    assert len(look) == 200
    assert look.take() == [delivery] * 200
    assert len(look) == 0
    assert not look.keep(Delivery(b"", "a", Channel.RUNS, clock.monotonic() - 60))
