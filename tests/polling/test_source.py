"""What the source makes of answers that come late, never, or twice; beyond the contract of all sources."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from agent.domain.earlier import Ending, Past
from agent.domain.errors import SourceLostError
from agent.domain.events import ClaimAcknowledged, ClaimsAsked, ClaimsKept, SourceFailed
from agent.domain.invocation import Channel, InvocationKind, RunId
from agent.domain.json import JsonObject
from agent.domain.settlement import Settlement
from agent.polling.api import Acknowledged, Claimed, ClaimedRun, NotClaimed, Verdict
from agent.polling.claims_file import ClaimsFile, Kept, Mark
from agent.polling.pace import Pace
from agent.polling.source import PollingSettings, PollingSource
from agent.ports import Delivery
from tests.runs_api.rig import Facts, ShiftedClock, until

ACTION, NODE = InvocationKind.ACTION_RUN, InvocationKind.NODE_RUN
SETTINGS = PollingSettings(Pace(0.02, 0.02, 2.0, 0.05, 0.0, 0.01), slots=3, visibility_s=60.0, agent_name="pod-1")


@dataclass
class FakePort:
    """Gives what the test puts into ``pending`` and ``verdicts``, and remembers what it was asked."""

    pending: list[ClaimedRun] = field(default_factory=list)
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    failure: NotClaimed | None = None
    claims: list[tuple[InvocationKind, int, list[RunId]]] = field(default_factory=list)
    acknowledged: list[RunId] = field(default_factory=list)
    hold: asyncio.Event | None = None

    def pend(self, *names: str, kind: InvocationKind = ACTION) -> None:
        method: JsonObject = {"type": "WEBHOOK", "agent": True}
        document: JsonObject = {"payload": method, "config": method}
        self.pending += [ClaimedRun(kind, RunId(name), document) for name in names]

    def asked_for(self, kind: InvocationKind) -> int:
        return sum(asked is kind for asked, _, _ in self.claims)

    async def claim(
        self, kind: InvocationKind, limit: int, visibility_s: float, exclude: Collection[RunId]
    ) -> Claimed | NotClaimed:
        assert visibility_s == 60.0
        self.claims.append((kind, limit, [*exclude]))
        if self.failure is not None:
            return self.failure
        given = [run for run in self.pending if run.kind is kind][:limit]
        self.pending = [run for run in self.pending if run not in given]
        return Claimed(tuple(given))

    async def acknowledge(self, kind: InvocationKind, run_id: RunId, timeout_s: float) -> Acknowledged:
        assert kind in (ACTION, NODE)
        assert timeout_s > 0
        self.acknowledged.append(run_id)
        if self.hold is not None:
            await self.hold.wait()
        script = self.verdicts.get(run_id, [])
        return Acknowledged(script.pop(0) if script else Verdict.OURS)


@dataclass
class Stage:
    port: FakePort
    source: PollingSource
    facts: Facts
    clock: ShiftedClock
    directory: Path

    async def next(self) -> Delivery:
        delivery = await asyncio.wait_for(self.source.next(), 10)
        assert delivery is not None
        return delivery

    async def nothing_comes(self) -> None:
        """Through three more rounds of claims."""
        before = len(self.port.claims)
        waiting = asyncio.create_task(self.source.next())
        await until(lambda: len(self.port.claims) > before + 6)
        assert not waiting.done()
        waiting.cancel()

    async def nothing_comes_of(self, kind: InvocationKind) -> None:
        """Through three claims of this kind."""
        before = self.port.asked_for(kind)
        waiting = asyncio.create_task(self.source.next())
        await until(lambda: self.port.asked_for(kind) > before + 3)
        assert not waiting.done()
        waiting.cancel()


@asynccontextmanager
async def stage(
    directory: Path, port: FakePort | None = None, settings: PollingSettings = SETTINGS
) -> AsyncIterator[Stage]:
    port, facts, clock = port or FakePort(), Facts(), ShiftedClock()
    open_file = partial(ClaimsFile.open_first_free, directory, 1 << 24)
    source = PollingSource(settings, port, open_file, facts, clock)
    await source.start()
    try:
        yield Stage(port, source, facts, clock, directory)
    finally:
        await source.close(10)


def marks_in(directory: Path) -> dict[str, Mark]:
    file = ClaimsFile.open_first_free(directory, 1 << 24)
    try:
        return {one.run_id: one.mark for one in file.read()}
    finally:
        file.close()


def test_both_kinds_come_with_what_the_dispatcher_needs(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1")
            on.port.pend("wfnr_1", kind=NODE)
            both = [await on.next(), await on.next()]
            assert {one.origin for one in both} == {"polling[r_1]", "polling[wfnr_1]"}
            assert {one.channel for one in both} == {Channel.POLLED}
            assert on.port.acknowledged == []

    asyncio.run(go())


def test_claims_are_bounded_by_free_slots_and_by_what_waits(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1", "r_2", "r_3", "r_4")
            taken = [await on.next() for _ in range(3)]
            assert await on.source.begin(taken[0].receipt)
            claims = len(on.port.claims)
            await asyncio.sleep(0.1)  # five intervals
            assert len(on.port.claims) == claims
            on.source.settle(taken[1].receipt, Settlement.RELEASE)
            assert (await on.next()).origin == "polling[r_4]"
            assert max(limit for _, limit, _ in on.port.claims) == 3
            assert on.port.claims[claims][1] == 1

    asyncio.run(go())


def test_a_claim_that_ended_is_not_ours_and_its_run_comes_anew(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1")
            first = await on.next()
            on.clock.ahead_s = 61.0
            assert not await on.source.begin(first.receipt)
            on.port.pend("r_1")
            second = await on.next()
            assert await on.source.begin(second.receipt)
            assert not on.source.is_ours(first.receipt)
            assert not await on.source.begin(first.receipt)
            assert on.port.acknowledged == ["r_1"]

    asyncio.run(go())


def test_a_run_that_waits_is_claimed_anew_and_keeps_its_place(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1")
            first = await on.next()
            on.clock.ahead_s = 61.0
            on.port.pend("r_1", "r_2")
            assert (await on.next()).origin == "polling[r_2]"
            assert await on.source.begin(first.receipt)

    asyncio.run(go())


def test_what_is_held_up_though_slots_are_free_keeps_no_other_out(tmp_path: Path) -> None:
    """As by the limit of its route. It is not asked for once more meanwhile."""

    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1", "r_2", "r_3", "r_4")
            held_up = [await on.next() for _ in range(3)]
            assert await on.source.begin(held_up[0].receipt)
            on.clock.ahead_s = 3.0
            assert (await on.next()).origin == "polling[r_4]"
            assert on.port.claims[-1][1] <= 2  # one works
            await until(lambda: sorted(on.port.claims[-1][2]) == ["r_2", "r_3", "r_4"])
            assert await on.source.begin(held_up[1].receipt)

    asyncio.run(go())


def test_what_is_being_acknowledged_has_its_slot_however_long_that_takes(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path, FakePort(hold=asyncio.Event()), replace(SETTINGS, slots=1)) as on:
            on.port.pend("r_1", "r_2")
            beginning = asyncio.ensure_future(on.source.begin((await on.next()).receipt))
            await until(lambda: on.port.acknowledged == ["r_1"])
            on.clock.ahead_s = 3.0
            waiting = asyncio.create_task(on.source.next())
            await asyncio.sleep(0.1)  # five intervals
            assert not waiting.done()
            waiting.cancel()
            assert on.port.hold is not None
            on.port.hold.set()
            assert await beginning

    asyncio.run(go())


@pytest.mark.parametrize("bound", ["_HELD_UP", "_HELD_UP_BYTES"])
def test_what_is_held_up_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    monkeypatch.setattr(f"agent.polling.room.{bound}", 3)

    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1", "r_2", "r_3", "r_4")
            held_up = [await on.next() for _ in range(3)]
            on.clock.ahead_s = 3.0
            waiting = asyncio.create_task(on.source.next())
            await asyncio.sleep(0.1)  # five intervals
            assert not waiting.done()
            on.source.settle(held_up[0].receipt, Settlement.RELEASE)
            assert await asyncio.wait_for(waiting, 10) is not None

    asyncio.run(go())


def test_with_more_of_both_kinds_than_there_are_slots_they_take_turns(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path, settings=replace(SETTINGS, slots=1)) as on:
            on.port.pend(*(f"r_{n}" for n in range(9)))
            on.port.pend(*(f"wfnr_{n}" for n in range(9)), kind=NODE)
            came = []
            for nudges in (0, 1, 2, 0, 1, 2, 1, 1):
                delivery = await on.next()
                came.append(delivery.origin)
                assert await on.source.begin(delivery.receipt)
                for _ in range(nudges):  # how often it is looked in vain must not matter
                    on.source._nudge.set()
                    await until(lambda: not on.source._nudge.is_set())
                on.source.settle(delivery.receipt, Settlement.ACCEPT)
        kinds = [origin.startswith("polling[wfnr_") for origin in came]
        assert kinds in ([False, True] * 4, [True, False] * 4)

    asyncio.run(go())


@pytest.mark.parametrize("verdict", [Verdict.TAKEN, Verdict.REFUSED])
def test_what_is_not_acknowledged_is_not_begun_nor_kept(tmp_path: Path, verdict: Verdict) -> None:
    async def go() -> None:
        async with stage(tmp_path, FakePort(verdicts={"r_1": [verdict]})) as on:
            on.port.pend("r_1")
            delivery = await on.next()
            assert not await on.source.begin(delivery.receipt)
            assert not on.source.is_ours(delivery.receipt)
            assert on.facts.of(ClaimAcknowledged)[0].result == verdict
            await on.nothing_comes()
        assert marks_in(tmp_path) == {}

    asyncio.run(go())


def test_refused_after_a_lost_answer_it_is_ours_within_its_claim(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path, FakePort(verdicts={"r_1": [Verdict.PERHAPS]})) as on:
            on.port.pend("r_1")
            assert await on.source.begin((await on.next()).receipt)

    asyncio.run(go())


def test_refused_after_a_lost_answer_and_after_its_claim_another_agent_may_be_at_it(tmp_path: Path) -> None:
    async def go() -> None:
        port = FakePort(verdicts={"r_1": [Verdict.PERHAPS, Verdict.TAKEN]}, hold=asyncio.Event())
        async with stage(tmp_path, port) as on:
            on.port.pend("r_1")
            delivery = await on.next()
            beginning = asyncio.ensure_future(on.source.begin(delivery.receipt))
            await until(lambda: on.port.acknowledged == ["r_1"])
            on.clock.ahead_s = 61.0
            assert port.hold is not None
            port.hold.set()
            assert not await beginning
            again = await on.next()
            assert again.earlier is not None
            assert again.earlier.past is Past.HANDED_OVER
            assert on.source.is_ours(again.receipt)

    asyncio.run(go())


def test_an_acknowledgement_that_is_never_answered_is_sent_again_until_it_is(tmp_path: Path) -> None:
    async def go() -> None:
        port = FakePort(verdicts={"r_1": [Verdict.UNANSWERED, Verdict.UNANSWERED, Verdict.OURS]})
        async with stage(tmp_path, port) as on:
            on.port.pend("r_1")
            assert not await on.source.begin((await on.next()).receipt)
            again = await on.next()
            assert again.earlier is None
            assert await on.source.begin(again.receipt)
            assert on.port.acknowledged == ["r_1"] * 3

    asyncio.run(go())


def test_one_that_is_never_answered_for_holds_up_no_other(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.verdicts = {"r_1": [Verdict.UNANSWERED] * 999, "r_2": [Verdict.UNANSWERED]}
            on.port.pend("r_1", "r_2")
            for _ in range(2):
                assert not await on.source.begin((await on.next()).receipt)
            assert (await on.next()).origin == "polling[r_2]"

    asyncio.run(go())


def test_questions_that_are_not_answered_become_rare_and_do_not_hold_up_claims(tmp_path: Path) -> None:
    async def go() -> None:
        rare = replace(SETTINGS, pace=replace(SETTINGS.pace, first_backoff_s=3600.0, max_backoff_s=3600.0))
        async with stage(tmp_path, settings=rare) as on:
            on.port.verdicts = {"r_1": [Verdict.UNANSWERED] * 2}
            on.port.pend("r_1")
            assert not await on.source.begin((await on.next()).receipt)
            await until(lambda: len(on.port.acknowledged) == 2)
            await on.nothing_comes()
            assert len(on.port.acknowledged) == 2
            on.clock.ahead_s = 61.0
            assert (await on.next()).origin == "polling[r_1]"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("verdict", "is_ours"),
    [(Verdict.OURS, True), (Verdict.TAKEN, True), (Verdict.PERHAPS, True), (Verdict.REFUSED, False)],
)
def test_what_an_earlier_life_had_asked_for_is_asked_for_again(
    tmp_path: Path, verdict: Verdict, *, is_ours: bool
) -> None:
    """Within the claim's time nobody else was given it."""

    async def go() -> None:
        async with stage(tmp_path, FakePort(hold=asyncio.Event())) as on:
            on.port.pend("r_1")
            beginning = asyncio.ensure_future(on.source.begin((await on.next()).receipt))
            await until(lambda: on.port.acknowledged == ["r_1"])
            await on.source.close(0.2)
            [came] = await asyncio.gather(beginning, return_exceptions=True)
            assert came is not True
        assert marks_in(tmp_path) == {"r_1": Mark.ASKED}
        async with stage(tmp_path, FakePort(verdicts={"r_1": [verdict]})) as on:
            if is_ours:
                assert (await on.next()).earlier is None
            else:
                await on.nothing_comes()
        assert marks_in(tmp_path) == ({"r_1": Mark.OURS} if is_ours else {})

    asyncio.run(go())


