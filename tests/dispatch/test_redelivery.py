from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.dispatch.decision import Begin, Conclude, Decision, LookAgain, Over
from agent.dispatch.dispatcher import DispatchSettings
from agent.dispatch.redelivery import Patience, Waits, decide, decide_on_refused, redelivery_word
from agent.domain.earlier import Earlier, Ending, Past
from agent.domain.events import RunRedelivered, WaitingChanged
from agent.domain.invocation import View
from agent.domain.json import Json
from agent.domain.outcome import Failed, FailureKind, Outcome, Succeeded
from agent.domain.route import Match, OnInterrupted, Route
from agent.domain.settlement import Settlement
from agent.ports import RunContext, Standing
from tests.dispatch.fakes import House, Work

INTERRUPTED = Earlier(Past.INTERRUPTED, 1, "agent-a")
HANDED_OVER = Earlier(Past.HANDED_OVER, 1, "agent-a")
UNKNOWN = Earlier(Past.UNKNOWN)
STOPPED = Earlier(Past.STOPPED, 1, "agent-a")
SENTENCE = "interrupted while running on agent-a"
IN_PART = ": that agent is gone, and the work may be done in part"
GIVE_UP = Conclude(Failed(SENTENCE + IN_PART, FailureKind.INTERRUPTED))


def route(**options: Any) -> Route:
    return Route(name="all", match=options.pop("match", Match()), executor="work", **options)


WAITS = Waits(margin_s=60.0, return_s=30.0, timeout_s=500.0, look_again_s=7.0)
FAIL = route(timeout_s=100.0)
RERUN = route(timeout_s=100.0, on_interrupted=OnInterrupted.RERUN, max_attempts=2)


@pytest.mark.parametrize(
    ("earlier", "standing", "rule", "waited_s", "expected"),
    [
        (INTERRUPTED, Standing.OVER, FAIL, 0, Over()),
        (HANDED_OVER, Standing.OVER, FAIL, 0, Over()),
        (UNKNOWN, Standing.OVER, RERUN, 0, Over()),
        (UNKNOWN, Standing.IN_PROGRESS, FAIL, 0, Begin()),
        (UNKNOWN, Standing.UNKNOWN, FAIL, 0, Begin()),
        (INTERRUPTED, Standing.IN_PROGRESS, FAIL, 0, GIVE_UP),
        (INTERRUPTED, Standing.UNKNOWN, FAIL, 0, GIVE_UP),
        (INTERRUPTED, Standing.IN_PROGRESS, RERUN, 0, Begin(2, f"attempt 2 of 2: the one before was {SENTENCE}")),
        (
            Earlier(Past.INTERRUPTED, 2, ""),
            Standing.IN_PROGRESS,
            RERUN,
            0,
            Conclude(
                Failed(
                    "interrupted while running on another agent, in the last of 2 attempts" + IN_PART,
                    FailureKind.INTERRUPTED,
                )
            ),
        ),
        (STOPPED, Standing.OVER, FAIL, 0, Over()),
        (STOPPED, Standing.IN_PROGRESS, FAIL, 0, Begin(2, "attempt 2: the one before was stopped in order")),
        (HANDED_OVER, Standing.IN_PROGRESS, FAIL, 0, LookAgain(7, is_first=True)),
        (HANDED_OVER, Standing.IN_PROGRESS, FAIL, 30, LookAgain(7)),
        (HANDED_OVER, Standing.IN_PROGRESS, FAIL, 120, LookAgain(20)),
        (HANDED_OVER, Standing.IN_PROGRESS, FAIL, 160, GIVE_UP),
        (HANDED_OVER, Standing.IN_PROGRESS, RERUN, 160, Begin(2, f"attempt 2 of 2: the one before was {SENTENCE}")),
        (HANDED_OVER, Standing.UNKNOWN, RERUN, 160, GIVE_UP),  # it may have ended, and nobody can tell
    ],
)
def test_the_rule(earlier: Earlier, standing: Standing, rule: Route, waited_s: float, expected: Decision) -> None:
    assert decide(earlier, standing, rule, Patience(waited_s, waited_s, WAITS)) == expected


