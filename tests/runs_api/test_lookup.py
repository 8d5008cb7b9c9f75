from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.json import JsonObject
from agent.domain.outcome import Succeeded
from agent.domain.retry import Backoff
from agent.ports import Standing
from agent.runs_api.details import ReportLimits
from agent.runs_api.lookup import PortLookup
from agent.sandbox.port_api import Fault
from tests.runs_api.rig import Rig, until, with_rig

QUICK = Backoff(first_s=0.01, cap_s=0.02)


def test_a_run_is_in_progress_until_it_has_ended() -> None:
    async def scene(rig: Rig) -> None:
        run_id = rig.api.ledger.create_run("act")
        lookup = PortLookup(rig.client, QUICK)
        assert await lookup.standing(RunId(run_id), InvocationKind.ACTION_RUN) is Standing.IN_PROGRESS
        rig.api.ledger.patch_run(run_id, {"status": "FAILURE"})
        assert await lookup.standing(RunId(run_id), InvocationKind.ACTION_RUN) is Standing.OVER

    with_rig(scene)


@pytest.mark.parametrize("status", [403, 500])
def test_it_asks_until_port_tells(status: int) -> None:
    async def scene(rig: Rig) -> None:
        run_id = rig.api.ledger.create_run("act")
        rig.faults(Fault("/v1/actions/runs/*", status=status, times=3))
        standing = PortLookup(rig.client, QUICK).standing(RunId(run_id), InvocationKind.ACTION_RUN)
        assert await standing is Standing.IN_PROGRESS
        assert len(rig.requests_of(run_id)) == 4

    with_rig(scene)


@pytest.mark.parametrize("status", [404, 410, 422])
def test_what_port_says_it_does_not_have_is_unknown_at_once(status: int) -> None:
    async def scene(rig: Rig) -> None:
        run_id = rig.api.ledger.create_run("act")
        rig.faults(Fault("/v1/actions/runs/*", status=status))
        standing = PortLookup(rig.client, QUICK).standing(RunId(run_id), InvocationKind.ACTION_RUN)
        assert await standing is Standing.UNKNOWN
        assert len(rig.requests_of(run_id)) == 1

    with_rig(scene)


def test_asking_again_and_again_can_be_broken_off() -> None:
    async def scene(rig: Rig) -> None:
        run_id = rig.api.ledger.create_run("act")
        rig.faults(Fault("/v1/actions/runs/*", status=503, times=1_000))
        asking = asyncio.create_task(
            PortLookup(rig.client, QUICK).standing(RunId(run_id), InvocationKind.ACTION_RUN)
        )
        async with asyncio.timeout(20):
            while len(rig.requests_of(run_id)) < 2:  # noqa: ASYNC110 - nobody tells that a request came
                await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with_rig(scene)


@pytest.mark.parametrize(
    ("run_id", "kind"),
    [
        (None, InvocationKind.CHANGE_EVENT),
        (RunId("wfnr_1"), InvocationKind.NODE_RUN),
        (RunId("r_nobody_knows"), InvocationKind.ACTION_RUN),
        (RunId("no id/at all"), InvocationKind.ACTION_RUN),
        (RunId("no id/at all"), InvocationKind.NODE_RUN),
    ],
)
def test_what_port_cannot_be_asked_about_is_unknown(run_id: RunId | None, kind: InvocationKind) -> None:
    async def scene(rig: Rig) -> None:
        assert await PortLookup(rig.client, QUICK).standing(run_id, kind) is Standing.UNKNOWN

    with_rig(scene)


def test_what_port_refuses_to_tell_again_and_again_is_unknown_and_told_once() -> None:
    async def scene(rig: Rig) -> None:
        run_id = rig.api.ledger.create_run("act")
        rig.faults(Fault("/v1/actions/runs/*", status=403, times=None))
        with capture_logs() as lines:
            standing = PortLookup(rig.client, QUICK).standing(RunId(run_id), InvocationKind.ACTION_RUN)
            assert await standing is Standing.UNKNOWN
        assert len(rig.requests_of(run_id)) == 5
        warnings = [line for line in lines if line["log_level"] == "warning"]
        assert [line.get("status_code") for line in warnings] == [403, None]

    with_rig(scene)


# ── nodes of workflows ───────────────────────────────────────────────────────────────────────────────


def test_a_node_that_we_ended_is_found_and_another_one_is_not() -> None:
    async def scene(rig: Rig) -> None:
        lookup = PortLookup(rig.client, QUICK)
        (ended, report), (going_on, _) = rig.node_run(), rig.node_run()
        await report.finish(Succeeded())
        assert await lookup.standing(RunId(ended), InvocationKind.NODE_RUN) is Standing.OVER
        assert await lookup.standing(RunId(going_on), InvocationKind.NODE_RUN) is Standing.UNKNOWN

    with_rig(scene)