def test_one_that_is_pending_again_was_not_acknowledged(tmp_path: Path) -> None:
    async def go() -> None:
        port = FakePort(verdicts={"r_1": [Verdict.UNANSWERED] * 3})
        async with stage(tmp_path, port) as on:
            on.port.pend("r_1")
            assert not await on.source.begin((await on.next()).receipt)
            on.port.pend("r_1")
            again = await on.next()
            assert again.earlier is None
            on.port.verdicts.clear()
            assert await on.source.begin(again.receipt)
            await on.nothing_comes()

    asyncio.run(go())


def test_pending_again_and_left_to_others_it_is_not_kept(tmp_path: Path) -> None:
    """Else the next life would ask for it, and take it for one that another agent has lost."""

    async def go() -> None:
        port = FakePort(verdicts={"r_1": [Verdict.UNANSWERED] * 9})
        async with stage(tmp_path, port) as on:
            on.port.pend("r_1")
            assert not await on.source.begin((await on.next()).receipt)
            on.port.pend("r_1")
            on.source.settle((await on.next()).receipt, Settlement.ACCEPT)
        assert marks_in(tmp_path) == {}

    asyncio.run(go())


def test_an_acknowledgement_that_came_to_pass_after_the_run_was_claimed_anew_is_ours(tmp_path: Path) -> None:
    async def go() -> None:
        port = FakePort(verdicts={"r_1": [Verdict.UNANSWERED] * 99})
        async with stage(tmp_path, port) as on:
            on.port.pend("r_1")
            assert not await on.source.begin((await on.next()).receipt)
            on.port.pend("r_1")
            again = await on.next()
            on.port.verdicts["r_1"][:] = [Verdict.TAKEN]
            assert await on.source.begin(again.receipt)

    asyncio.run(go())