@pytest.mark.parametrize(
    ("seen_s", "expected"), [(0, LookAgain(42, is_first=True)), (59.9, LookAgain(42)), (60, GIVE_UP)]
)
def test_after_an_outage_of_port_the_other_agent_gets_time_to_tell(seen_s: float, expected: Decision) -> None:
    assert decide(HANDED_OVER, Standing.IN_PROGRESS, FAIL, Patience(9_999, seen_s, WAITS)) == expected


SUCCEEDED = Succeeded("succeeded on agent-a, which could not tell Port; its links and outputs are lost")


@pytest.mark.parametrize(
    ("ending", "standing", "seen_s", "expected"),
    [
        (Ending.SUCCESS, Standing.OVER, 0, Over()),
        (Ending.SUCCESS, Standing.IN_PROGRESS, 29.9, LookAgain(42)),
        (Ending.SUCCESS, Standing.IN_PROGRESS, 30, Conclude(SUCCEEDED)),
        (Ending.SUCCESS, Standing.UNKNOWN, 30, Conclude(SUCCEEDED)),
        (Ending.FAILURE, Standing.IN_PROGRESS, 29.9, LookAgain(42)),
        (
            Ending.FAILURE,
            Standing.IN_PROGRESS,
            30,
            Conclude(Failed("failed on agent-a, which could not tell Port why")),
        ),
        (Ending.ACCEPTED, Standing.IN_PROGRESS, 0, Over()),
    ],
)
@pytest.mark.parametrize("rule", [FAIL, RERUN])
def test_what_has_ended_is_never_begun_again_and_told_if_its_agent_does_not_come_back(
    ending: Ending, standing: Standing, seen_s: float, expected: Decision, rule: Route
) -> None:
    earlier = Earlier(Past.ENDED, 1, "agent-a", ending)
    assert decide(earlier, standing, rule, Patience(9_999, seen_s, WAITS)) == expected


REFUSED = Failed("no route matched", FailureKind.NO_ROUTE)


@pytest.mark.parametrize(
    ("earlier", "standing", "waited_s", "expected"),
    [
        (INTERRUPTED, Standing.OVER, 0, Over()),
        (INTERRUPTED, Standing.IN_PROGRESS, 0, Conclude(REFUSED)),
        (UNKNOWN, Standing.UNKNOWN, 0, Conclude(REFUSED)),
        (STOPPED, Standing.IN_PROGRESS, 0, Conclude(REFUSED)),
        (HANDED_OVER, Standing.IN_PROGRESS, 30, LookAgain(7)),
        (HANDED_OVER, Standing.IN_PROGRESS, 560, Conclude(REFUSED)),
        (Earlier(Past.ENDED, 1, "agent-a", Ending.SUCCESS), Standing.IN_PROGRESS, 29, LookAgain(7)),
        (Earlier(Past.ENDED, 1, "agent-a", Ending.SUCCESS), Standing.IN_PROGRESS, 30, Conclude(SUCCEEDED)),
    ],
)
def test_what_we_cannot_execute_may_be_executed_by_another_agent_or_have_been(
    earlier: Earlier, standing: Standing, waited_s: float, expected: Decision
) -> None:
    assert decide_on_refused(earlier, standing, REFUSED, Patience(waited_s, waited_s, WAITS)) == expected


class Scene:
    """An agent of fakes, whose executor notes what it was given."""

    def __init__(self, tmp_path: Path, rule: Route = FAIL, slots: int = 50) -> None:
        self.executed: list[tuple[str, int]] = []
        self.house = House([(rule, Work(self._work))], tmp_path, DispatchSettings(max_concurrent_runs=slots))

    async def _work(self, run: RunContext) -> Outcome:
        self.executed.append((str(run.run_id), run.attempt))
        return Succeeded()

    def live(self, *deliveries: tuple[str, Earlier | None]) -> Scene:
        """Lives what is delivered to its settlement."""

        async def go() -> None:
            for name, earlier in deliveries:
                self.house.source.put(name, earlier=earlier)
            await self.house.settle(len(deliveries))

        asyncio.run(go())
        return self

    def stop_when(self, condition: Callable[[House], bool], name: str, earlier: Earlier | None) -> Scene:
        """Delivers it, and stops the agent once ``condition`` holds."""

        async def go() -> None:
            house = self.house
            house.source.put(name, earlier=earlier)
            agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
            await house.until(lambda: condition(house))
            house.stop.ask()
            assert await asyncio.wait_for(agent, 20) == 0

        asyncio.run(go())
        return self


