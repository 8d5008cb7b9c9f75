from __future__ import annotations

import asyncio
from pathlib import Path

from agent.dispatch.claims import Claims
from agent.dispatch.dispatcher import DispatchSettings
from agent.domain.events import RunRedelivered
from agent.domain.invocation import Channel, InvocationKind, RunId
from agent.domain.outcome import Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.domain.settlement import Settlement
from agent.ports import Delivery, RunContext, Subject
from tests.dispatch.fakes import House, MemorySource, Work

OTHER = RunId("r_other")
RUN = RunId("r_1")


def delivery(receipt: str) -> Delivery:
    return Delivery(b"", receipt, Channel.RUNS, 0.0, "runs[0]@7")


def test_what_becomes_of_a_run_counts_for_every_receipt_under_which_it_came() -> None:
    async def go() -> None:
        source = MemorySource()
        claims = Claims(source)
        assert not claims.has(RUN, delivery("a"))
        claim = claims.open(RUN, delivery("a"))
        assert claims.has(RUN, delivery("b"))
        assert await claim.begin()
        assert claims.has(RUN, delivery("c"))
        assert source.begun == ["a", "b"]
        assert source.resumed == ["c"]  # it has begun, and counts once
        claim.settle(Settlement.ACCEPT)
        assert source.settled == dict.fromkeys("abc", Settlement.ACCEPT)
        assert claims.has(RUN, delivery("d"))
        assert source.settled["d"] is Settlement.ACCEPT

    asyncio.run(go())


def test_a_run_begins_if_the_last_of_its_receipts_is_ours() -> None:
    async def go() -> None:
        source = MemorySource()
        claims = Claims(source)
        claim = claims.open(RUN, delivery("a"))
        assert claim.take_up()
        source.revoked.add("a")
        assert not any([claim.is_ours])
        claims.has(RUN, delivery("b"))
        assert claim.is_ours
        assert await claim.begin()

    asyncio.run(go())


def test_a_run_whose_start_was_not_waited_for_did_not_begin() -> None:
    async def go() -> None:
        source = MemorySource()
        source.hold = asyncio.Event()
        claims = Claims(source)
        claim = claims.open(RUN, delivery("a"))
        claims.has(RUN, delivery("b"))
        beginning = asyncio.ensure_future(claim.begin())
        await asyncio.sleep(0)
        assert claims.has(RUN, delivery("c"))
        beginning.cancel()
        await asyncio.gather(beginning, return_exceptions=True)
        assert source.withdrawn == source.begun == ["a", "b"]

    asyncio.run(go())


def test_a_run_that_comes_again_while_its_start_is_waited_for_begins_for_both() -> None:
    """The partition was lost and came back before the start could be committed."""

    async def go() -> None:
        source = MemorySource()
        source.hold = asyncio.Event()
        claims = Claims(source)
        beginning = asyncio.ensure_future(claims.open(RUN, delivery("a")).begin())
        await asyncio.sleep(0)
        source.revoked.add("a")
        assert claims.has(RUN, delivery("b"))
        source.hold.set()
        assert await beginning
        assert source.begun == ["a", "b"]

    asyncio.run(go())


def test_a_run_that_comes_again_as_its_start_is_answered_goes_on_and_does_not_begin_twice() -> None:
    async def go() -> None:
        source = MemorySource()
        source.hold = asyncio.Event()
        claims = Claims(source)
        beginning = asyncio.ensure_future(claims.open(RUN, delivery("a")).begin())
        await asyncio.sleep(0)
        assert claims.has(RUN, delivery("b"))
        source.hold.set()
        assert await beginning
        assert claims.has(RUN, delivery("c"))
        assert source.begun == ["a"]
        assert source.resumed == ["b", "c"]

    asyncio.run(go())


def test_a_run_that_is_not_ours_any_more_or_was_given_back_may_come_again() -> None:
    async def go() -> None:
        source = MemorySource()
        source.revoked.add("a")
        claims = Claims(source)
        claim = claims.open(RUN, delivery("a"))
        assert not await claim.begin()
        claim.drop()
        assert not claims.has(RUN, delivery("b"))
        claims.open(RUN, delivery("b")).settle(Settlement.RELEASE)
        assert not claims.has(RUN, delivery("c"))

    asyncio.run(go())


def test_a_run_that_is_to_be_begun_anew_may_come_again() -> None:
    claims = Claims(MemorySource())
    claims.open(RUN, delivery("a")).settle(Settlement.REPEAT)
    assert not claims.has(RUN, delivery("b"))


def test_a_run_that_is_left_over_from_an_earlier_life_is_in_hand() -> None:
    source = MemorySource()
    claims = Claims(source)
    claim = claims.open_left_over(Subject(RUN, InvocationKind.ACTION_RUN, "runs[0]@7"))
    assert claims.has(RUN, delivery("a"))
    claim.settle(Settlement.ACCEPT)
    assert source.settled == {"a": Settlement.ACCEPT}
    assert claims.has(RUN, delivery("b"))


def test_messages_without_a_run_are_known_by_what_they_say_and_where_they_stand() -> None:
    claims = Claims(MemorySource())
    event = Delivery(b"changed", "a", Channel.CHANGE_LOG, 0.0, "change.log[0]@7")
    claims.open(None, event).settle(Settlement.ACCEPT)
    assert claims.has(None, Delivery(b"changed", "b", Channel.CHANGE_LOG, 0.0, "change.log[0]@7"))
    assert not claims.has(None, Delivery(b"changed", "c", Channel.CHANGE_LOG, 0.0, "change.log[0]@8"))
    assert not claims.has(None, Delivery(b"changed otherwise", "d", Channel.CHANGE_LOG, 0.0, "change.log[0]@7"))


