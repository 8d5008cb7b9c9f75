"""The answer of a synchronous call: what Port is given of it, when, and what if Port is in trouble."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from agent.domain.json import Json, JsonObject, compact
from agent.domain.outcome import Accepted, Failed, Succeeded
from agent.domain.redaction import MASK, Redactor
from agent.domain.settlement import Delivered
from agent.runs_api.details import ReportLimits
from agent.runs_api.response import response_data
from agent.sandbox.port_api import Effect, Fault
from tests.runs_api.rig import BRISK_LOG, Rig, with_rig

SECRET = "hunter2-hunter2"


def answer(text: str, value: Json = None, *, truncated: bool = False) -> JsonObject:
    return {"statusCode": 200, "headers": {}, "text": text, "json": value, "truncated": truncated}


def data(text: str, value: Json = None, *, truncated: bool = False, max_bytes: int = 1000) -> Any:
    return response_data(answer(text, value, truncated=truncated), Redactor([SECRET]), max_bytes)


# ── what it is ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ('{"a": 1}', {"a": 1}, {"a": 1}),
        ("[]", [], []),
        ("false", False, False),
        ("plain", None, "plain"),
        ("", None, None),
        (" \n", None, None),
        ("null", None, None),
        (f'{{"{SECRET}": "{SECRET}!"}}', {SECRET: f"{SECRET}!"}, {MASK: f"{MASK}!"}),
        (f"token {SECRET}", None, f"token {MASK}"),
    ],
)
def test_it_is_json_where_it_is_some_else_text_and_masked(text: str, value: Json, expected: Json) -> None:
    assert data(text, value) == expected


@pytest.mark.parametrize("letter", ["x", "ä", "\x01", '"', "😀"])
@pytest.mark.parametrize("wrap", [lambda text: text, lambda text: {"deep": [text]}])
def test_what_is_too_large_becomes_text_that_says_what_was_cut(letter: str, wrap: Any) -> None:
    value = wrap(letter * 5000)
    cut = data(compact(value), value)
    assert isinstance(cut, str)
    assert 900 < len(compact(cut).encode()) <= 1000
    kept, _, said = cut.partition(" … ")
    whole = value if isinstance(value, str) else compact(value)
    assert whole.startswith(kept)
    left_out = len(whole.encode()) - len(kept.encode())
    assert said == f"{left_out:,} bytes left out …"


def test_what_was_not_read_to_its_end_says_so() -> None:
    assert data('{"a": [1,', truncated=True) == '{"a": [1, … the rest of the answer was not read …'
    cut = data("x" * 5000, truncated=True)
    assert len(cut) <= 1000
    assert cut.endswith("bytes left out … … the rest of the answer was not read …")


# ── how it is told ───────────────────────────────────────────────────────────────────────────────────


def test_an_action_run_gets_it_before_its_log_and_its_status() -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run(SECRET)
        report.log("called")
        report.response(answer("?", {"token": SECRET}))
        assert await report.finish(Succeeded()) == Delivered()
        run = f"/v1/actions/runs/{run_id}"
        assert rig.requests_of(run_id) == [f"PATCH {run}/response", f"POST {run}/logs", f"PATCH {run}"]
        assert rig.bodies(f"{run}/response") == [{"response": {"token": MASK}}]

    with_rig(scenario)


@pytest.mark.parametrize(("value", "told"), [(7, "7"), (True, "true"), ([1], [1]), ("text", "text")])
def test_what_port_takes_as_a_response_is_an_object_an_array_or_text(value: Json, told: Json) -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.response(answer("?", value))
        await report.finish(Failed("no"))
        assert rig.api.ledger.runs[run_id].response == told

    with_rig(scenario)


@pytest.mark.parametrize("value", [{}, [], 0, False, ""])
def test_what_is_empty_is_not_told(value: Json) -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.action_run()
        report.response(answer("?", value))
        await report.finish(Succeeded())
        assert rig.requests_of(run_id) == [f"PATCH /v1/actions/runs/{run_id}"]

    with_rig(scenario)


@pytest.mark.parametrize("value", [{"a": 1}, {}, 0, "text"])
def test_a_node_has_it_among_its_outputs(value: Json) -> None:
    async def scenario(rig: Rig) -> None:
        run_id, report = rig.node_run()
        report.output("other", 1)
        report.response(answer("?", value))
        await report.finish(Succeeded())
        assert rig.requests_of(run_id) == [f"PATCH /v1/workflows/nodes/runs/{run_id}"]
        expected = {"other": 1, "response": {"status": 200, "data": value or {}}}
        assert rig.api.ledger.runs[run_id].output == expected

    with_rig(scenario)


def test_a_run_that_the_other_side_ends_gives_no_response() -> None:
    async def scenario(rig: Rig) -> None:
        for run_id, report in (rig.action_run(), rig.node_run()):
            report.response(answer("?", {"a": 1}))
            await report.finish(Accepted())
            assert rig.requests_of(run_id) == []

    with_rig(scenario)


def test_a_large_one_fits_what_port_takes() -> None:
    async def scenario(rig: Rig) -> None:
        large = {"items": ["\x01" * 1000] * 1000}
        for run_id, report in (rig.action_run(), rig.node_run()):
            report.response(answer(compact(large), large))
            assert report.size_bytes > 1_000_000
            assert await report.finish(Succeeded()) == Delivered()
            run = rig.api.ledger.runs[run_id]
            assert {request.status for request in rig.api.ledger.requests} == {200}
            assert "bytes left out …" in str(run.response or run.output)

    with_rig(scenario)


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_one_that_port_does_not_take_costs_itself_and_is_told_in_the_log(status: int) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/response", status=status))
        run_id, report = rig.action_run()
        report.response(answer("?", {"a": 1}))
        assert await report.finish(Succeeded()) == Delivered()
        run = rig.api.ledger.runs[run_id]
        assert run.terminal_statuses == ["SUCCESS"]
        assert run.log_text == f"Port did not take the response: scripted {status} (HTTP {status})"

    with_rig(scenario)


def test_it_is_sent_again_where_port_is_in_trouble() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/response", status=503, times=2), Fault(path="*/response", effect=Effect.RESET))
        run_id, report = rig.action_run()
        report.response(answer("?", {"a": 1}))
        assert await report.finish(Succeeded()) == Delivered()
        run = rig.api.ledger.runs[run_id]
        assert (run.response, run.terminal_statuses, run.log_text) == ({"a": 1}, ["SUCCESS"], "")

    with_rig(scenario)


def test_the_status_does_not_wait_for_ever_for_it() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/response", status=503, times=None))
        run_id, report = rig.action_run()
        report.response(answer("?", {"a": 1}))
        began_s = time.monotonic()
        assert await report.finish(Succeeded()) == Delivered()
        assert time.monotonic() - began_s < 10
        run = rig.api.ledger.runs[run_id]
        assert run.terminal_statuses == ["SUCCESS"]
        assert run.log_text.startswith("Port was not given the response in time: HTTP 503")

    with_rig(scenario, report=ReportLimits(log=replace(BRISK_LOG, flush_timeout_s=0.3)))
