"""What a route says about a run once its work is over: report expressions and entities."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from agent.dispatch.active_run import ActiveRun
from agent.domain.errors import EntityRefusedError, TemplateError
from agent.domain.json import Json, as_text
from agent.domain.outcome import Accepted, Failed, FailureKind, Outcome, Rejected, Succeeded, outcome_label
from agent.domain.route import EntityRule, EntityVerb, ReportRule, Route, Template
from agent.ports import EntityChange, RunReport

_WHEN_STOPPED_S = 3.0


async def until_stopped(work: Coroutine[Any, Any, Outcome], run: ActiveRun) -> Outcome | None:
    """What ``work`` gives, however long it takes; ``None`` if the run is to stop before.

    It then has a few seconds more: the status must still have its turn.
    """
    task = asyncio.ensure_future(work)
    either: list[asyncio.Future[Any]] = [task, run.stopped]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait([task], timeout=_WHEN_STOPPED_S)
        return task.result() if task.done() else None
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def unwritten(report: RunReport, outcome: Outcome) -> Outcome:
    """What a run comes to whose entities Port did not take in time: nobody shall look for what is not there."""
    problem = "Port did not take the route's entities in time"
    report.log(problem, "ERROR")
    if isinstance(outcome, Succeeded | Accepted):
        return Failed(f"the work was done, but {problem}", FailureKind.BAD_OUTPUT)
    return outcome


async def write_entities(run: ActiveRun, route: Route, report: RunReport, outcome: Outcome) -> Outcome:
    """Writes the route's ``entities`` and returns the outcome: one that is refused makes a success a failure."""
    for index, rule in enumerate(route.entities):
        if outcome_label(outcome) not in rule.on and "always" not in rule.on:
            continue
        problem = await _apply_entity(run, rule, report)
        if problem is not None:
            report.log(f"entities[{index}]: {problem}", "ERROR")
            if isinstance(outcome, Succeeded | Accepted):
                outcome = Failed(
                    f"the work was done, but its entity was not written: {problem}", FailureKind.BAD_OUTPUT
                )
    return outcome


def apply_report(run: ActiveRun, rule: ReportRule, report: RunReport, outcome: Outcome) -> Outcome:
    """Evaluates the route's ``report`` and returns the outcome, which it may change.

    An expression that fails or is null changes nothing and says so in the run's log.
    """
    for name, template, put in (
        ("link", rule.link, report.link),
        ("status_label", rule.status_label, report.status_label),
        ("external_run_id", rule.external_run_id, report.external_run_id),
    ):
        value = _evaluate(run, name, template, report)
        if value is not None:
            put(value)
    summary = _evaluate(run, "summary", rule.summary, report)
    status = _evaluate(run, "status", rule.status, report)
    if summary is None and isinstance(outcome, Failed) and rule.refusal is not None:
        summary = rule.refusal.render(run.view_after)
    explains = rule.refusal is None
    return _with_summary(_with_status(outcome, status, report, explains=explains), summary, report)


def _with_status(outcome: Outcome, status: Json, report: RunReport, *, explains: bool) -> Outcome:
    """A route may decide the status by the response: a 200 that carries an error, a 404 that is fine.

    Unless it ``explains``, a failure that only the status says has no summary: the run's log tells it.
    """
    if status is None or isinstance(outcome, Rejected):
        return outcome
    match status:
        case "SUCCESS":
            return outcome if isinstance(outcome, Succeeded) else Succeeded()
        case "FAILURE":
            if isinstance(outcome, Failed):
                return outcome
            reason = "the route's report.status says FAILURE"
            if not explains:
                report.log(reason, "WARN")
            return Failed(reason if explains else "", FailureKind.FAILED)
        case _:
            report.log(f"report.status gave {as_text(status)!r}, not SUCCESS or FAILURE: ignored", "WARN")
            return outcome


def _with_summary(outcome: Outcome, summary: Json, report: RunReport) -> Outcome:
    if summary is None:
        return outcome
    report.summary(summary)
    match outcome:
        case Succeeded():
            return Succeeded(as_text(summary))
        case Accepted():
            return Accepted(as_text(summary))
        case Failed(_, kind):
            return Failed(as_text(summary), kind)
        case _:
            return outcome


def _evaluate(run: ActiveRun, name: str, template: Template | None, report: RunReport) -> Json:
    if template is None:
        return None
    try:
        value = template.render(run.view_after)
    except TemplateError as error:
        report.log(f"report.{name}: {error}", "WARN")
        return None
    finally:
        for secret in run.view_after.secrets:
            report.mask(secret)
    if value is None:
        report.log(f"report.{name} gave null: nothing is set", "WARN")
    return value


async def _apply_entity(run: ActiveRun, rule: EntityRule, report: RunReport) -> str | None:
    """Writes one entity; returns what went wrong, or ``None``."""
    try:
        if rule.when is not None and rule.when.render(run.view_after) is not True:
            return None
        body = rule.body.render(run.view_after)
        await report.change_entity(change_of(rule.verb, body))
    except (TemplateError, EntityRefusedError) as error:
        return str(error)
    return None


def change_of(verb: EntityVerb, body: Json) -> EntityChange:
    """A rendered entity rule as a change. Raises `TemplateError` where a needed part is missing or mistyped."""
    if not isinstance(body, dict):
        raise TemplateError(f"an entity must be an object, this is {type(body).__name__}")
    blueprint, identifier = body.get("blueprint"), body.get("identifier")
    if not isinstance(blueprint, str) or not blueprint:
        raise TemplateError("an entity needs a `blueprint` (text); it is missing, null or empty")
    if "identifier" in body and identifier is None:
        raise TemplateError("the entity's `identifier` is null: is the expression right, and was the input given?")
    if identifier is not None and not isinstance(identifier, str):
        identifier = as_text(identifier)
    if not identifier and verb is not EntityVerb.UPSERT:
        raise TemplateError(f"to {verb} an entity its `identifier` is needed; it is missing, null or empty")
    # Port refuses a number as a title, and an input that is one keeps its type in a template.
    texts = {name: as_text(body[name]) for name in ("title", "icon") if body.get(name) is not None}
    others = {name: body[name] for name in ("properties", "relations", "team") if body.get(name) is not None}
    return EntityChange(verb, blueprint, identifier or None, {**texts, **others})