def test_the_id_that_an_action_gave_a_node_stays_and_so_it_cannot_be_found() -> None:
    async def scene(rig: Rig) -> None:
        run_id, report = rig.node_run()
        report.external_run_id("jenkins/42")
        await until(lambda: rig.api.ledger.runs[run_id].external_run_id == "jenkins/42")  # told early
        await report.finish(Succeeded())
        assert rig.api.ledger.runs[run_id].external_run_id == "jenkins/42"
        standing = PortLookup(rig.client, QUICK).standing(RunId(run_id), InvocationKind.NODE_RUN)
        assert await standing is Standing.UNKNOWN

    with_rig(scene, report=ReportLimits(early_after_s=0.01))


def test_where_nodes_cannot_be_asked_for_nothing_is_known_and_in_an_outage_it_asks_again() -> None:
    async def scene(rig: Rig) -> None:
        run_id, report = rig.node_run()
        await report.finish(Succeeded())
        lookup = PortLookup(rig.client, QUICK)
        rig.faults(Fault("/v1/workflows/nodes/runs", status=404))
        assert await lookup.standing(RunId(run_id), InvocationKind.NODE_RUN) is Standing.UNKNOWN
        rig.faults(Fault("/v1/workflows/nodes/runs", status=200, body={"ok": True}))
        rig.faults(Fault("/v1/workflows/nodes/runs", status=503))
        assert await lookup.standing(RunId(run_id), InvocationKind.NODE_RUN) is Standing.OVER

    with_rig(scene)


# ── runs that were closed ────────────────────────────────────────────────────────────────────────────


def _in_progress(rig: Rig, count: int) -> list[RunId]:
    return [RunId(rig.api.ledger.create_run("act")) for _ in range(count)]


def test_of_many_it_asks_once_and_then_about_those_that_are_missing() -> None:
    async def scene(rig: Rig) -> None:
        runs = _in_progress(rig, 5)
        rig.api.ledger.patch_run(runs[2], {"status": "FAILURE"})
        assert await PortLookup(rig.client).closed(runs) == {runs[2]}
        asked = [f"{r.method} {r.path}" for r in rig.api.ledger.requests if "access_token" not in r.path]
        assert asked == ["GET /v1/actions/runs", f"GET /v1/actions/runs/{runs[2]}"]

    with_rig(scene)


def test_of_one_it_asks_itself() -> None:
    async def scene(rig: Rig) -> None:
        [run] = _in_progress(rig, 1)
        lookup = PortLookup(rig.client)
        assert await lookup.closed([run]) == set()
        rig.api.ledger.patch_run(run, {"status": "SUCCESS"})
        assert await lookup.closed([run]) == {run}
        assert rig.requests_of(run) == [f"GET /v1/actions/runs/{run}"] * 2

    with_rig(scene)


def test_a_list_that_does_not_hold_all_closes_nobody() -> None:
    async def scene(rig: Rig) -> None:
        runs = _in_progress(rig, 30)
        rig.faults(Fault("/v1/actions/runs", status=200, body={"ok": True, "runs": []}))
        assert await PortLookup(rig.client).closed(runs) == set()
        asked = [r for r in rig.api.ledger.requests if r.run_id]
        assert len(asked) == 20  # not all of them, each time

    with_rig(scene)


@pytest.mark.parametrize("body", [None, {"ok": True}, {"runs": "many"}])
def test_where_port_does_not_tell_nobody_is_closed(body: JsonObject | None) -> None:
    async def scene(rig: Rig) -> None:
        runs = _in_progress(rig, 2)
        for run in runs:
            rig.api.ledger.patch_run(run, {"status": "FAILURE"})
        rig.faults(Fault("/v1/actions/runs", status=403 if body is None else 200, body=body))
        assert await PortLookup(rig.client).closed(runs) == set()

    with_rig(scene)


def test_while_requests_are_scarce_it_does_not_ask() -> None:
    async def scene(rig: Rig) -> None:
        [run] = _in_progress(rig, 1)
        rig.api.rate_limit.limit = 100
        rig.api.rate_limit.used = 95
        rig.api.rate_limit.window_ends_s = float("inf")
        lookup = PortLookup(rig.client)
        await lookup.closed([run])
        before = len(rig.api.ledger.requests)
        assert rig.client.budget_is_low()
        assert await lookup.closed([run]) == set()
        assert len(rig.api.ledger.requests) == before

    with_rig(scene)
