from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from agent.dispatch.dispatcher import DispatchSettings
from agent.dispatch.job import Job
from agent.dispatch.life import Ended
from agent.domain.earlier import Earlier, Ending, Past
from agent.domain.errors import TemplateError, UnevaluatedError
from agent.domain.events import (
    DrainStarted,
    MessageIgnored,
    MessageRejected,
    RunFinished,
    RunReceived,
    RunReported,
    RunStarted,
    WaitingChanged,
)
from agent.domain.invocation import Channel, View
from agent.domain.json import Json
from agent.domain.outcome import (
    Accepted,
    Cancelled,
    CancelReason,
    Failed,
    FailureKind,
    Outcome,
    Rejected,
    Succeeded,
)
from agent.domain.route import EntityRule, EntityVerb, Match, ReportRule, Route
from agent.domain.settlement import Delivered, Refused, Reported, Settlement, Undelivered
from agent.domain.timeline import Timeline
from agent.ports import Delivery, Executor, RunContext
from tests.dispatch.fakes import House, Report, Work


class Value:
    """A template of one constant, or of an error."""

    def __init__(self, value: Json | Exception | Callable[[View], Json]) -> None:
        self._value = value

    def render(self, view: View) -> Json:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value(view) if callable(self._value) else self._value


def returning(outcome: Any) -> Work:
    async def do(run: RunContext) -> Any:
        del run
        return outcome

    return Work(do)


def raising(error: Exception) -> Work:
    async def do(run: RunContext) -> Outcome:
        del run
        raise error

    return Work(do)


def route(name: str = "all", **options: Any) -> Route:
    return Route(name=name, match=options.pop("match", Match()), executor="work", **options)


def live(
    tmp_path: Path, executor: Executor, *names: str, rule: Route | None = None, house: House | None = None
) -> House:
    """Lives the named messages under one route to their settlement."""

    async def go() -> House:
        built = house or House([(rule or route(), executor)], tmp_path)
        for name in names:
            built.source.put(name)
        await built.settle(len(names))
        return built

    return asyncio.run(go())


def test_a_run_is_executed_reported_and_accepted_once(tmp_path: Path) -> None:
    house = live(tmp_path, returning(Succeeded("done")), "deploy-1")
    assert house.reporter.reports["r_deploy-1"].outcome == Succeeded("done")
    assert house.source.settled == {"deploy-1": Settlement.ACCEPT}
    assert [
        type(e) for e in house.events.all if isinstance(e, RunReceived | RunStarted | RunFinished | RunReported)
    ] == [
        RunReceived,
        RunStarted,
        RunFinished,
        RunReported,
    ]
    assert list(tmp_path.iterdir()) == []


def test_messages_that_are_not_ours_are_passed_over_and_touch_nothing(tmp_path: Path) -> None:
    house = live(tmp_path, returning(Succeeded()), "noise-1")
    assert house.reporter.reports == {}
    assert house.source.settled == {"noise-1": Settlement.ACCEPT}
    assert house.events.of(MessageIgnored) == [MessageIgnored("memory", "not_for_agents")]


def test_a_message_that_fails_verification_touches_nothing_and_never_comes_again(tmp_path: Path) -> None:
    house = live(tmp_path, returning(Succeeded()), "forged-1")
    assert house.reporter.reports == {}
    assert house.source.settled == {"forged-1": Settlement.REJECT}
    [rejected] = house.events.of(MessageRejected)
    assert rejected.reason == "signature"


def test_a_message_for_agents_without_a_route_fails_with_the_nearest_name(tmp_path: Path) -> None:
    rule = route("deploy-service", match=Match(actions=("deploy_service",)))
    house = live(tmp_path, returning(Succeeded()), "deploy_servce-1", rule=rule)
    outcome = house.reporter.reports["r_deploy_servce-1"].outcome
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.NO_ROUTE
    assert outcome.reason.startswith("no route matched action 'deploy_servce' on blueprint 'service'")
    assert "'deploy-service'" in outcome.reason
    assert house.source.settled == {"deploy_servce-1": Settlement.ACCEPT}


def test_a_kafka_message_without_a_route_is_somebody_elses(tmp_path: Path) -> None:
    rule = route(match=Match(actions=("deploy",)))
    house = live(tmp_path, returning(Succeeded()), "kafka-1", rule=rule)
    assert house.reporter.reports == {}
    assert house.source.settled == {"kafka-1": Settlement.ACCEPT}


@pytest.mark.parametrize("ignore_unrouted", [False, True])
def test_a_message_whose_route_was_not_found_in_time_is_counted_by_itself(
    tmp_path: Path, *, ignore_unrouted: bool
) -> None:
    name = "deploy-1" if ignore_unrouted else "kafka-1"

    async def go() -> House:
        rule = route(match=Match(when=Value(UnevaluatedError("took longer than 1 s"))))
        house = House([(rule, returning(Succeeded()))], tmp_path, ignore_unrouted=ignore_unrouted)
        house.source.put(name)
        await house.settle(1)
        return house

    house = asyncio.run(go())
    assert house.source.settled == {name: Settlement.ACCEPT}
    assert house.events.of(MessageIgnored) == [MessageIgnored("memory", "undecided")]


