"""What Port is told of a run, in how many requests, and what becomes of it when Port is in trouble."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.domain.errors import EntityRefusedError
from agent.domain.events import ApiRequested, LogDropped
from agent.domain.invocation import InvocationKind, RunId
from agent.domain.json import Json, JsonObject
from agent.domain.outcome import Accepted, Cancelled, CancelReason, Failed, Outcome, Rejected, Succeeded
from agent.domain.redaction import MASK
from agent.domain.route import EntityVerb
from agent.domain.settlement import Delivered, NothingToReport, Refused, Undelivered
from agent.ports import EntityChange, Reporter, RunReport, Subject
from agent.runs_api.details import ReportLimits
from agent.runs_api.log_buffer import LogLimits
from agent.sandbox.port_api import Effect, Fault, RateLimit
from tests.runs_api.rig import BRISK_LOG, HASTY, QUICK, Rig, until, with_rig

SECRET = "hunter2-hunter2"
REST_REFUSED = "(Port refused links, outputs or other details of this report; all of them are left out.)"


def test_it_is_a_reporter() -> None:
    async def scenario(rig: Rig) -> None:
        reporter: Reporter = rig.reporter
        report: RunReport = reporter.open(Subject(None, InvocationKind.ACTION_RUN), ())
        report.abandon()

    with_rig(scenario)


# ── how many requests a run costs ────────────────────────────────────────────────────────────────────


def test_a_short_quiet_run_is_one_request() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.link("https://a.example")
        report.link(["https://b.example", "https://a.example", None, ""])
        report.summary("set before")
        report.status_label("label")
        report.external_run_id(4711)
        assert await report.finish(Succeeded()) == Delivered()
        assert rig.requests_of(run_id) == [f"PATCH /v1/actions/runs/{run_id}"]
        assert rig.bodies(f"*/{run_id}") == [
            {
                "status": "SUCCESS",
                "statusLabel": "label",
                "link": ["https://a.example", "https://b.example"],
                "summary": "set before",
                "externalRunId": "4711",
            }
        ]

    with_rig(scenario)


def test_a_short_run_with_output_is_two_requests_logs_first() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        stream = report.stream("stdout")
        for n in range(300):
            stream.write(b"line %d\n" % n)
        report.log("said by the action")
        assert await report.finish(Failed("exit 3")) == Delivered()
        assert rig.requests_of(run_id) == [
            f"POST /v1/actions/runs/{run_id}/logs",
            f"PATCH /v1/actions/runs/{run_id}",
        ]
        run = rig.api.ledger.runs[run_id]
        assert run.log_text == "\n".join([*(f"line {n}" for n in range(300)), "said by the action"])
        assert (run.status, run.summary) == ("FAILURE", "exit 3")

    with_rig(scenario, report=ReportLimits())


OUTCOMES: list[tuple[Outcome, dict[str, Any], dict[str, Any]]] = [
    (
        Succeeded("done"),
        {"status": "SUCCESS", "summary": "done"},
        {"status": "COMPLETED", "result": "SUCCESS", "logs": [{"level": "INFO", "message": "done"}]},
    ),
    (Succeeded(), {"status": "SUCCESS"}, {"status": "COMPLETED", "result": "SUCCESS"}),
    (
        Failed("why"),
        {"status": "FAILURE", "summary": "why"},
        {"status": "COMPLETED", "result": "FAILED", "logs": [{"level": "ERROR", "message": "why"}]},
    ),
    (
        Cancelled(CancelReason.AGENT_STOP, "agent stopped"),
        {"status": "FAILURE", "summary": "agent stopped"},
        {"status": "COMPLETED", "result": "CANCELLED", "logs": [{"level": "ERROR", "message": "agent stopped"}]},
    ),
    (Accepted("handed over"), {"summary": "handed over"}, {"logs": [{"level": "INFO", "message": "handed over"}]}),
]


@pytest.mark.parametrize(("outcome", "action_body", "node_body"), OUTCOMES, ids=lambda v: type(v).__name__)
def test_each_outcome_in_both_dialects(
    outcome: Outcome, action_body: dict[str, Any], node_body: dict[str, Any]
) -> None:
    async def scenario(rig: Rig) -> None:
        for (run_id, report), body in ((rig.action_run(), action_body), (rig.node_run(), node_body)):
            assert await report.finish(outcome) == Delivered()
            ended_node = {"externalRunId": run_id} if body.get("status") == "COMPLETED" else {}
            assert rig.bodies(f"*/{run_id}") == [body | ended_node]

    with_rig(scenario)


@pytest.mark.parametrize("outcome", [Accepted(), Rejected("bad"), Cancelled(CancelReason.CLOSED_IN_PORT)])
def test_where_nothing_is_to_be_told_nothing_is_sent(outcome: Outcome) -> None:
    async def scenario(rig: Rig) -> None:
        for run_id, report in (rig.action_run(), rig.node_run()):
            assert await report.finish(outcome) == NothingToReport()
            assert rig.requests_of(run_id) == []

    with_rig(scenario)


def test_a_rejected_run_is_not_touched_not_even_by_its_log() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.log("said too early")
        report.link("https://a.example")
        assert await report.finish(Rejected("signature")) == NothingToReport()
        assert rig.requests_of(run_id) == []

    with_rig(scenario)


def test_a_report_of_no_run_sends_nothing_and_counts_its_lines() -> None:
    async def scenario(rig: Rig) -> None:
        report = rig.reporter.open(Subject(None, InvocationKind.CHANGE_EVENT), [SECRET])
        stream = report.stream("stdout")
        stream.write(b"one\ntwo\nthree")
        report.log(SECRET)
        report.link("https://a.example")
        await report.change_entity(EntityChange(EntityVerb.UPSERT, "b", "e"))
        assert report.masked(SECRET) == MASK
        assert await report.finish(Succeeded()) == NothingToReport()
        assert rig.api.ledger.requests == []
        assert rig.facts.events == [LogDropped(4, "no_run")]

    with_rig(scenario)


def test_a_secret_that_is_learned_is_masked_in_reports_under_way_and_in_later_ones() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        rig.reporter.learn(SECRET)
        report.summary(f"it is {SECRET}")
        await report.finish(Succeeded())
        later_id, later = rig.action_run()  # which begins with the same secrets as the first one
        later.summary(f"it is {SECRET}")
        await later.finish(Succeeded())
        summaries = [body["summary"] for one in (run_id, later_id) for body in rig.bodies(f"*/{one}")]
        assert summaries == [f"it is {MASK}"] * 2

    with_rig(scenario)


def test_a_secret_that_is_learned_while_the_log_goes_out_is_masked_in_the_end() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        rig.faults(Fault("*/logs", status=503, times=2))
        report.log("a line")
        ending = asyncio.create_task(report.finish(Failed(f"exit code 1, with {SECRET}")))
        await until(lambda: bool(rig.bodies("*/logs")))
        rig.reporter.learn(SECRET)
        await ending
        (end,) = rig.bodies(f"*/{run_id}")
        assert end["summary"] == f"exit code 1, with {MASK}"

    with_rig(scenario)


@pytest.mark.parametrize(
    ("say", "told"),
    [
        (lambda report: report.link("https://ci/7"), {"links": ["https://ci/7"]}),
        (lambda report: report.summary("built"), {"logs": [{"level": "INFO", "message": "built"}]}),
        (lambda report: report.output("id", 7), {"output": {"id": 7}}),
    ],
    ids=["link", "summary", "output"],
)
def test_what_is_said_while_the_log_goes_out_is_told_in_the_end(
    say: Callable[[RunReport], None], told: JsonObject
) -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.node_run()
        rig.faults(Fault("*/logs", status=503, times=2))
        report.log("a line")
        ending = asyncio.create_task(report.finish(Succeeded()))
        await until(lambda: bool(rig.bodies("*/logs")))
        say(report)
        await ending
        (end,) = rig.bodies(f"*/{run_id}")
        assert {name: end.get(name) for name in told} == told

    with_rig(scenario)


def test_where_requests_are_scarce_the_log_of_a_run_that_ends_does_not_hold_up_its_status() -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.rate_limit = RateLimit(limit=20, period_s=300)
        for _ in range(12):
            await rig.client.organization()
        assert rig.client.budget_is_low()
        run_id, report = rig.action_run()
        report.log("a line")
        await asyncio.wait_for(report.finish(Succeeded()), 60)
        assert rig.api.ledger.runs[run_id].terminal_statuses == ["SUCCESS"]

    with_rig(scenario, limits=replace(QUICK, yield_s=300.0))


def test_what_one_run_masks_is_masked_in_no_other_that_begins_with_the_same_secrets() -> None:
    async def scenario(rig: Rig) -> None:
        subject = Subject(None, InvocationKind.ACTION_RUN)
        first, second = (rig.reporter.open(subject, ["of-the-route"]) for _ in range(2))
        first.mask("of-one-run")
        third = rig.reporter.open(subject, ["of-the-route"])
        other = rig.reporter.open(subject, [])
        text = "of-the-route of-one-run"
        shown = [report.masked(text) for report in (first, second, third, other)]
        assert shown == [f"{MASK} {MASK}", f"{MASK} of-one-run", f"{MASK} of-one-run", text]

    with_rig(scenario)


def test_of_however_many_sets_of_secrets_each_is_masked() -> None:
    async def scenario(rig: Rig) -> None:
        subject = Subject(None, InvocationKind.ACTION_RUN)
        for number in range(600):
            report = rig.reporter.open(subject, [f"secret-{number:03}"])
            assert report.masked(f"secret-{number:03} secret-{number + 1:03}") == f"{MASK} secret-{number + 1:03}"
            report.abandon()

    with_rig(scenario)


def test_after_the_end_nothing_more_is_said() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        stream = report.stream("stdout")
        await report.finish(Succeeded())
        before = rig.requests_of(run_id)
        stream.write(b"late\n")
        stream.close()
        report.log("late")
        report.link("https://late.example")
        await report.change_entity(EntityChange(EntityVerb.UPSERT, "b", "e"))
        report.abandon()
        assert await report.finish(Failed("again")) == NothingToReport()
        assert rig.requests_of(run_id) == before

    with_rig(scenario)


def test_an_abandoned_report_falls_silent_at_once() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.log("a")
        report.log("b")
        report.link("https://a.example")
        report.abandon()
        assert await report.finish(Failed("x")) == NothingToReport()
        assert rig.requests_of(run_id) == []
        assert rig.facts.of(LogDropped) == [LogDropped(2, "closed")]

    with_rig(scenario)


# ── details ahead of the status ──────────────────────────────────────────────────────────────────────


def test_in_a_long_run_details_are_told_early_together_and_only_what_is_new_at_the_end() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.link("https://a.example")
        report.status_label("building")
        await until(lambda: rig.api.ledger.runs[run_id].status_label == "building")
        report.status_label("testing")
        report.status_label("deploying")
        await until(lambda: rig.api.ledger.runs[run_id].status_label == "deploying")
        await until(lambda: sum(event.method == "PATCH" for event in rig.facts.of(ApiRequested)) == 2)  # and heard
        report.external_run_id("x")
        await report.finish(Succeeded("done"))
        assert rig.bodies(f"*/{run_id}") == [
            {"link": "https://a.example", "statusLabel": "building"},
            {"statusLabel": "deploying"},
            {"status": "SUCCESS", "summary": "done", "externalRunId": "x"},
        ]

    with_rig(scenario, report=ReportLimits(log=BRISK_LOG, early_after_s=0.05))


def test_a_node_run_tells_early_what_it_can() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.node_run()
        report.summary("cannot be told early")
        report.link("https://a.example")
        await until(lambda: rig.api.ledger.runs[run_id].links == ["https://a.example"])
        report.output("answer", {"n": 42})
        await report.finish(Succeeded())
        run = rig.api.ledger.runs[run_id]
        assert (run.result, run.output) == ("SUCCESS", {"answer": {"n": 42}})
        assert rig.bodies(f"*/{run_id}")[0] == {"links": ["https://a.example"]}

    with_rig(scenario, report=ReportLimits(log=BRISK_LOG, early_after_s=0.05))


@pytest.mark.parametrize("effect", [Effect.ANSWER, Effect.HANG])
def test_details_that_did_not_arrive_early_go_with_the_status(effect: Effect) -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        rig.faults(Fault(path=f"*/{run_id}", effect=effect, status=422))
        report.link("https://a.example")
        await until(lambda: len(rig.bodies(f"*/{run_id}")) == 1)
        report.summary("more")
        assert await report.finish(Succeeded()) == Delivered()
        assert rig.bodies(f"*/{run_id}")[-1] == {
            "status": "SUCCESS",
            "link": "https://a.example",
            "summary": "more",
        }

    with_rig(scenario, report=ReportLimits(log=BRISK_LOG, early_after_s=0.05))


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────


def test_values_become_strings_and_are_cut_to_size_without_control_characters() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.link({"url": 1})
        report.link("https://x/" + "y" * 9000)
        report.summary(["a", 1.5, None])
        report.status_label("\x1b[31mred\0")
        report.external_run_id(None)
        await report.finish(Succeeded("s" * 40_000))
        run = rig.api.ledger.runs[run_id]
        assert run.links == ['{"url":1}']
        assert run.status_label == "red"
        assert run.external_run_id is None
        assert run.summary == "s" * 32_768 + " … 7,232 bytes left out …"
        assert "a link of more than 8,192 bytes was left out" in run.log_text

    with_rig(scenario)


def test_there_is_an_end_to_links_and_outputs() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.node_run()
        report.link([f"https://{n}" for n in range(60)])
        report.output("small", 1)
        report.output("large", "x" * 600_000)
        report.output("last", 2)
        assert await report.finish(Succeeded()) == Delivered()
        run = rig.api.ledger.runs[run_id]
        assert len(run.links) == 50
        assert run.output == {"small": 1, "last": 2}
        assert run.log_text.count("there are 50 already") == 1
        assert "output 'large' was left out" in run.log_text

    with_rig(scenario)


def test_an_output_counts_once_however_often_it_is_replaced_and_the_newest_stays() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.node_run()
        for n in range(1000):
            report.output("progress", "x" * 1000 + str(n))
        assert await report.finish(Succeeded()) == Delivered()
        run = rig.api.ledger.runs[run_id]
        assert run.output == {"progress": "x" * 1000 + "999"}
        assert run.log_text == ""

    with_rig(scenario)


def test_an_output_that_grows_too_large_is_left_out_once_said_and_its_old_value_is_not_told() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.node_run()
        for size in (10, 600_000, 700_000, 800_000):
            report.output("grows", "x" * size)
            report.output("ends small", "x" * size)
        report.output("ends small", 1)
        assert await report.finish(Succeeded()) == Delivered()
        run = rig.api.ledger.runs[run_id]
        assert run.output == {"ends small": 1}
        assert run.log_text.count("output 'grows' was left out") == 1

    with_rig(scenario)


def test_outputs_count_as_large_as_they_are_sent() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.node_run()
        report.output("escaped", "\x01" * 200_000)  # six characters each
        report.output("plain", "x" * 500_000)
        assert await report.finish(Succeeded()) == Delivered()
        assert rig.requests_of(run_id)[-1:] == [f"PATCH /v1/workflows/nodes/runs/{run_id}"]
        run = rig.api.ledger.runs[run_id]
        assert run.output == {"plain": "x" * 500_000}
        assert "output 'escaped' was left out" in run.log_text

    with_rig(scenario)


def test_nothing_that_leaves_the_process_shows_a_secret() -> None:
    async def scenario(rig: Rig) -> None:
        for run_id, report in (rig.action_run(SECRET), rig.node_run(SECRET)):
            late = "registered-later"
            report.mask(late)
            text = f"{SECRET} {late}"
            stream = report.stream("stdout")
            for i in range(0, len(text), 3):
                stream.write(text[i : i + 3].encode())
            stream.write(b"\nhun\x1b[1mter2-hun\x1b[0mter2\n")
            report.log(text, "ERROR")
            report.log("hun\x1b[1mter2-hun\x1b[0mter2")
            report.link(f"https://x/?token={SECRET}")
            report.summary({"deep": [text]})
            report.status_label("hun\x1b[1mter2-hunter2")
            report.external_run_id(text)
            report.output(SECRET, {SECRET: [text]})
            body: JsonObject = {"title": text, "properties": {SECRET: text, "n": 1}}
            await report.change_entity(EntityChange(EntityVerb.UPSERT, "service", "id", body))
            await report.finish(Failed(f"failed with {text}"))
            assert rig.api.ledger.runs[run_id].terminal_statuses
        entity = rig.api.ledger.catalogue["service", "id"]
        assert entity["properties"] == {MASK: f"{MASK} {MASK}", "n": 1}
        sent = repr([request.body for request in rig.api.ledger.requests if "token" not in request.path])
        assert MASK in sent
        assert "hunter2" not in sent
        assert "registered-later" not in sent

    with_rig(scenario)


def test_a_secret_that_would_be_in_a_path_is_told_nowhere() -> None:
    async def scenario(rig: Rig) -> None:
        _, report = rig.action_run(SECRET)
        with pytest.raises(EntityRefusedError) as caught:
            await report.change_entity(EntityChange(EntityVerb.PATCH, SECRET, SECRET))
        assert SECRET not in str(caught.value)
        assert rig.api.ledger.requests == []
        await report.finish(Succeeded())

    with_rig(scenario)


ECHO: dict[str, Json] = {
    "page": "x" * 290 + SECRET,
    "long message": {"message": "x" * 985 + SECRET},
    "message": {"message": f"cannot use {SECRET}"},
}


@pytest.mark.parametrize("echo", ECHO.values(), ids=list(ECHO))
@pytest.mark.parametrize("status", [400, 503])
def test_a_secret_that_port_says_back_is_masked_before_what_it_says_is_cut(status: int, echo: Json) -> None:
    """Refused and unanswered alike, for entities and for the end of the run."""

    async def scenario(rig: Rig) -> None:
        _, report = rig.action_run(SECRET)
        for path in ("*/entities", "/v1/actions/runs/*"):
            rig.faults(Fault(path=path, status=status, body=echo, times=None))
        if status == 503:
            rig.reporter.hurry(0.5)
        with pytest.raises(EntityRefusedError) as caught:
            await report.change_entity(EntityChange(EntityVerb.UPSERT, "service", "a"))
        reported = await report.finish(Succeeded())
        said = reported.message if isinstance(reported, Refused) else ""
        said += reported.reason if isinstance(reported, Undelivered) else ""
        for text in (str(caught.value), said):
            assert text
            assert SECRET[:6] not in text

    with_rig(scenario)


# ── entities ─────────────────────────────────────────────────────────────────────────────────────────


def test_entities_are_written_patched_and_deleted_tied_to_their_run() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        upsert = EntityChange(EntityVerb.UPSERT, "service", "a/b", {"title": "t", "properties": {"p": 1}})
        await report.change_entity(upsert)
        await report.change_entity(EntityChange(EntityVerb.PATCH, "service", "a/b", {"properties": {"q": 2}}))
        entity = rig.api.ledger.catalogue["service", "a/b"]
        assert entity["properties"] == {"p": 1, "q": 2}
        await report.change_entity(EntityChange(EntityVerb.DELETE, "service", "a/b"))
        await report.finish(Succeeded())
        run = rig.api.ledger.runs[run_id]
        assert [(write.verb, write.run_id) for write in run.entities] == [
            ("merge", run_id),
            ("patch", run_id),
            ("delete", run_id),
        ]

    with_rig(scenario)


@pytest.mark.parametrize("verb", EntityVerb)
@pytest.mark.parametrize("name", ["..", ".", "", "x" * 70_000, "\ud800"], ids=["..", ".", "empty", "long", "torn"])
def test_no_request_is_made_of_a_name_that_leads_elsewhere(verb: EntityVerb, name: str) -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        rig.api.ledger.catalogue["service", "a"] = {}
        changes = [EntityChange(verb, name, "a")]
        if verb is not EntityVerb.UPSERT:  # whose identifier is in the body
            changes.append(EntityChange(verb, "service", name))
        for change in changes:
            with pytest.raises(EntityRefusedError, match=rf"not asked to {verb} the entity .* none that") as caught:
                await report.change_entity(change)
            assert len(str(caught.value)) < 1500
            str(caught.value).encode()
        assert rig.api.ledger.requests == []
        assert await report.finish(Succeeded()) == Delivered()
        assert rig.requests_of(run_id) == [f"PATCH /v1/actions/runs/{run_id}"]

    with_rig(scenario)


@pytest.mark.parametrize("kind", [InvocationKind.ACTION_RUN, InvocationKind.NODE_RUN])
def test_a_run_of_an_id_that_port_never_gives_is_none(kind: InvocationKind) -> None:
    async def scenario(rig: Rig) -> None:
        report = rig.reporter.open(Subject(RunId(".."), kind), ())
        report.log("a line")
        assert await report.finish(Failed("why")) == NothingToReport()
        assert rig.api.ledger.requests == []

    with_rig(scenario)


def test_a_refused_entity_says_what_port_said() -> None:
    async def scenario(rig: Rig) -> None:
        _, report = rig.action_run()
        change = EntityChange(EntityVerb.PATCH, "service", "a", {"property": {}})
        with pytest.raises(
            EntityRefusedError, match=r"to patch the entity 'a' of blueprint 'service'.*\(HTTP 422\)"
        ):
            await report.change_entity(change)
        await report.finish(Succeeded())

    with_rig(scenario)


def test_an_entity_that_port_does_not_take_in_time_is_refused_too() -> None:
    async def scenario(rig: Rig) -> None:
        _, report = rig.action_run()
        rig.faults(Fault(path="*/entities", status=503, times=None))
        rig.reporter.hurry(0.2)
        with pytest.raises(
            EntityRefusedError, match="no answer in time when asked to upsert the entity of blueprint"
        ):
            await report.change_entity(EntityChange(EntityVerb.UPSERT, "service", None))
        report.abandon()

    with_rig(scenario)


def test_a_deletion_whose_answer_was_lost_counts_as_done() -> None:
    async def scenario(rig: Rig) -> None:
        _, report = rig.action_run()
        await report.change_entity(EntityChange(EntityVerb.UPSERT, "service", "a"))
        rig.faults(Fault(path="*/entities/a", method="DELETE", effect=Effect.DROP_REPLY))
        await report.change_entity(EntityChange(EntityVerb.DELETE, "service", "a"))
        assert ("service", "a") not in rig.api.ledger.catalogue
        await report.finish(Succeeded())

    with_rig(scenario)


# ── faults 8: Port's API in trouble, at the end of a run ─────────────────────────────────────────────

TROUBLE = {
    "429 with reset": Fault(
        status=429, headers={"x-ratelimit-reset": "0.1", "x-ratelimit-remaining": "0"}, times=2
    ),
    "5xx for long": Fault(status=503, times=6),
    "hang without answer": Fault(effect=Effect.HANG),
    "connection reset": Fault(effect=Effect.RESET, times=3),
    "slow": Fault(effect=Effect.DELAY, delay_s=0.2),
}


@pytest.mark.parametrize("fault", TROUBLE.values(), ids=list(TROUBLE))
@pytest.mark.parametrize(
    "where", ["*/access_token", "*/logs", "/v1/actions/runs/*"], ids=["token", "log", "status"]
)
def test_trouble_of_port_costs_latency_and_no_outcome(fault: Fault, where: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(where, "*", fault.effect, fault.status, fault.headers, None, fault.delay_s, fault.times))
        run_id, report = rig.action_run()
        report.log("a line")
        assert await report.finish(Succeeded("done")) == Delivered()
        run = rig.api.ledger.runs[run_id]
        assert (run.terminal_statuses, run.summary, run.log_text) == (["SUCCESS"], "done", "a line")

    with_rig(scenario, limits=HASTY)


def test_an_expired_token_in_the_middle_of_a_run_is_not_noticed() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.log("first")
        await until(lambda: len(rig.api.ledger.runs[run_id].logs) == 1)
        rig.api.credentials.expire_tokens()
        report.log("second")
        await until(lambda: len(rig.api.ledger.runs[run_id].logs) == 2)
        rig.api.credentials.expire_tokens()
        rig.client._tokens._keep_until_s = 0.0  # a token dies hourly, not twice a second
        assert await report.finish(Succeeded()) == Delivered()
        assert rig.api.ledger.runs[run_id].terminal_statuses == ["SUCCESS"]

    with_rig(scenario)


@pytest.mark.parametrize("status", [409, 404, 403, 422])
def test_a_run_that_is_closed_or_unknown_is_left_alone_and_its_status_is_tried_once(status: int) -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.ledger.closed_status = status
        run_id, report = rig.action_run()
        rig.api.ledger.patch_run(run_id, {"status": "FAILURE"})
        for n in range(5):
            report.log(f"line {n}")
            await asyncio.sleep(0.06)
        reported = await report.finish(Succeeded())
        assert isinstance(reported, Refused)
        assert reported.status_code == status
        assert rig.requests_of(run_id) == [
            f"POST /v1/actions/runs/{run_id}/logs",
            f"PATCH /v1/actions/runs/{run_id}",
        ]
        assert sum(event.lines for event in rig.facts.of(LogDropped)) == 5

    with_rig(scenario)


def test_when_nothing_gets_through_the_status_still_goes_after_a_bounded_time_and_says_what_is_missing() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/logs", status=503, times=None))
        run_id, report = rig.action_run()
        report.log("a\nb\nc")
        assert await report.finish(Failed("why")) == Delivered()
        assert rig.api.ledger.runs[run_id].summary == "why\n\n(3 log lines could not be uploaded in time.)"
        assert rig.facts.of(LogDropped) == [LogDropped(3, "undelivered")]

    log = LogLimits(interval_s=0.05, flush_timeout_s=0.2)
    with_rig(scenario, report=ReportLimits(log=log))


@pytest.mark.parametrize("kind", ["action", "node"])
def test_a_detail_that_port_does_not_like_does_not_leave_the_run_open(kind: str) -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run() if kind == "action" else rig.node_run()
        rig.faults(Fault(path=f"*/{run_id}", status=422))
        report.link("not to Port's taste")
        with capture_logs() as lines:
            assert await report.finish(Failed("why")) == Delivered()
        run = rig.api.ledger.runs[run_id]
        assert run.terminal_statuses == ["FAILURE" if kind == "action" else "FAILED"]
        assert run.links == []
        told = run.summary if kind == "action" else run.log_text
        assert told == f"why\n\n{REST_REFUSED}"
        assert lines == [
            {
                "event": "Port refused a part of the report",
                "log_level": "warning",
                "status_code": 422,
                "detail": "scripted 422",
            }
        ]

    with_rig(scenario)


@pytest.mark.parametrize("summary", [None, "done"])
def test_a_summary_that_port_does_not_like_either_is_given_up(summary: str | None) -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        rig.faults(Fault(path=f"*/{run_id}", status=422, times=2))
        report.link("not to Port's taste")
        assert await report.finish(Succeeded(summary)) == Delivered()
        assert rig.bodies(f"*/{run_id}")[1:] == [
            {"status": "SUCCESS", "summary": f"{summary or ''}\n\n{REST_REFUSED}".strip()},
            {"status": "SUCCESS"},
        ]

    with_rig(scenario)


def test_a_summary_alone_is_not_tried_twice() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        rig.faults(Fault(path=f"*/{run_id}", status=413))
        assert await report.finish(Failed("why")) == Delivered()
        assert rig.bodies(f"*/{run_id}") == [{"status": "FAILURE", "summary": "why"}, {"status": "FAILURE"}]

    with_rig(scenario)


def test_cancelling_the_last_report_gives_up() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.log("x")
        rig.faults(Fault(path=f"*/{run_id}*", effect=Effect.HANG, times=None))
        task = asyncio.create_task(report.finish(Succeeded()))
        await until(lambda: bool(rig.requests_of(run_id)))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await report.finish(Succeeded()) == NothingToReport()

    with_rig(scenario)


# ── faults 9: accepted, but the answer was lost ──────────────────────────────────────────────────────


@pytest.mark.parametrize("closed_status", [400, 403, 409, 422])
def test_a_status_whose_answer_was_lost_is_sent_again_and_there_is_one_terminal_status(closed_status: int) -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.ledger.closed_status = closed_status
        for run_id, report in (rig.action_run(), rig.node_run()):
            rig.faults(Fault(path=f"*/{run_id}", effect=Effect.DROP_REPLY))
            assert await report.finish(Succeeded("done")) == Delivered()
            run = rig.api.ledger.runs[run_id]
            assert run.terminal_statuses == ["SUCCESS"]
            assert run.refused_statuses

    with_rig(scenario)


def test_a_run_that_port_does_not_know_is_refused_even_after_a_lost_answer() -> None:
    async def scenario(rig: Rig) -> None:
        report = rig.reporter.open(Subject(RunId("r_unknown"), InvocationKind.ACTION_RUN), ())
        rig.faults(Fault(path="*/r_unknown", effect=Effect.DROP_REPLY))
        reported = await report.finish(Succeeded())
        assert isinstance(reported, Refused)
        assert reported.status_code == 404

    with_rig(scenario)


# ── the agent stops ──────────────────────────────────────────────────────────────────────────────────


def test_hurry_leaves_time_for_the_status_when_the_log_does_not_get_through() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/logs", effect=Effect.HANG, times=None))
        run_id, report = rig.action_run()
        report.log("x")
        task = asyncio.create_task(report.finish(Succeeded("done")))
        await until(lambda: bool(rig.requests_of(run_id)))
        rig.reporter.hurry(2.0)
        assert await task == Delivered()
        later_id, later = rig.action_run()
        later.log("y")
        assert await later.finish(Failed("stopped")) == Delivered()
        runs = rig.api.ledger.runs
        assert (runs[run_id].status, runs[later_id].status) == ("SUCCESS", "FAILURE")

    with_rig(scenario)


def test_in_a_hurry_and_with_port_away_reports_end_undelivered_in_time() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(status=503, times=None))
        reports = [rig.action_run()[1] for _ in range(20)]
        for report in reports:
            report.log("x")
        tasks = [asyncio.create_task(report.finish(Succeeded())) for report in reports]
        await until(lambda: bool(rig.api.ledger.requests))
        began_s = time.monotonic()
        rig.reporter.hurry(0.4)
        results = await asyncio.gather(*tasks)
        assert time.monotonic() - began_s < 10
        assert all(isinstance(result, Undelivered) for result in results)

    with_rig(scenario)


def test_closing_abandons_what_is_open() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(effect=Effect.HANG, times=None))
        _, report = rig.action_run()
        report.log("x")
        report.link("https://a.example")
        await until(lambda: bool(rig.api.ledger.requests))
        await rig.reporter.close()
        assert rig.reporter._tasks == set()
        assert await report.finish(Succeeded()) == NothingToReport()

    with_rig(scenario, report=ReportLimits(log=BRISK_LOG, early_after_s=0.01))
