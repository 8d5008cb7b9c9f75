"""Pending runs of the stand-in: claimed by one at a time, acknowledged once."""

from __future__ import annotations

from typing import Any

import pytest

from agent.domain.json import JsonObject
from agent.sandbox.pending import PendingRuns
from agent.sandbox.port_api import PortApi
from tests.sandbox.port_client import PortClient, with_api

METHOD: JsonObject = {"type": "WEBHOOK", "agent": True, "url": "http://hook", "body": {"a": 1}}
CLAIM: dict[str, Any] = {"installationId": "_PORT_EXEC_AGENT", "limit": 10, "invocationMethod": "WEBHOOK"}
CLAIM_NODES: dict[str, Any] = {"installationId": "_PORT_EXEC_AGENT", "limit": 10}


def always(_run_id: str) -> bool:
    return True


def test_a_claim_hides_a_run_for_its_time_and_no_longer() -> None:
    now_s = [100.0]
    pending = PendingRuns(lambda: now_s[0])
    pending.add("r_1", METHOD)
    pending.add("wfnr_1", METHOD)
    [given] = pending.claim(10, 60.0, always)
    assert (given["id"], given["payload"]) == ("r_1", METHOD)
    assert pending.claim(10, 60.0, always) == []
    [node] = pending.claim(10, 1.0, always, nodes=True)
    assert (node["identifier"], node["config"]) == ("wfnr_1", METHOD)
    now_s[0] = 159.9
    assert pending.claim(10, 60.0, always) == []
    now_s[0] = 160.0
    assert pending.claim(10, 60.0, always, exclude=["r_1"]) == []
    assert len(pending.claim(10, 60.0, always)) == 1
    assert pending.runs["r_1"].claims == 2


def test_the_oldest_come_first_and_no_more_than_asked_for() -> None:
    pending = PendingRuns()
    for number in range(5):
        pending.add(f"r_{number}", METHOD)
    assert [run["id"] for run in pending.claim(2, 60.0, always)] == ["r_0", "r_1"]
    assert [run["id"] for run in pending.claim(9, 60.0, lambda run_id: run_id != "r_2")] == ["r_3", "r_4"]


def test_what_was_acknowledged_is_pending_no_more() -> None:
    pending = PendingRuns()
    pending.add("r_1", METHOD)
    assert [pending.acknowledge("r_1"), pending.acknowledge("r_1"), pending.acknowledge("r_2")] == [
        True,
        False,
        None,
    ]
    assert pending.claim(10, 60.0, always) == []


def test_the_routes_of_action_runs() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act", pending=METHOD)
        ended = api.ledger.create_run("act", pending=METHOD, status="SUCCESS")
        claimed = await client("POST", "/v1/actions/runs/claim-pending", {**CLAIM, "visibilityTimeoutMs": 1000})
        assert [run["id"] for run in claimed.body["runs"]] == [run_id]
        assert (await client("POST", "/v1/actions/runs/claim-pending", CLAIM)).body["runs"] == []
        both = await client("PATCH", "/v1/actions/runs/ack", {"runIds": [run_id, "r_unknown"]})
        assert both.body["ackedCount"] == 1
        assert (await client("PATCH", "/v1/actions/runs/ack", {"runIds": [run_id]})).status == 409
        assert (await client("PATCH", "/v1/actions/runs/ack", {"runIds": ["r_unknown"]})).status == 404
        assert not api.ledger.pending.runs[ended].claims

    with_api(scenario)


def test_the_routes_of_workflow_nodes() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        api.ledger.create_run("act", run_id="wfnr_1", pending=METHOD)
        claimed = await client("POST", "/v1/workflows/runs/claim-pending", CLAIM_NODES)
        assert [run["identifier"] for run in claimed.body["nodeRuns"]] == ["wfnr_1"]
        body = {"nodeRunIdentifier": "wfnr_1"}
        assert (await client("PATCH", "/v1/workflows/runs/ack", body)).body["acked"] is True
        assert (await client("PATCH", "/v1/workflows/runs/ack", body)).status == 409

    with_api(scenario)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": "10"},
        {"installationId": "mine"},
        {"visibilityTimeoutMs": 600_001},
        {"visibilityTimeoutMs": 0},
        {"exclude": "r_1"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_claim_of_another_form_is_refused(wrong: dict[str, Any]) -> None:
    async def scenario(_api: PortApi, client: PortClient) -> None:
        assert (await client("POST", "/v1/actions/runs/claim-pending", CLAIM | wrong)).status == 422

    with_api(scenario)