def test_agents_that_share_a_topic_leave_unrouted_messages_alone(tmp_path: Path) -> None:
    async def go() -> House:
        rules = [(route(match=Match(actions=("deploy",))), returning(Succeeded()))]
        house = House(rules, tmp_path, ignore_unrouted=True)
        house.source.put("restart-1")
        await house.settle(1)
        return house

    house = asyncio.run(go())
    assert house.reporter.reports == {}
    assert house.events.of(MessageIgnored) == [MessageIgnored("memory", "unrouted")]


def test_a_change_event_without_a_route_is_passed_over(tmp_path: Path) -> None:
    async def go() -> House:
        house = House([(route(match=Match(kinds=("action_run",))), returning(Succeeded()))], tmp_path)
        house.source.put("change-1", channel=Channel.CHANGE_LOG)
        await house.settle(1)
        return house

    assert asyncio.run(go()).events.of(MessageIgnored) == [MessageIgnored("memory", "change_event")]


@pytest.mark.parametrize(
    ("executor", "expected"),
    [
        (raising(RuntimeError("disk on fire")), Failed("RuntimeError: disk on fire", FailureKind.EXCEPTION)),
        (raising(KeyError()), Failed("KeyError", FailureKind.EXCEPTION)),
        (returning("done"), Failed("the executor returned str, not an outcome", FailureKind.EXCEPTION)),
        (returning(Rejected("no")), Failed("no")),
        (returning(Accepted("over to you")), Accepted("over to you")),
    ],
    ids=["exception", "empty exception", "not an outcome", "rejected", "accepted"],
)
def test_whatever_an_executor_does_is_an_outcome(tmp_path: Path, executor: Work, expected: Outcome) -> None:
    house = live(tmp_path, executor, "deploy-1")
    assert house.reporter.reports["r_deploy-1"].outcome == expected
    assert house.source.settled == {"deploy-1": Settlement.ACCEPT}


def test_the_traceback_goes_to_the_run_log_only_if_the_route_asks(tmp_path: Path) -> None:
    quiet = live(tmp_path, raising(RuntimeError("x")), "deploy-1")
    loud = live(tmp_path, raising(RuntimeError("x")), "deploy-1", rule=route(traceback=True))
    assert quiet.reporter.reports["r_deploy-1"].lines == []
    [(level, text)] = loud.reporter.reports["r_deploy-1"].lines
    assert level == "ERROR"
    assert "Traceback" in text


@pytest.mark.parametrize(
    ("answer", "settlement"),
    [
        (Delivered(), Settlement.ACCEPT),
        (Refused(422, "already finished"), Settlement.ACCEPT),
        (Undelivered("timeout"), Settlement.RELEASE),
    ],
)
def test_the_offset_is_settled_by_what_port_knows(tmp_path: Path, answer: Any, settlement: Settlement) -> None:
    async def go() -> House:
        house = House([(route(), returning(Succeeded()))], tmp_path)
        house.reporter.answer = answer
        house.source.put("deploy-1")
        await house.settle(1)
        return house

    assert asyncio.run(go()).source.settled == {"deploy-1": settlement}


@pytest.mark.parametrize("match", [Match(), Match(actions=("deploy",))], ids=["routed", "unrouted"])
def test_a_run_whose_partition_went_to_another_agent_is_that_agents(tmp_path: Path, match: Match) -> None:
    async def go() -> House:
        house = House([(route(match=match), returning(Succeeded()))], tmp_path)
        house.source.revoked.add("stale-1")
        house.source.put("stale-1")
        house.source.put("deploy-2")
        await house.settle(1)
        return house

    house = asyncio.run(go())
    assert list(house.reporter.reports) == ["r_deploy-2"]
    assert house.source.settled == {"deploy-2": Settlement.ACCEPT}


def test_a_run_that_takes_too_long_is_cancelled_and_fails(tmp_path: Path) -> None:
    async def forever(run: RunContext) -> Outcome:
        assert run.cancellation is None
        await asyncio.Event().wait()
        return Succeeded()

    house = live(tmp_path, Work(forever), "deploy-1", rule=route(timeout_s=0.05))
    assert house.reporter.reports["r_deploy-1"].outcome == Failed("timed out after 0.05 s", FailureKind.TIMED_OUT)