def test_a_claim_that_ended_while_the_machine_slept_makes_nothing_ours(tmp_path: Path) -> None:
    """The clock that only goes forward may stand still meanwhile."""

    async def go() -> None:
        port = FakePort(verdicts={"r_1": [Verdict.PERHAPS] * 2}, hold=asyncio.Event())
        async with stage(tmp_path, port) as on:
            on.port.pend("r_1")
            beginning = asyncio.ensure_future(on.source.begin((await on.next()).receipt))
            await until(lambda: on.port.acknowledged == ["r_1"])
            on.clock.epoch = lambda: time.time() + 61.0  # type: ignore[method-assign]  # it alone goes on
            assert port.hold is not None
            port.hold.set()
            assert not await beginning

    asyncio.run(go())


def test_a_disk_that_hangs_holds_up_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.polling.source._DISK_S", 0.1)
    gate = threading.Event()

    class Hanging(ClaimsFile):
        def write(self, puts: Iterable[Kept], drops: Iterable[RunId]) -> None:
            gate.wait(20)
            super().write(puts, drops)

    async def go() -> None:
        port, facts = FakePort(), Facts()
        port.pend("r_1")
        open_file = partial(Hanging.open_first_free, tmp_path, 1 << 24)
        source = PollingSource(SETTINGS, port, open_file, facts, ShiftedClock())
        await source.start()
        delivery = await asyncio.wait_for(source.next(), 10)
        assert delivery is not None
        assert await asyncio.wait_for(source.begin(delivery.receipt), 10)
        assert "disk has not answered" in facts.of(ClaimsKept)[-1].problem
        gate.set()
        await until(lambda: facts.of(ClaimsKept)[-1].problem == "")
        await source.close(10)
        assert marks_in(tmp_path) == {"r_1": Mark.BEGUN}

    asyncio.run(go())