def test_a_new_run_costs_no_lookup_and_is_the_first_attempt(tmp_path: Path) -> None:
    scene = Scene(tmp_path).live(("deploy-1", None))
    assert scene.executed == [("r_deploy-1", 1)]
    assert scene.house.lookup.asked == []


def test_a_run_that_ended_in_port_is_settled_without_a_word(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.house.lookup.standings["r_deploy-1"] = Standing.OVER
    scene.live(("deploy-1", INTERRUPTED))
    assert scene.executed == []
    assert scene.house.reporter.reports == {}
    assert scene.house.source.settled == {"deploy-1": Settlement.ACCEPT}
    assert scene.house.source.begun == []


def test_a_run_that_was_interrupted_fails_and_says_where(tmp_path: Path) -> None:
    scene = Scene(tmp_path).live(("deploy-1", INTERRUPTED))
    assert scene.executed == []
    assert scene.house.reporter.reports["r_deploy-1"].outcome == GIVE_UP.outcome
    assert scene.house.source.settled == {"deploy-1": Settlement.ACCEPT}


def test_a_run_that_was_interrupted_runs_once_more_where_its_route_says_so(tmp_path: Path) -> None:
    scene = Scene(tmp_path, RERUN).live(("deploy-1", INTERRUPTED))
    assert scene.executed == [("r_deploy-1", 2)]
    [line] = scene.house.reporter.reports["r_deploy-1"].lines
    assert line == ("INFO", f"attempt 2 of 2: the one before was {SENTENCE}")


def test_a_run_that_was_stopped_in_order_runs_again_unless_it_was_closed_meanwhile(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.house.lookup.standings["r_deploy-2"] = Standing.OVER
    scene.live(("deploy-1", STOPPED), ("deploy-2", STOPPED))
    assert scene.executed == [("r_deploy-1", 2)]


def test_a_run_that_another_agent_may_be_at_is_waited_for_without_a_slot(tmp_path: Path) -> None:
    scene = Scene(tmp_path, slots=1)

    async def go() -> None:
        house = scene.house
        house.source.put("deploy-1", earlier=HANDED_OVER)
        house.source.put("deploy-2")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: "deploy-2" in house.source.settled)
        assert "deploy-1" not in house.source.settled
        await house.until(lambda: len(house.lookup.asked) >= 3)
        house.lookup.standings["r_deploy-1"] = Standing.OVER
        await house.until(lambda: "deploy-1" in house.source.settled)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())
    assert scene.executed == [("r_deploy-2", 1)]
    assert scene.house.reporter.reports.keys() == {"r_deploy-2"}


def asked(house: House) -> bool:
    return bool(house.lookup.asked)