def test_an_executor_that_holds_on_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.dispatch.execution._MARGIN_S", 0.05)

    async def stubborn(run: RunContext) -> Outcome:
        del run
        end = asyncio.get_running_loop().time() + 0.5
        while asyncio.get_running_loop().time() < end:
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                continue
        return Succeeded()

    house = live(tmp_path, Work(stubborn), "deploy-1", rule=route(timeout_s=0.05))
    report = house.reporter.reports["r_deploy-1"]
    assert report.outcome == Failed("timed out after 0.05 s", FailureKind.TIMED_OUT)
    assert "left behind" in report.lines[-1][1]


def test_one_slow_run_delays_nobody(tmp_path: Path) -> None:
    async def go() -> None:
        release = asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            if run.inputs["name"] == "slow-0":
                await release.wait()
            return Succeeded()

        house = House([(route(), Work(work))], tmp_path)
        house.source.put("slow-0")
        for index in range(100):
            house.source.put(f"quick-{index}")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: len(house.source.settled) == 100)
        assert "slow-0" not in house.source.settled
        release.set()
        await house.until(lambda: len(house.source.settled) == 101)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())


def gauge(limit_seen: list[int]) -> Callable[[RunContext], Coroutine[Any, Any, Outcome]]:
    running = 0

    async def work(run: RunContext) -> Outcome:
        nonlocal running
        del run
        running += 1
        limit_seen.append(running)
        await asyncio.sleep(0.001)
        running -= 1
        return Succeeded()

    return work


@pytest.mark.parametrize(
    ("settings", "rule", "most"),
    [
        (DispatchSettings(max_concurrent_runs=3), route(), 3),
        (DispatchSettings(), route(max_concurrent=2), 2),
        (DispatchSettings(), route(key=Value("one")), 1),
    ],
    ids=["slots", "route limit", "key"],
)
def test_concurrency_is_bounded_and_used(
    tmp_path: Path, settings: DispatchSettings, rule: Route, most: int
) -> None:
    async def go() -> list[int]:
        seen: list[int] = []
        house = House([(rule, Work(gauge(seen)))], tmp_path, settings)
        for index in range(30):
            house.source.put(f"deploy-{index}")
        await house.settle(30)
        return seen

    seen = asyncio.run(go())
    assert len(seen) == 30
    assert max(seen) == most


def test_while_the_waiting_room_is_full_nothing_more_is_taken_in(tmp_path: Path) -> None:
    async def go() -> None:
        release = asyncio.Event()

        async def work(run: RunContext) -> Outcome:
            del run
            await release.wait()
            return Succeeded()

        settings = DispatchSettings(max_concurrent_runs=2, max_waiting_runs=3)
        house = House([(route(), Work(work))], tmp_path, settings)
        for index in range(20):
            house.source.put(f"deploy-{index}")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.dispatcher.in_flight == 2)
        await house.until(lambda: house.events.of(WaitingChanged)[-1].count == 3)
        assert house.source.queue.qsize() == 15
        assert house.events.of(WaitingChanged)[-1].oldest_since_s is not None
        assert house.events.of(WaitingChanged)[-1].for_slot == 3
        release.set()
        await house.until(lambda: len(house.source.settled) == 20)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())


def test_while_too_many_reports_wait_for_port_no_run_starts(tmp_path: Path) -> None:
    async def go() -> None:
        settings = DispatchSettings(max_concurrent_runs=1, max_pending_reports=2)
        house = House([(route(), returning(Succeeded()))], tmp_path, settings)
        house.reporter.hold = asyncio.Event()
        for index in range(10):
            house.source.put(f"deploy-{index}")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: sum(r.outcome is not None for r in house.reporter.reports.values()) >= 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(house.source.begun) <= 3  # the limit, and one slot
        told = house.events.of(WaitingChanged)[-1]
        assert told.count > 0
        assert told.for_slot == 0, "more slots would not help: they wait for Port"
        assert house.source.settled == {}
        house.reporter.hold.set()
        await house.until(lambda: len(house.source.settled) == 10)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())


def test_a_key_that_cannot_be_rendered_fails_the_run(tmp_path: Path) -> None:
    rule = route(key=Value(TemplateError("key: null (null) has no keys")))
    house = live(tmp_path, returning(Succeeded()), "deploy-1", rule=rule)
    outcome = house.reporter.reports["r_deploy-1"].outcome
    assert outcome == Failed("the route's key: key: null (null) has no keys", FailureKind.BAD_TEMPLATE)


def test_opened_inputs_and_named_secrets_are_masked(tmp_path: Path) -> None:
    async def work(run: RunContext) -> Outcome:
        return Failed(f"{run.inputs['password']} and t0ken-value and client-secret")

    async def go() -> House:
        rule = route(decrypt=("secret",), secrets=("TOKEN", "UNSET"))
        house = House([(rule, Work(work))], tmp_path, environment={"TOKEN": "t0ken-value"})
        house.source.put("deploy-1")
        house.source.put("deploy-2")
        await house.settle(2)
        return house

    house = asyncio.run(go())
    assert house.learned == ["t0ken-value"], "the agent's own log learns it once"
    finished = house.events.of(RunFinished)[0]
    assert finished.detail == "[masked] and [masked] and [masked]"
    assert house.reporter.reports["r_deploy-1"].secrets == ["client-secret", "t0ken-value", "hunter2hunter2"]