def test_another_message_of_the_same_run_is_another_message() -> None:
    claims = Claims(MemorySource())
    claims.open(RUN, delivery("a")).settle(Settlement.ACCEPT)
    assert not claims.has(RUN, Delivery(b"", "b", Channel.RUNS, 0.0, "runs[0]@8"))


def test_only_so_many_of_the_runs_that_have_ended_are_remembered() -> None:
    claims = Claims(MemorySource(), remembered=2)
    for number in range(3):
        claims.open(RunId(f"r_{number}"), delivery(str(number))).settle(Settlement.REJECT)
    assert [claims.has(RunId(f"r_{number}"), delivery(f"again-{number}")) for number in range(3)] == [
        False,
        True,
        True,
    ]


def test_a_run_that_is_delivered_again_while_it_goes_on_or_after_it_ended_is_executed_once(tmp_path: Path) -> None:
    executed: list[str] = []

    async def go() -> House:
        release = asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            executed.append(str(run.run_id))
            await release.wait()
            return Succeeded()

        rule = Route(name="all", match=Match(), executor="work")
        house = House([(rule, Work(work))], tmp_path, DispatchSettings(max_concurrent_runs=1))
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        for name, body in (("p-1", b"slow-1"), ("p-2", b"quick-2")):
            house.source.put(name, body, origin=body.decode())
        await house.until(lambda: executed == ["r_slow-1"] and house.source.queue.empty())
        house.source.revoked |= {"p-1", "p-2"}  # the partition was lost, and comes back
        for name, body in (("q-1", b"slow-1"), ("q-2", b"quick-2")):
            house.source.put(name, body, origin=body.decode())
        await house.until(house.source.queue.empty)
        release.set()
        await house.until(lambda: {"q-1", "q-2"} <= house.source.settled.keys())
        house.source.put("s-1", b"slow-1", origin="slow-1")
        await house.until(lambda: "s-1" in house.source.settled)
        house.stop.ask()
        assert await agent == 0
        return house

    house = asyncio.run(go())
    assert executed == ["r_slow-1", "r_quick-2"]
    assert {house.source.settled[name] for name in ("q-1", "q-2", "s-1")} == {Settlement.ACCEPT}
    assert {(fact.run_id, fact.outcome) for fact in house.events.of(RunRedelivered)} == {("r_slow-1", "in_hand")}


def test_a_run_that_only_waited_while_its_partition_went_is_taken_in_anew() -> None:
    source = MemorySource()
    claims = Claims(source)
    old = claims.open(RUN, delivery("a"))
    source.revoked.add("a")
    assert old.is_stale
    assert not claims.has(RUN, delivery("b"))
    new = claims.open(RUN, delivery("b"))
    old.drop()  # which its slot finds out later, and takes nothing from the new one
    assert claims.has(RUN, delivery("c"))
    new.settle(Settlement.ACCEPT)
    assert source.settled == {"b": Settlement.ACCEPT, "c": Settlement.ACCEPT}


def test_one_whose_turn_comes_after_its_partition_went_does_not_begin_by_what_comes_again() -> None:
    """Its turn came because the run before it, of the same key, was given up: that one is to come first again."""

    async def go() -> None:
        source = MemorySource()
        source.hold = asyncio.Event()  # the consumer's thread is in the midst of a rebalance, and answers later
        claims = Claims(source)
        claim = claims.open(RUN, delivery("a"))
        source.revoked.add("a")
        beginning = asyncio.ensure_future(claim.begin())
        await asyncio.sleep(0)
        assert not claims.has(RUN, delivery("b"))
        source.hold.set()
        assert not await beginning
        assert source.begun == []

    asyncio.run(go())


def test_a_run_for_which_something_is_done_is_not() -> None:
    async def go() -> None:
        source = MemorySource()
        claims = Claims(source)
        beginning, told = claims.open(RUN, delivery("a")), claims.open(OTHER, delivery("b"))
        source.hold = asyncio.Event()
        begin = asyncio.ensure_future(beginning.begin())
        await asyncio.sleep(0)
        assert told.take_up()
        source.revoked |= {"a", "b"}
        assert claims.has(RUN, delivery("c"))  # its marker may be committed already
        assert claims.has(OTHER, delivery("d"))
        source.hold.set()
        assert await begin
        assert beginning.is_ours

    asyncio.run(go())


def test_what_went_is_not_taken_up() -> None:
    source = MemorySource()
    claim = Claims(source).open(RUN, delivery("a"))
    source.revoked.add("a")
    assert not claim.take_up()


def test_a_run_that_is_only_told_of_is_secured_and_not_begun() -> None:
    async def go() -> None:
        source = MemorySource()
        claims = Claims(source)
        claim = claims.open(RUN, delivery("a"))
        assert await claim.secure()
        assert (source.secured, source.begun) == (["a"], [])
        source.revoked.add("a")
        assert not await claim.secure()
        assert source.secured == ["a"]

    asyncio.run(go())


def test_a_start_that_is_taken_back_leaves_no_mark() -> None:
    async def go() -> None:
        source = MemorySource()
        claims = Claims(source)
        claim = claims.open(RUN, delivery("a"))
        claim.take_back()
        assert source.withdrawn == []
        assert await claim.begin()
        claims.has(RUN, delivery("b"))
        claim.take_back()
        assert source.withdrawn == ["a", "b"]

    asyncio.run(go())