def test_what_is_passed_over_is_left_out_of_claims_for_a_while(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1")
            on.source.settle((await on.next()).receipt, Settlement.ACCEPT)
            claims = len(on.port.claims)
            await until(lambda: len(on.port.claims) > claims + 2)
            assert on.port.claims[-1][2] == ["r_1"]
            on.port.pend("r_1")  # as nodes of workflows come again
            await on.nothing_comes()
            on.clock.ahead_s = 301.0
            await until(lambda: on.port.claims[-1][2] == [])
            on.port.pend("r_1")
            assert (await on.next()).origin == "polling[r_1]"
        assert marks_in(tmp_path) == {}

    asyncio.run(go())


def test_nodes_of_others_are_left_to_them_when_they_come_to_light_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They cannot be left out of a claim. But it is made in the end: the others may be gone."""
    monkeypatch.setattr("agent.polling.source._YIELD_S", 29.0)

    async def go() -> None:
        async with stage(tmp_path) as on:
            nodes = partial(on.port.asked_for, NODE)
            on.port.pend("wfnr_1", kind=NODE)
            on.source.settle((await on.next()).receipt, Settlement.ACCEPT)
            seen = nodes()
            await until(lambda: nodes() > seen + 2)  # it is hidden: whoever asks takes nothing from anybody
            on.clock.ahead_s = 60.5
            await on.nothing_comes_of(ACTION)
            seen = nodes()
            await on.nothing_comes_of(ACTION)
            assert nodes() == seen
            on.clock.ahead_s = 95.0
            on.port.pend("wfnr_1", "wfnr_2", kind=NODE)
            assert (await on.next()).origin == "polling[wfnr_2]"
            on.clock.ahead_s = 156.0  # what is passed over, and was claimed again, is hidden again
            await on.nothing_comes_of(ACTION)
            seen = nodes()
            await on.nothing_comes_of(ACTION)
            assert nodes() == seen

    asyncio.run(go())


def test_a_refused_kind_does_not_stop_the_other(tmp_path: Path) -> None:
    async def go() -> None:
        class HalfPort(FakePort):
            async def claim(
                self, kind: InvocationKind, limit: int, visibility_s: float, exclude: Collection[RunId]
            ) -> Claimed | NotClaimed:
                answer = await super().claim(kind, limit, visibility_s, exclude)
                return NotClaimed("403: no", wait_s=5.0) if kind is NODE else answer

        async with stage(tmp_path, HalfPort()) as on:
            on.port.pend("r_1")
            await on.next()
            failed = [event for event in on.facts.of(ClaimsAsked) if event.result == "failed"]
            assert [(event.kind, event.wait_s) for event in failed] == [("node_run", 5.0)]

    asyncio.run(go())


def test_after_failing_for_too_long_the_source_is_lost(tmp_path: Path) -> None:
    async def go() -> None:
        settings = replace(SETTINGS, max_failure_s=100.0)
        async with stage(tmp_path, FakePort(failure=NotClaimed("503")), settings) as on:
            await on.nothing_comes()
            on.clock.ahead_s = 101.0
            with pytest.raises(SourceLostError, match="POLLING_MAX_FAILURE_DURATION_SECONDS"):
                await on.next()
            assert [event.fatal for event in on.facts.of(SourceFailed)] == [True]

    asyncio.run(go())


def test_while_a_run_executes_it_does_not_give_up(tmp_path: Path) -> None:
    async def go() -> None:
        settings = replace(SETTINGS, max_failure_s=100.0)
        async with stage(tmp_path, FakePort(), settings) as on:
            on.port.pend("r_1")
            delivery = await on.next()
            assert await on.source.begin(delivery.receipt)
            on.port.failure = NotClaimed("503")
            await on.nothing_comes()
            on.clock.ahead_s = 101.0
            await on.nothing_comes()
            on.source.settle(delivery.receipt, Settlement.ACCEPT)
            with pytest.raises(SourceLostError):
                await on.next()

    asyncio.run(go())


def test_the_time_without_a_question_is_none_of_failure(tmp_path: Path) -> None:
    """Slots may be taken for hours: the first question after that that fails is no reason to give up."""

    async def go() -> None:
        settings = replace(SETTINGS, slots=1, max_failure_s=100.0)
        async with stage(tmp_path, FakePort(), settings) as on:
            on.port.pend("r_1")
            delivery = await on.next()
            assert await on.source.begin(delivery.receipt)
            on.port.failure = NotClaimed("503")
            on.clock.ahead_s = 7200.0
            on.source.settle(delivery.receipt, Settlement.ACCEPT)
            await on.nothing_comes()

    asyncio.run(go())


def test_zero_never_gives_up(tmp_path: Path) -> None:
    async def go() -> None:
        settings = replace(SETTINGS, max_failure_s=0.0)
        async with stage(tmp_path, FakePort(failure=NotClaimed("503")), settings) as on:
            on.clock.ahead_s = 1e6
            await on.nothing_comes()

    asyncio.run(go())


def test_a_defect_in_polling_loses_the_source_and_does_not_hang_it(tmp_path: Path) -> None:
    async def go() -> None:
        class Broken(FakePort):
            async def claim(self, *_: object) -> Claimed | NotClaimed:
                raise ZeroDivisionError

        async with stage(tmp_path, Broken()) as on:
            with pytest.raises(SourceLostError, match="ZeroDivisionError"):
                await on.next()

    asyncio.run(go())


def test_withdrawn_while_it_is_acknowledged_it_is_kept_for_the_next_life(tmp_path: Path) -> None:
    async def go() -> None:
        async with stage(tmp_path, FakePort(hold=asyncio.Event())) as on:
            on.port.pend("r_1")
            delivery = await on.next()
            beginning = asyncio.ensure_future(on.source.begin(delivery.receipt))
            await until(lambda: on.port.acknowledged == ["r_1"])
            beginning.cancel()
            on.source.withdraw(delivery.receipt)
            on.source.settle(delivery.receipt, Settlement.RELEASE)
            assert on.port.hold is not None
            on.port.hold.set()
        assert marks_in(tmp_path) == {"r_1": Mark.OURS}
        async with stage(tmp_path) as on:
            again = await on.next()
            assert again.earlier is not None
            assert again.earlier.past is Past.UNKNOWN
            assert await on.source.begin(again.receipt)
            assert on.port.acknowledged == []

    asyncio.run(go())


@pytest.mark.parametrize("comes_to", ["repeated", "withdrawn", "secured"])
def test_how_far_it_was_is_known_to_the_next_life(tmp_path: Path, comes_to: str) -> None:
    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1")
            receipt = (await on.next()).receipt
            if comes_to == "secured":
                assert await on.source.secure(receipt)
            else:
                assert await on.source.begin(receipt)
            if comes_to == "repeated":
                on.source.settle(receipt, Settlement.REPEAT)
            if comes_to == "withdrawn":
                on.source.withdraw(receipt)
        async with stage(tmp_path) as on:
            earlier = (await on.next()).earlier
            assert earlier is not None
            expected = (Past.STOPPED, 1) if comes_to == "repeated" else (Past.UNKNOWN, 0)
            assert (earlier.past, earlier.begun) == expected
            assert on.port.acknowledged == []

    asyncio.run(go())


def test_what_was_acknowledged_and_is_given_back_comes_again_from_here(tmp_path: Path) -> None:
    """Nobody stops, so that no other life would take it up."""

    async def go() -> None:
        async with stage(tmp_path) as on:
            on.port.pend("r_1")
            delivery = await on.next()
            assert await on.source.begin(delivery.receipt)
            on.source.settle(delivery.receipt, Settlement.RELEASE)
            await on.nothing_comes()
            on.clock.ahead_s = 61.0
            again = await on.next()
            assert again.earlier is not None
            assert (again.earlier.past, again.earlier.begun) == (Past.INTERRUPTED, 1)
            on.source.settle(again.receipt, Settlement.ACCEPT)
        assert marks_in(tmp_path) == {}

    asyncio.run(go())


def test_a_run_whose_work_has_ended_takes_no_slot_and_more_is_claimed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its report may take long; and the next question is not due for an hour."""
    monkeypatch.setattr("agent.polling.pace._LOOK_S", 3600.0)

    async def go() -> None:
        rare = replace(SETTINGS, slots=1, pace=replace(SETTINGS.pace, interval_s=3600.0))
        port = FakePort()
        port.pend("r_1", "r_2")
        async with stage(tmp_path, port, rare) as on:
            first = await on.next()
            assert await on.source.begin(first.receipt)
            soon_s = on.clock.monotonic() + 1000.0
            await until(lambda: all(line.next_at_s > soon_s for line in on.source._lines))
            on.source.end(first.receipt, Ending.SUCCESS)
            assert (await on.next()).origin == "polling[r_2]"

    asyncio.run(go())