def test_an_opened_input_that_is_too_short_to_be_masked_is_named_in_the_runs_log(tmp_path: Path) -> None:
    house = live(tmp_path, returning(Succeeded()), "deploy-1", rule=route(decrypt=("pin",)))
    [(level, line)] = house.reporter.reports["r_deploy-1"].lines
    assert level == "WARN"
    assert line == "encrypted input 'pin' is not masked, or not in full: a value in it is shorter than 6 characters"
    masked = live(tmp_path, returning(Succeeded()), "deploy-1", rule=route(decrypt=("secret",)))
    assert masked.reporter.reports["r_deploy-1"].lines == []


def test_an_input_that_does_not_open_fails_the_run_before_anything_is_executed(tmp_path: Path) -> None:
    house = live(tmp_path, raising(AssertionError("executed")), "deploy-1", rule=route(decrypt=("sealed",)))
    outcome = house.reporter.reports["r_deploy-1"].outcome
    assert outcome == Failed("input 'password' did not open", FailureKind.DECRYPTION)


def test_report_expressions_see_outputs_and_response(tmp_path: Path) -> None:
    async def work(run: RunContext) -> Outcome:
        run.output("url", "https://x")
        run.response({"url": "u"}, {"statusCode": 201})
        return Succeeded("plain")

    rule = route(
        report=ReportRule(
            link=Value(lambda v: v.value["outputs"]["url"]),  # type: ignore[index,call-overload]  # JSON of our own making
            summary=Value(lambda v: v.value["response"]["statusCode"]),  # type: ignore[index,call-overload]  # likewise
            external_run_id=Value(None),
            status_label=Value(TemplateError("no")),
        )
    )
    report = live(tmp_path, Work(work), "deploy-1", rule=rule).reporter.reports["r_deploy-1"]
    assert report.told == {"url": "https://x", "link": "https://x", "summary": 201}
    assert report.outcome == Succeeded("201")
    assert [line for _, line in report.lines] == [
        "report.status_label: no",
        "report.external_run_id gave null: nothing is set",
    ]


@pytest.mark.parametrize(
    ("status", "before", "after"),
    [
        ("FAILURE", Succeeded("fine"), Failed("the route's report.status says FAILURE")),
        ("SUCCESS", Failed("404", FailureKind.HTTP_STATUS), Succeeded()),
        ("SUCCESS", Succeeded("kept"), Succeeded("kept")),
        ("FAILURE", Failed("kept"), Failed("kept")),
        ("MAYBE", Succeeded("kept"), Succeeded("kept")),
    ],
)
def test_a_route_may_decide_the_status(tmp_path: Path, status: str, before: Outcome, after: Outcome) -> None:
    rule = route(report=ReportRule(status=Value(status)))
    house = live(tmp_path, returning(before), "deploy-1", rule=rule)
    assert house.reporter.reports["r_deploy-1"].outcome == after


def entity(value: Json | Exception, **options: Any) -> EntityRule:
    return EntityRule(body=Value(value), **options)


def test_entities_are_tied_to_the_run_before_its_status(tmp_path: Path) -> None:
    rule = route(
        entities=(
            entity({"blueprint": "service", "identifier": 7, "title": 42, "team": None, "properties": {"a": 1}}),
            entity({"blueprint": "service", "identifier": "x"}, verb=EntityVerb.DELETE, when=Value(True)),
            entity({"blueprint": "service", "identifier": "y"}, when=Value(False)),
            entity({"blueprint": "service", "identifier": "z"}, on=frozenset({"failure"})),
        )
    )
    report = live(tmp_path, returning(Succeeded()), "deploy-1", rule=rule).reporter.reports["r_deploy-1"]
    assert [(c.verb, c.identifier, c.body) for c in report.entities] == [
        (EntityVerb.UPSERT, "7", {"title": "42", "properties": {"a": 1}}),
        (EntityVerb.DELETE, "x", {}),
    ]
    assert report.outcome == Succeeded()


