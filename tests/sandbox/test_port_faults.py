"""The stand-in misbehaves when told to, and runs as a process of its own for tests that need one."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import aiohttp
import pytest

from agent.sandbox.port_api import Effect, Fault, PortApi
from tests.sandbox.port_client import PortClient, with_api


def test_a_scripted_answer_comes_as_often_as_it_says_and_applies_nothing() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        path = f"/v1/actions/runs/{run_id}/logs"
        api.script.add(Fault(path="*/logs", status=503, headers={"retry-after": "7"}, times=2, skip=1))
        answers = [await client("POST", path, {"message": str(i)}) for i in range(4)]
        assert [answer.status for answer in answers] == [201, 503, 503, 201]
        assert answers[1].headers["retry-after"] == "7"
        assert api.ledger.runs[run_id].log_text == "0\n3"
        assert [request.applied for request in api.ledger.requests_to("*/logs")] == [True, False, False, True]

    with_api(scenario)


@pytest.mark.parametrize(
    ("place", "order", "told"),
    [
        (
            "faults",
            {"faults": [{"effect": "explode"}]},
            "there is no effect 'explode'; it is one of answer, delay, hang, reset, drop_reply",
        ),
        ("faults", {"faults": [{"colour": "red"}]}, "colour"),
        ("faults", {"faults": [1]}, "mapping"),
        ("faults", {"rate_limit": {"colour": "red"}}, "colour"),
        ("faults", 1, "not iterable"),
        ("runs", {"colour": "red"}, "colour"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_a_sentence_and_changes_nothing(
    place: str, order: Any, told: str
) -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        api.script.add(Fault(path="/there/before"))
        if isinstance(order, dict) and place == "faults":
            order["clear"] = True
        answer = await client("POST", f"/_{place}", order)
        assert (answer.status, answer.body["error"]) == (400, "bad_request")
        assert answer.body["message"].startswith("The order makes no sense: ")
        assert told in answer.body["message"]
        assert [fault.path for fault in api.script.faults] == ["/there/before"]
        assert api.ledger.runs == {}

    with_api(scenario)


def test_a_dropped_reply_is_applied_and_a_reset_is_not() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        path = f"/v1/actions/runs/{run_id}/logs"
        api.script.add(Fault(path=path, effect=Effect.DROP_REPLY), Fault(path=path, effect=Effect.RESET))
        for message in ("dropped", "reset"):
            with pytest.raises(aiohttp.ClientConnectionError):
                await client("POST", path, {"message": message})
        assert (await client("POST", path, {"message": "last"})).status == 201
        assert api.ledger.runs[run_id].log_text == "dropped\nlast"
        assert [request.status for request in api.ledger.requests_to(path)] == [None, None, 201]

    with_api(scenario)


def test_a_hanging_request_gets_no_answer_and_does_not_hold_up_the_end() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        api.script.add(Fault(path="/v1/organization", effect=Effect.HANG))
        client.timeout_s = 0.2
        with pytest.raises(TimeoutError):
            await client("GET", "/v1/organization")

    with_api(scenario)


def test_a_delayed_request_is_served_late() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        api.script.add(Fault(path="/v1/organization", effect=Effect.DELAY, delay_s=0.2))
        clock = asyncio.get_running_loop()
        began = clock.time()
        assert (await client("GET", "/v1/organization")).status == 200
        assert clock.time() - began >= 0.19

    with_api(scenario)


def test_waiting_for_the_ledger_ends_with_the_change_or_with_a_reason() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        waiting = asyncio.create_task(api.ledger.wait_until(lambda ledger: not ledger.unfinished()))
        await client("PATCH", f"/v1/actions/runs/{run_id}", {"status": "SUCCESS"})
        await waiting
        with pytest.raises(TimeoutError, match="did not come true"):
            await api.ledger.wait_until(lambda ledger: len(ledger.runs) == 2, timeout_s=0.05)

    with_api(scenario)


# ── as a process of its own ──────────────────────────────────────────────────────────────────────────


def test_it_runs_as_a_process_that_can_be_asked_and_scripted() -> None:
    command = [sys.executable, "-m", "agent.sandbox.port_api", "--create-on-first-touch", "--client-id", "me"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert told["client_id"] == "me"
            created = _post(told["url"] + "/_runs", {"action": "act", "run_id": "r_1"})
            assert created == {"run_id": "r_1"}
            faults = {"clear": True, "faults": [{"path": "*", "status": 503}], "expire_tokens": True}
            _post(told["url"] + "/_faults", faults | {"rate_limit": {"limit": 5}})
            token = {"clientId": "me", "clientSecret": told["client_secret"]}
            with pytest.raises(urllib.error.HTTPError, match="503") as refused:
                _post(told["url"] + "/v1/auth/access_token", token)
            refused.value.close()
            assert _post(told["url"] + "/v1/auth/access_token", token)["ok"] is True
            ledger = _ask(told["url"] + "/_ledger")
            assert ledger["counts"]["unfinished"] == 1
            assert [request["status"] for request in ledger["requests"]] == [503, 200]
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def _post(url: str, body: Any) -> Any:
    headers = {"Content-Type": "application/json"}
    return _ask(urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST"))  # noqa: S310 - loopback


def _ask(request: str | urllib.request.Request) -> Any:
    with urllib.request.urlopen(request) as response:  # noqa: S310 - loopback
        return json.load(response)