def test_a_drain_does_not_wait_for_ports_word(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.house.lookup.hold = asyncio.Event()
    scene.stop_when(asked, "deploy-1", INTERRUPTED)
    assert scene.house.source.settled == {"deploy-1": Settlement.RELEASE}
    assert scene.executed == []


def test_a_drain_does_not_wait_for_another_agents_run(tmp_path: Path) -> None:
    scene = Scene(tmp_path).stop_when(lambda house: len(house.lookup.asked) >= 2, "deploy-1", HANDED_OVER)
    assert scene.house.source.settled == {"deploy-1": Settlement.RELEASE}


def test_a_drain_does_not_wait_for_a_start_to_become_known(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.house.source.hold = asyncio.Event()
    scene.stop_when(lambda house: bool(house.source.begun), "deploy-1", None)
    assert scene.house.source.withdrawn == ["deploy-1"]
    assert scene.house.source.settled == {"deploy-1": Settlement.RELEASE}
    assert scene.executed == []


def test_a_defect_while_port_is_asked_ends_the_run_as_failure(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.house.lookup.error = RuntimeError("a bug")
    scene.live(("deploy-1", INTERRUPTED))
    outcome = scene.house.reporter.reports["r_deploy-1"].outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.EXCEPTION


@pytest.mark.parametrize(
    ("earlier", "standing", "rule", "outcome"),
    [
        (UNKNOWN, Standing.OVER, FAIL, ["over"]),
        (UNKNOWN, Standing.IN_PROGRESS, FAIL, ["unsure"]),
        (STOPPED, Standing.IN_PROGRESS, FAIL, ["begun"]),
        (INTERRUPTED, Standing.IN_PROGRESS, RERUN, ["begun"]),
        (INTERRUPTED, Standing.IN_PROGRESS, FAIL, ["interrupted"]),
        (Earlier(Past.ENDED, 1, "agent-a", Ending.ACCEPTED), Standing.IN_PROGRESS, FAIL, ["over"]),
        (None, Standing.IN_PROGRESS, FAIL, []),
    ],
)
def test_what_becomes_of_a_run_that_comes_again_is_a_fact(
    tmp_path: Path, earlier: Earlier | None, standing: Standing, rule: Route, outcome: list[str]
) -> None:
    scene = Scene(tmp_path, rule)
    scene.house.lookup.standings["r_deploy-1"] = standing
    scene.live(("deploy-1", earlier))
    told = scene.house.events.of(RunRedelivered)
    assert [(fact.run_id, fact.outcome) for fact in told] == [("r_deploy-1", word) for word in outcome]


@pytest.mark.parametrize(
    ("earlier", "standing", "outcome"),
    [
        (UNKNOWN, Standing.OVER, ["over"]),
        (UNKNOWN, Standing.IN_PROGRESS, ["concluded"]),
        (None, Standing.IN_PROGRESS, []),
    ],
)
def test_so_is_what_becomes_of_one_that_no_executor_takes(
    tmp_path: Path, earlier: Earlier | None, standing: Standing, outcome: list[str]
) -> None:
    scene = Scene(tmp_path, NOT_FOR_THIS)
    scene.house.lookup.standings["r_deploy-1"] = standing
    scene.live(("deploy-1", earlier))
    assert [fact.outcome for fact in scene.house.events.of(RunRedelivered)] == outcome


@pytest.mark.parametrize(("outcome", "word"), [(SUCCEEDED, "concluded"), (GIVE_UP.outcome, "interrupted")])
def test_an_end_that_is_told_for_another_agent_is_told_from_an_interruption(
    outcome: Succeeded | Failed, word: str
) -> None:
    assert redelivery_word(INTERRUPTED, Conclude(outcome)) == word


NOT_FOR_THIS = route(match=Match(actions=("restart",)))


@pytest.mark.parametrize(("standing", "told"), [(Standing.OVER, False), (Standing.IN_PROGRESS, True)])
def test_an_old_message_that_no_route_takes_fails_its_run_unless_that_has_ended(
    tmp_path: Path, standing: Standing, *, told: bool
) -> None:
    scene = Scene(tmp_path, NOT_FOR_THIS)
    scene.house.lookup.standings["r_deploy-1"] = standing
    scene.live(("deploy-1", UNKNOWN))
    assert ("r_deploy-1" in scene.house.reporter.reports) is told
    assert scene.house.source.settled == {"deploy-1": Settlement.ACCEPT}


def test_a_drain_does_not_wait_for_ports_word_about_what_is_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path, NOT_FOR_THIS)
    scene.house.lookup.hold = asyncio.Event()
    scene.stop_when(asked, "deploy-1", UNKNOWN)
    assert scene.house.source.settled == {"deploy-1": Settlement.RELEASE}
    assert scene.house.reporter.reports == {}


def test_a_defect_while_port_is_asked_about_what_is_refused_keeps_nothing_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path, NOT_FOR_THIS)
    scene.house.lookup.error = RuntimeError("a bug")
    scene.live(("deploy-1", UNKNOWN))
    outcome = scene.house.reporter.reports["r_deploy-1"].outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.NO_ROUTE


@pytest.mark.parametrize("earlier", [INTERRUPTED, Earlier(Past.STOPPED, 1, "agent-a"), UNKNOWN])
def test_a_repetition_asks_once_more_when_its_start_is_marked(tmp_path: Path, earlier: Earlier) -> None:
    """Its former agent may be back since, and have told how it ended."""
    scene = Scene(tmp_path, RERUN)
    house = scene.house

    async def go() -> None:
        house.source.hold = asyncio.Event()
        house.source.put("deploy-1", earlier=earlier)
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.source.begun == ["deploy-1"])
        house.lookup.standings["r_deploy-1"] = Standing.OVER
        house.source.hold.set()
        await house.until(lambda: "deploy-1" in house.source.settled)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())
    assert house.source.settled == {"deploy-1": Settlement.ACCEPT}
    assert len(scene.executed) == (0 if earlier is INTERRUPTED else 1)
    assert len(house.lookup.asked) == (2 if earlier is INTERRUPTED else 1)