def test_messages_that_wait_for_their_entities_to_be_written_are_bounded_by_their_bytes(tmp_path: Path) -> None:
    async def go() -> None:
        rule = route(entities=(entity({"blueprint": "b", "identifier": "i"}),))
        settings = DispatchSettings(max_concurrent_runs=1, max_pending_bytes=1_500)
        house = House([(rule, returning(Succeeded()))], tmp_path, settings)
        reports, gate = house.reporter.reports, asyncio.Event()
        house.reporter.entity_gate = gate
        for number in range(8):
            house.source.put(f"deploy-{number}{'0' * 1_000}")
        settled = asyncio.create_task(house.settle(8))
        await house.until(lambda: sum(bool(report.entities) for report in reports.values()) >= 2)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(reports) <= 3  # the limit, and one slot
        gate.set()
        await settled
        assert len(reports) == 8

    asyncio.run(go())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("text", "an entity must be an object, this is str"),
        ({"identifier": "x"}, "an entity needs a `blueprint` (text); it is missing, null or empty"),
        (
            {"blueprint": "service", "identifier": None},
            "the entity's `identifier` is null: is the expression right, and was the input given?",
        ),
        (TemplateError("entities[0]: boom"), "entities[0]: boom"),
    ],
)
def test_an_entity_that_is_not_written_makes_a_success_a_failure(tmp_path: Path, body: Any, reason: str) -> None:
    report = live(
        tmp_path, returning(Succeeded()), "deploy-1", rule=route(entities=(entity(body),))
    ).reporter.reports["r_deploy-1"]
    assert report.outcome == Failed(
        f"the work was done, but its entity was not written: {reason}", FailureKind.BAD_OUTPUT
    )


def test_a_deletion_needs_an_identifier(tmp_path: Path) -> None:
    rule = route(entities=(entity({"blueprint": "service"}, verb=EntityVerb.DELETE),))
    report = live(tmp_path, returning(Succeeded()), "deploy-1", rule=rule).reporter.reports["r_deploy-1"]
    assert isinstance(report.outcome, Failed)
    assert "to delete an entity its `identifier` is needed" in report.outcome.reason


def test_an_entity_that_port_refuses_does_not_hide_the_first_failure(tmp_path: Path) -> None:
    async def go() -> House:
        rule = route(entities=(entity({"blueprint": "b", "identifier": "i"}, on=frozenset({"always"})),))
        house = House([(rule, returning(Failed("exit code 3", FailureKind.EXIT_CODE)))], tmp_path)
        house.reporter.refuse_entities = True
        house.source.put("deploy-1")
        await house.settle(1)
        return house

    report = asyncio.run(go()).reporter.reports["r_deploy-1"]
    assert report.outcome == Failed("exit code 3", FailureKind.EXIT_CODE)
    assert report.lines == [("ERROR", "entities[0]: blueprint not found")]


def test_the_workspace_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    async def work(run: RunContext) -> Outcome:
        assert run.workspace == run.workspace
        assert run.workspace.stat().st_mode & 0o777 == 0o700
        locked = run.workspace / "locked"
        locked.mkdir()
        (locked / "file").write_text("x")
        (run.workspace / "link").symlink_to("/etc")
        locked.chmod(0)
        return Succeeded(str(run.workspace))

    house = live(tmp_path, Work(work), "deploy-1")
    outcome = house.reporter.reports["r_deploy-1"].outcome
    assert isinstance(outcome, Succeeded)
    assert list(tmp_path.iterdir()) == []
    assert Path("/etc/passwd").exists()


def test_a_python_action_can_write_entities_itself(tmp_path: Path) -> None:
    async def work(run: RunContext) -> Outcome:
        await run.upsert_entity("service", identifier="a", title="A", properties={"x": 1}, relations={"r": "q"})
        await run.patch_entity("service", identifier="a", icon="Port")
        await run.delete_entity("service", identifier="b")
        run.log("text", level="WARN")
        run.stream("stdout").write(b"raw")
        run.link("https://l")
        run.summary("s")
        run.status_label("half way")
        run.external_run_id("42")
        run.mask("m")
        run.retried("http_503")
        assert (run.route, run.attempt, run.run_id, run.entity) == ("all", 1, "r_deploy-1", None)
        assert run.view.value["inputs"] == run.inputs
        assert run.invocation.action == "deploy"
        assert run.deadline_s > 0
        return Succeeded()

    report = live(tmp_path, Work(work), "deploy-1").reporter.reports["r_deploy-1"]
    assert [(c.verb.value, c.identifier, dict(c.body)) for c in report.entities] == [
        ("upsert", "a", {"title": "A", "properties": {"x": 1}, "relations": {"r": "q"}}),
        ("patch", "a", {"icon": "Port"}),
        ("delete", "b", {}),
    ]
    assert report.told == {"link": "https://l", "summary": "s", "status_label": "half way", "external_run_id": "42"}
    assert report.lines == [("WARN", "text"), ("INFO", "raw")]


def test_a_defect_of_ours_fails_its_run_and_no_other(tmp_path: Path) -> None:
    async def go() -> House:
        rule = route(report=ReportRule(link=Value(RuntimeError("a bug, not a TemplateError"))))
        house = House([(rule, returning(Succeeded()))], tmp_path)
        house.source.put("deploy-1")
        house.source.put("deploy-2")
        await house.settle(2)
        return house

    house = asyncio.run(go())
    for name in ("r_deploy-1", "r_deploy-2"):
        outcome = house.reporter.reports[name].outcome
        assert outcome == Failed("internal error of the agent: RuntimeError", FailureKind.EXCEPTION)


