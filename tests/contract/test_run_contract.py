"""What every run that an action may be given makes of what it is told: the agent's own, and the fake one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.dispatch.active_run import ActiveRun
from agent.dispatch.workspace import Workspace
from agent.domain.outcome import Failed, FailureKind, Outcome, Succeeded
from agent.domain.route import Match, Route
from agent.executors.python import PythonFactory
from agent.ports import RunContext
from agent.testing import FakeRun, FakeTemplates, fake_invocation, fake_services
from tests.runs_api.rig import Rig, with_rig


@dataclass(frozen=True)
class Told:
    """What a run was told, as Port has it in the end; entities by identifier and title."""

    outcome: Outcome
    log: str
    links: list[str]
    summary: str | None
    status_label: str | None
    external_run_id: str | None
    entities: list[tuple[Any, Any]]


async def _executed(run: RunContext, function: str) -> Outcome:
    factory = PythonFactory(fake_services())
    executor = factory.prepare({"callable": f"{__name__}:{function}"}, "routes[0].python", FakeTemplates())
    return await asyncio.wait_for(executor.execute(run), 20)


def _told_fake_run(function: str, _: Path) -> Told:
    with FakeRun() as run:
        outcome = asyncio.run(_executed(run, function))
    return Told(
        outcome,
        run.log_text,
        run.links,
        next(reversed(run.summaries), None),
        next(reversed(run.status_labels), None),
        next(reversed(run.external_run_ids), None),
        [(change.identifier, change.body.get("title")) for change in run.entity_changes],
    )


def _told_agents_run(function: str, tmp_path: Path) -> Told:
    told: list[Told] = []

    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        route, workspace = Route("r", Match(actions=("act",)), "python"), Workspace(tmp_path)
        run = ActiveRun(fake_invocation(run_id=run_id), route, report, workspace, rig.facts, float("inf"))
        outcome = await _executed(run, function)
        await report.finish(Succeeded())
        record = rig.api.ledger.runs[run_id]
        entities = [(entity.identifier, entity.body.get("title")) for entity in record.entities]
        details = record.summary, record.status_label, record.external_run_id
        told.append(Told(outcome, record.log_text, record.links, *details, entities))

    with_rig(scenario)
    return told[0]


@pytest.fixture(params=[_told_fake_run, _told_agents_run], ids=["fake", "agent's"])
def tell(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Told]:
    """Has a function of this module executed, and gives what its run was told."""
    return lambda function: request.param(function, tmp_path)


def _speak_loosely(run: Any) -> None:
    run.log(ValueError("an exception"))
    run.log(None)
    run.log(7, level="WARN")
    run.mask(123456789)
    run.mask(None)
    for link in (123, None, "", "https://x/", ["https://x/", "https://y/"]):
        run.link(link)
    for say in (run.summary, run.status_label, run.external_run_id):
        say({"a": [1, None]})
        say(None)
    run.output(1, {1, 2})
    assert run.masked(123456789) == "[masked]"


async def loose(run: Any) -> Any:
    _speak_loosely(run)
    await run.upsert_entity("service", identifier=42, title=7)
    return Succeeded({"not": "a text"})  # type: ignore[arg-type]  # as people write it


def loose_sync(run: Any) -> Any:
    _speak_loosely(run)
    run.upsert_entity("service", identifier=42, title=7)
    return Succeeded({"not": "a text"})  # type: ignore[arg-type]  # as people write it


@pytest.mark.parametrize("function", ["loose", "loose_sync"])
def test_what_is_no_text_becomes_one(function: str, tell: Callable[[str], Told]) -> None:
    told = tell(function)
    assert told.outcome == Succeeded('{"not":"a text"}')
    assert told.log == "an exception\nNone\n7"
    assert told.links == ["123", "https://x/", "https://y/"]
    assert (told.summary, told.status_label, told.external_run_id) == ('{"a":[1,null]}',) * 3
    assert told.entities == [("42", "7")]


async def forgetful(run: Any) -> str:
    await run.upsert_entity("service", identifier="written")
    run.upsert_entity("service", identifier="not written")
    run.delete_entity("service", identifier="not deleted")
    return "all done"


async def forgetful_and_failing(run: Any) -> Failed:
    run.upsert_entity("service", identifier="not written")
    return Failed("its own reason")


async def forgetful_and_raising(run: Any) -> None:
    run.upsert_entity("service", identifier="not written")
    raise ValueError("its own words")


async def careful(run: Any) -> None:
    begun = asyncio.create_task(run.upsert_entity("service", identifier="1"))
    await asyncio.gather(run.upsert_entity("service", identifier="2"), begun)
    await asyncio.wait_for(run.patch_entity("service", identifier="1", title="t"), 20)


def test_a_forgotten_await_fails_the_run(tell: Callable[[str], Told]) -> None:
    told = tell("forgetful")
    assert told.outcome == Failed(
        "upsert_entity, delete_entity were called without await, which does nothing: "
        "write `await run.upsert_entity(...)`",
        FailureKind.EXCEPTION,
    )
    assert [identifier for identifier, _ in told.entities] == ["written"]


@pytest.mark.parametrize(("function", "reason"), [("failing", "its own reason"), ("raising", "its own words")])
def test_a_forgotten_await_hides_no_failure(function: str, reason: str, tell: Callable[[str], Told]) -> None:
    outcome = tell(f"forgetful_and_{function}").outcome
    assert isinstance(outcome, Failed)
    assert outcome.reason.startswith(reason)


def test_whatever_is_awaited_in_the_end_is_not_forgotten(tell: Callable[[str], Told]) -> None:
    told = tell("careful")
    assert told.outcome == Succeeded()
    assert sorted(identifier for identifier, _ in told.entities) == ["1", "1", "2"]