def test_a_drain_while_it_asks_once_more_takes_the_start_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path, RERUN)
    house = scene.house

    async def go() -> None:
        house.source.hold = asyncio.Event()
        house.source.put("deploy-1", earlier=INTERRUPTED)
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.source.begun == ["deploy-1"])
        house.lookup.hold = asyncio.Event()
        house.source.hold.set()
        await house.until(lambda: len(house.lookup.asked) == 2)
        house.stop.ask()
        assert await asyncio.wait_for(agent, 5) == 0

    asyncio.run(go())
    assert house.source.withdrawn == ["deploy-1"]
    assert house.source.settled == {"deploy-1": Settlement.RELEASE}
    assert scene.executed == []


def test_a_run_that_has_no_route_here_and_goes_on_elsewhere_is_left_to_end_there(tmp_path: Path) -> None:
    scene = Scene(tmp_path, route(match=Match(actions=("other",))))
    house = scene.house

    async def go() -> None:
        house.source.put("deploy-1", earlier=HANDED_OVER)
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: len(house.lookup.asked) >= 2)
        assert house.reporter.reports == {}
        house.lookup.standings["r_deploy-1"] = Standing.OVER
        await house.until(lambda: "deploy-1" in house.source.settled)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())
    assert house.source.settled == {"deploy-1": Settlement.ACCEPT}
    assert house.reporter.reports == {}


def test_a_drain_does_not_wait_for_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path, route(match=Match(actions=("other",))))
    scene.stop_when(lambda house: len(house.lookup.asked) >= 2, "deploy-1", HANDED_OVER)
    assert scene.house.source.settled == {"deploy-1": Settlement.RELEASE}
    assert scene.house.reporter.reports == {}


def test_runs_that_are_asked_about_take_no_slot_from_new_ones_and_not_all_are_asked_at_once(tmp_path: Path) -> None:
    """While Port is away, new runs go on."""
    scene = Scene(tmp_path, slots=2)
    house = scene.house

    async def go() -> None:
        house.lookup.hold = asyncio.Event()
        for number in range(50):
            house.source.put(f"old-{number}", earlier=UNKNOWN)
        for number in range(5):
            house.source.put(f"new-{number}")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: len(house.source.settled) == 5)
        await house.until(lambda: len(house.lookup.asked) == 20)
        assert house.events.of(WaitingChanged)[-1].count == 50
        assert house.events.of(WaitingChanged)[-1].for_slot == 0, "they wait for Port"
        house.lookup.hold.set()
        await house.until(lambda: len(house.source.settled) == 55)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())
    assert len(scene.executed) == 55


def test_runs_of_a_key_wait_for_the_one_that_is_asked_about(tmp_path: Path) -> None:
    class Same:
        def render(self, view: View) -> Json:
            del view
            return "same"

    scene = Scene(tmp_path, route(key=Same()))
    house = scene.house

    async def go() -> None:
        house.lookup.hold = asyncio.Event()
        house.source.put("old", earlier=UNKNOWN)
        house.source.put("new")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: bool(house.lookup.asked) and house.source.queue.empty())
        assert scene.executed == []
        house.lookup.hold.set()
        await house.until(lambda: len(house.source.settled) == 2)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())
    assert scene.executed == [("r_old", 1), ("r_new", 1)]