class Defect(Report):
    """A report whose end is broken; ``times`` over all reports."""

    left = 0

    async def finish(self, outcome: Outcome) -> Reported:
        if Defect.left:
            Defect.left -= 1
            raise RuntimeError("a bug")
        return await super().finish(outcome)


@pytest.mark.parametrize(("times", "settlement"), [(1, Settlement.ACCEPT), (2, Settlement.RELEASE)])
def test_a_report_that_breaks_is_followed_by_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, settlement: Settlement
) -> None:
    monkeypatch.setattr("tests.dispatch.fakes.Report", Defect)
    monkeypatch.setattr(Defect, "left", times)
    house = live(tmp_path, returning(Succeeded()), "deploy-1")
    assert house.source.settled == {"deploy-1": settlement}
    outcome = house.reporter.reports["r_deploy-1"].outcome
    if settlement is Settlement.ACCEPT:
        assert outcome == Failed(
            "a defect of the agent broke this run off; the agent's log says more", FailureKind.EXCEPTION
        )
    else:
        assert outcome is None


def test_a_life_that_breaks_ends_as_failure_and_leaves_its_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> House:
        house = House([(route(), returning(Succeeded()))], tmp_path, DispatchSettings(max_concurrent_runs=1))
        execute = house.dispatcher._lives.execute

        async def broken(job: Job, attempt: int, note: str) -> Ended:
            if job.invocation.run_id == "r_deploy-1":
                raise RuntimeError("a bug")
            return await execute(job, attempt, note)

        monkeypatch.setattr(house.dispatcher._lives, "execute", broken)
        house.source.put("deploy-1")
        house.source.put("deploy-2")
        await house.settle(2)
        return house

    house = asyncio.run(go())
    assert isinstance(house.reporter.reports["r_deploy-1"].outcome, Failed)
    assert house.reporter.reports["r_deploy-2"].outcome == Succeeded()


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (Succeeded({"a": 1}), Succeeded("{'a': 1}")),  # type: ignore[arg-type]  # what actions return all the same
        (Failed(ValueError("no such team")), Failed("no such team")),  # type: ignore[arg-type]  # the same
        (Accepted(7), Accepted("7")),  # type: ignore[arg-type]  # the same
        (Cancelled(CancelReason.AGENT_STOP, 3), Cancelled(CancelReason.AGENT_STOP, "3")),  # type: ignore[arg-type]
    ],
)
def test_what_an_outcome_says_is_made_text(tmp_path: Path, returned: Outcome, told: Outcome) -> None:
    house = live(tmp_path, returning(returned), "deploy-1")
    assert house.reporter.reports["r_deploy-1"].outcome == told


def test_a_strangers_kind_of_text_is_made_text_too(tmp_path: Path) -> None:
    class Shouted(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self.upper()

    house = live(tmp_path, returning(Succeeded(Shouted("done"))), "deploy-1")
    assert house.reporter.reports["r_deploy-1"].outcome == Succeeded("DONE")


def test_what_is_logged_is_made_text(tmp_path: Path) -> None:
    async def work(run: RunContext) -> Outcome:
        run.log(ValueError("no such team"))  # type: ignore[arg-type]  # what actions log all the same
        return Succeeded()

    house = live(tmp_path, Work(work), "deploy-1")
    assert house.reporter.reports["r_deploy-1"].lines == [("INFO", "no such team")]


@pytest.mark.parametrize("name", ["deploy-1", "large deploy-1", "kafka-1"])
def test_a_defect_while_a_message_is_read_costs_that_message_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    async def go() -> House:
        house = House([(route(), returning(Succeeded()))], tmp_path)
        resolve = house.dispatcher._reception._router.resolve

        def broken(invocation: Any) -> Any:
            if invocation.run_id in {"r_deploy-1", "r_kafka-1"}:
                raise RuntimeError("a bug")
            return resolve(invocation)

        monkeypatch.setattr(house.dispatcher._reception._router, "resolve", broken)
        house.source.put(name)
        house.source.put("deploy-2")
        await house.settle(2)
        return house

    house = asyncio.run(go())
    assert house.source.settled["deploy-2"] == Settlement.ACCEPT
    assert house.quarantine.kept == [(name, "defect")]
    rejected = [e.reason for e in house.events.of(MessageRejected)]
    if name == "kafka-1":  # whether it is ours nobody knows
        assert (house.source.settled[name], rejected) == (Settlement.REJECT, ["defect"])
        assert "r_kafka-1" not in house.reporter.reports
    else:
        assert (house.source.settled[name], rejected) == (Settlement.ACCEPT, [])
        outcome = house.reporter.reports["r_deploy-1"].outcome
        assert isinstance(outcome, Failed)
        assert outcome.kind is FailureKind.EXCEPTION


def test_runs_of_a_key_keep_their_order_when_their_partition_went_and_came_back(tmp_path: Path) -> None:
    """The first was just about to begin, so that it is taken in anew; so must be those that waited behind it."""
    order: list[str] = []

    async def work(run: RunContext) -> Outcome:
        order.append(str(run.run_id))
        return Succeeded()

    async def go() -> None:
        keyed = route(key=Value("same"))
        house = House([(keyed, Work(work))], tmp_path, DispatchSettings(max_concurrent_runs=1))
        house.source.hold = asyncio.Event()
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        for name in ("a-1", "a-2", "a-3"):
            house.source.put(name)
        await house.until(lambda: house.source.begun == ["a-1"])
        await house.until(house.source.queue.empty)
        house.source.revoked |= {"a-1", "a-2", "a-3"}
        house.source.hold.set()
        await asyncio.sleep(0.05)  # whatever is done with what went, may be done before it comes again
        for name in ("a-1", "a-2", "a-3"):
            again = Delivery(name.encode(), f"{name} again", Channel.RUNS, 0.0, name)
            house.source.queue.put_nowait(again)
        await house.until(lambda: len(house.source.settled) == 3)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())
    assert order == ["r_a-1", "r_a-2", "r_a-3"]


