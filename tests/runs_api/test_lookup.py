from __future__ import annotations

import asyncio

import pytest

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.retry import Backoff
from agent.ports import Standing
from agent.runs_api.lookup import PortLookup
from agent.sandbox.port_api import Fault
from tests.runs_api.rig import Rig, with_rig

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
    ],
)
def test_what_port_cannot_be_asked_about_is_unknown(run_id: RunId | None, kind: InvocationKind) -> None:
    async def scene(rig: Rig) -> None:
        assert await PortLookup(rig.client, QUICK).standing(run_id, kind) is Standing.UNKNOWN

    with_rig(scene)