@pytest.mark.parametrize("drain_s", [20.0, 0.0])
def test_what_nobody_else_would_get_is_begun_and_told_though_the_agent_stops(
    tmp_path: Path, drain_s: float
) -> None:
    """Its time to drain over, it is told that it was stopped."""

    async def go() -> House:
        house = House([(route(), returning(Succeeded()))], tmp_path, timeline=Timeline(drain_s, 5.0, 5.0))
        house.source.begins_for_good = True
        house.source.hold = asyncio.Event()
        house.source.put("a-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.source.begun == ["a-1"])
        house.stop.ask()
        await house.until(lambda: bool(house.events.of(DrainStarted)))
        await asyncio.sleep(0.05)
        house.source.hold.set()
        assert await agent == 0
        return house

    house = asyncio.run(go())
    assert house.source.withdrawn == []
    assert house.source.settled == {"a-1": Settlement.ACCEPT}
    [outcome] = [report.outcome for report in house.reporter.reports.values()]
    assert isinstance(outcome, Succeeded if drain_s else Cancelled)


@pytest.mark.parametrize("is_lost", [True, False])
def test_what_went_while_it_was_asked_about_is_left_to_its_new_owner(tmp_path: Path, *, is_lost: bool) -> None:
    async def go() -> House:
        house = House([(route(), returning(Succeeded()))], tmp_path)
        house.lookup.hold = asyncio.Event()
        house.source.put("a-1", earlier=Earlier(Past.INTERRUPTED, 1, "another"))
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: bool(house.lookup.asked))
        if is_lost:
            house.source.revoked.add("a-1")
        house.lookup.hold.set()
        await house.until(lambda: house.dispatcher.in_flight == 0 and not house.dispatcher._beginning)
        house.stop.ask()
        assert await agent == 0
        return house

    house = asyncio.run(go())
    assert set(house.reporter.reports) == (set() if is_lost else {"r_a-1"})
    assert set(house.source.settled) == (set() if is_lost else {"a-1"})


@pytest.mark.parametrize(
    ("outcome", "ending"),
    [
        (Succeeded(), Ending.SUCCESS),
        (Failed("no"), Ending.FAILURE),
        (Accepted(), Ending.ACCEPTED),
    ],
)
def test_how_the_work_ended_is_made_known_before_port_is_told(
    tmp_path: Path, outcome: Outcome, ending: Ending
) -> None:
    async def go() -> None:
        house = House([(route(), returning(outcome))], tmp_path)
        house.reporter.hold = asyncio.Event()
        house.source.put("a-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.source.ended == {"a-1": ending})
        # Also for a delivery of it that comes while Port is away.
        again = Delivery(b"a-1", "a-1 again", Channel.RUNS, 0.0, "a-1")
        house.source.queue.put_nowait(again)
        await house.until(lambda: "a-1 again" in house.source.ended)
        assert (house.source.begun, house.source.resumed) == (["a-1"], ["a-1 again"])
        house.reporter.hold.set()
        await house.until(lambda: len(house.source.settled) == 2)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())


def test_what_is_to_be_repeated_has_not_ended(tmp_path: Path) -> None:
    async def forever(run: RunContext) -> Outcome:
        del run
        await asyncio.Event().wait()
        return Succeeded()

    async def go() -> House:
        timeline = Timeline(0.05, 0.1, 1.0)
        house = House([(route(), Work(forever))], tmp_path, timeline=timeline, redeliver_when_stopped=True)
        house.source.put("a-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.dispatcher.in_flight == 1)
        house.stop.ask()
        assert await agent == 0
        return house

    house = asyncio.run(go())
    assert house.source.ended == {}
    assert house.source.settled == {"a-1": Settlement.REPEAT}


def test_a_run_whose_message_cannot_be_read_in_full_fails_with_the_reason(tmp_path: Path) -> None:
    house = live(tmp_path, raising(AssertionError("executed")), "large deploy-1", "large kafka-1")
    for run_id in ("r_deploy-1", "r_kafka-1"):
        outcome = house.reporter.reports[run_id].outcome
        assert outcome == Failed("the run cannot be executed: the message is too large", FailureKind.UNREADABLE)
    assert set(house.source.settled.values()) == {Settlement.ACCEPT}
    assert {e.route for e in house.events.of(RunReceived)} == {"all"}
    assert [reason for _, reason in house.quarantine.kept] == ["unexecutable", "unexecutable"]


def test_without_a_route_it_fails_only_where_the_message_is_for_agents(tmp_path: Path) -> None:
    nothing = route(match=Match(actions=("other",)))
    house = live(tmp_path, returning(Succeeded()), "large deploy-1", "large kafka-1", rule=nothing)
    assert isinstance(house.reporter.reports["r_deploy-1"].outcome, Failed)
    assert "r_kafka-1" not in house.reporter.reports
    assert house.source.settled == {"large deploy-1": Settlement.ACCEPT, "large kafka-1": Settlement.REJECT}
    assert [(e.reason, e.run_id) for e in house.events.of(MessageRejected)] == [("undecodable", "r_kafka-1")]


def test_agents_that_share_a_topic_leave_what_cannot_be_read_and_has_no_route_alone(tmp_path: Path) -> None:
    nothing = route(match=Match(actions=("other",)))
    house = House([(nothing, returning(Succeeded()))], tmp_path, ignore_unrouted=True)
    live(tmp_path, returning(Succeeded()), "large deploy-1", house=house)
    assert house.reporter.reports == {}
    assert [e.reason for e in house.events.of(MessageIgnored)] == ["unrouted"]


def test_an_unreadable_message_that_is_delivered_again_while_its_run_is_reported_is_not_reported_twice(
    tmp_path: Path,
) -> None:
    async def go() -> House:
        house = House([(route(), returning(Succeeded()))], tmp_path)
        house.reporter.hold = asyncio.Event()
        house.source.put("first", b"large deploy-1", origin="one")
        house.source.put("second", b"large deploy-1", origin="one")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.source.queue.empty() and bool(house.reporter.reports))
        house.reporter.hold.set()
        await house.until(lambda: len(house.source.settled) == 2)
        house.stop.ask()
        assert await agent == 0
        return house

    house = asyncio.run(go())  # a second `finish` fails in the fake report
    assert set(house.source.settled.values()) == {Settlement.ACCEPT}
    assert len(house.events.of(RunReported)) == 1


def test_what_is_in_hand_is_told_until_it_is_reported(tmp_path: Path) -> None:
    async def go() -> None:
        house = House([(route(), returning(Succeeded()))], tmp_path)
        house.reporter.hold = asyncio.Event()
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))

        def in_hand() -> int:
            told: list[WaitingChanged] = house.events.of(WaitingChanged)
            return told[-1].in_hand if told else 0

        for name in ("deploy-1", "deploy-2", "noise-1"):
            house.source.put(name)
        await house.until(lambda: sum(r.outcome is not None for r in house.reporter.reports.values()) == 2)
        assert in_hand() == 2
        house.reporter.hold.set()
        await house.until(lambda: len(house.source.settled) == 3 and in_hand() == 0)
        house.stop.ask()
        assert await agent == 0

    asyncio.run(go())


def test_a_run_that_a_stop_cuts_short_is_told_where_its_message_is_somebody_elses(tmp_path: Path) -> None:
    """Who took it over in the drain takes it for one that goes on here: nobody would begin it anew."""

    async def forever(run: RunContext) -> Outcome:
        del run
        await asyncio.Event().wait()
        return Succeeded()

    async def go() -> House:
        timeline = Timeline(0.2, 0.1, 1.0)
        house = House([(route(), Work(forever))], tmp_path, timeline=timeline, redeliver_when_stopped=True)
        house.source.put("a-1")
        agent = asyncio.ensure_future(house.lifecycle.run(house.stop))
        await house.until(lambda: house.dispatcher.in_flight == 1)
        house.stop.ask()
        house.source.revoked.add("a-1")
        assert await agent == 0
        return house

    house = asyncio.run(go())
    report = house.reporter.reports["r_a-1"]
    assert isinstance(report.outcome, Cancelled)
    assert not report.abandoned
