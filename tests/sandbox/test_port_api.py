"""The stand-in must be as strict as Port, or the tests that lean on it prove nothing."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from agent.sandbox.port_api import Credentials, Ledger, PortApi, RateLimit
from tests.sandbox.port_client import PortClient, with_api

Touch = Callable[[PortClient, str], Awaitable[int]]


def _touching(method: str, path: str, body: Any) -> Touch:
    async def touch(client: PortClient, run_id: str) -> int:
        return (await client(method, path.format(run_id), body)).status

    return touch


TOUCHES = {
    "patch": _touching("PATCH", "/v1/actions/runs/{}", {"status": "FAILURE"}),
    "empty patch": _touching("PATCH", "/v1/actions/runs/{}", {}),
    "log": _touching("POST", "/v1/actions/runs/{}/logs", {"message": "late"}),
    "response": _touching("PATCH", "/v1/actions/runs/{}/response", {"response": "late"}),
    "entity": _touching("POST", "/v1/blueprints/b/entities?upsert=true&run_id={}", {"identifier": "e"}),
}


def test_a_token_is_given_for_the_right_secret_only_and_says_how_long_it_lasts() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        answer = await client.login()
        assert answer.status == 200
        assert answer.body["tokenType"] == "Bearer"
        assert answer.body["expiresIn"] == api.credentials.token_lifetime_s
        wrong = await client("POST", "/v1/auth/access_token", {"clientId": api.client_id, "clientSecret": "no"})
        assert (wrong.status, wrong.body["ok"]) == (401, False)
        extra = {"clientId": api.client_id, "clientSecret": api.client_secret, "scope": "all"}
        assert (await client("POST", "/v1/auth/access_token", extra)).status == 422

    with_api(scenario)


def test_requests_without_a_good_token_are_refused() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        assert (await client("GET", f"/v1/actions/runs/{run_id}")).status == 200
        api.credentials.expire_tokens()
        refused = await client("GET", f"/v1/actions/runs/{run_id}")
        assert (refused.status, refused.body["error"]) == (401, "unauthorized")

    with_api(scenario)


def test_tokens_expire_by_themselves() -> None:
    async def scenario(_api: PortApi, client: PortClient) -> None:
        assert (await client("GET", "/v1/organization")).status == 401

    with_api(scenario, credentials=Credentials(token_lifetime_s=0.0))


@pytest.mark.parametrize(
    "body",
    [
        {"link": 7},
        {"link": ["https://a.example", 7]},
        {"summary": {"a": 1}},
        {"externalRunId": 42},
        {"status": "IN_PROGRESS"},
        {"statusLabel": None},
        {"labels": "x"},
        [],
    ],
)
def test_a_run_takes_no_unknown_or_mistyped_keys(body: Any) -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        answer = await client("PATCH", f"/v1/actions/runs/{run_id}", body)
        assert answer.status == 422
        assert answer.body.keys() == {"ok", "error", "message"}
        assert api.ledger.runs[run_id].terminal_statuses == []
        assert api.ledger.requests[-1].body == body

    with_api(scenario)


@pytest.mark.parametrize(
    "body", [{}, {"message": 1}, {"message": "x", "terminationStatus": "DONE"}, {"message": "x", "level": "INFO"}]
)
def test_a_log_takes_no_unknown_or_mistyped_keys(body: Any) -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        assert (await client("POST", f"/v1/actions/runs/{run_id}/logs", body)).status == 422
        assert api.ledger.runs[run_id].logs == []

    with_api(scenario)


def test_a_run_is_changed_until_its_terminal_status() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act", {"n": 1}, blueprint="service")
        path = f"/v1/actions/runs/{run_id}"
        assert (await client("POST", f"{path}/logs", {"message": "one"})).status == 201
        assert (await client("PATCH", path, {"link": "https://a.example", "statusLabel": "busy"})).status == 200
        assert (await client("PATCH", path, {"link": ["https://b.example"], "externalRunId": "7"})).status == 200
        assert (await client("PATCH", f"{path}/response", {"response": {"a": 1}})).status == 200
        done = await client("PATCH", path, {"status": "SUCCESS", "summary": "all good"})
        assert done.body["run"]["status"] == "SUCCESS"

        run = api.ledger.runs[run_id]
        assert (run.links, run.status_label, run.external_run_id) == (["https://b.example"], "busy", "7")
        assert (run.summary, run.terminal_statuses, run.log_text) == ("all good", ["SUCCESS"], "one")
        shown = (await client("GET", f"{path}?version=v2")).body["run"]
        assert shown["action"]["identifier"] == "act"
        assert (await client("GET", f"{path}?version=v1")).body["run"]["action"] == "act"
        logs = (await client("GET", f"{path}/logs?limit=50")).body["runLogs"]
        assert [line["message"] for line in logs] == ["one"]
        assert api.ledger.requests_of(run_id) == 8

    with_api(scenario)


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES.keys())
def test_nothing_touches_a_finished_run(touch: Touch) -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        end = {"message": "bye", "terminationStatus": "SUCCESS", "statusLabel": "done"}
        assert (await client("POST", f"/v1/actions/runs/{run_id}/logs", end)).status == 201
        assert await touch(client, run_id) == 409
        run = api.ledger.runs[run_id]
        assert (run.terminal_statuses, run.status_label, run.log_text) == (["SUCCESS"], "done", "bye")
        assert (run.entities, api.ledger.catalogue) == ([], {})

    with_api(scenario)


def test_a_refused_second_status_is_remembered() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        for status in ("SUCCESS", "FAILURE"):
            await client("PATCH", f"/v1/actions/runs/{run_id}", {"status": status})
        assert api.ledger.runs[run_id].refused_statuses == ["FAILURE"]

    with_api(scenario)


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES.keys())
def test_unknown_runs_are_404_unless_they_begin_when_first_named(touch: Touch) -> None:
    async def strict(api: PortApi, client: PortClient) -> None:
        assert await touch(client, "r_unknown") == 404
        assert api.ledger.runs == {}

    async def lenient(api: PortApi, client: PortClient) -> None:
        assert await touch(client, "r_unknown") in (200, 201)
        assert list(api.ledger.runs) == ["r_unknown"]

    with_api(strict)
    with_api(lenient, ledger=lambda: Ledger(create_on_first_touch=True))


def test_a_body_over_one_mebibyte_is_refused() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("act")
        client.extra_headers = {"Content-Type": "application/json"}
        for length, expected in ((1024 * 1024 - 20, 201), (1024 * 1024, 413)):
            body = io.BytesIO(json.dumps({"message": "x" * length}).encode())
            answer = await client("POST", f"/v1/actions/runs/{run_id}/logs", data=body)
            assert (answer.status, answer.body["ok"]) == (expected, expected == 201)

    with_api(scenario)


def test_every_answer_tells_the_budget_and_a_trace_id() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        api.rate_limit = RateLimit(limit=10, period_s=60)
        for status, path in [(200, "/v1/organization"), (404, "/v1/nothing"), (404, "/v1/actions/runs/r_unknown")]:
            answer = await client("GET", path)
            assert answer.status == status
            assert len(answer.headers["x-trace-id"]) == 32
            assert answer.headers["x-ratelimit-limit"] == "10"
        assert answer.headers["x-ratelimit-remaining"] == "7"
        assert answer.headers["x-ratelimit-period"] == "60"
        assert 50 < float(answer.headers["x-ratelimit-reset"]) <= 60

    with_api(scenario)


@pytest.mark.parametrize(
    "stray", ["DELETE /v1/blueprints/service", "GET /v1/nothing", "DELETE /v1/blueprints/b/entities", "PATCH /"]
)
def test_a_request_that_went_astray_is_recorded_and_pointed_out(stray: str) -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        await client("GET", "/v1/organization")
        assert api.ledger.strays == []
        assert (await client(*stray.split())).status in (404, 405)
        assert api.ledger.strays == api.ledger.counts()["strays"] == [stray]
        last = api.ledger.requests[-1]
        assert (f"{last.method} {last.path}", last.stray, last.applied) == (stray, True, False)

    with_api(scenario)


def test_a_spent_budget_is_429_until_the_window_ends() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        api.rate_limit = RateLimit(limit=1, period_s=60, enforced=True, reset_as_epoch=True)
        assert (await client("GET", "/v1/organization")).status == 200
        refused = await client("GET", "/v1/organization")
        assert refused.status == 429
        assert float(refused.headers["x-ratelimit-reset"]) > 10**8
        api.rate_limit.window_ends_s = 0.0
        assert (await client("GET", "/v1/organization")).status == 200

    with_api(scenario)


def test_entities_are_created_merged_patched_and_deleted_within_a_run() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id, entities = api.ledger.create_run("act"), "/v1/blueprints/service/entities"
        first = {"identifier": "api", "title": "API", "properties": {"tier": 1, "lang": "go"}}
        assert (await client("POST", f"{entities}?run_id={run_id}", first)).status == 201
        assert (await client("POST", entities, first)).status == 409
        more = {"identifier": "api", "properties": {"tier": 2}}
        assert (await client("POST", f"{entities}?upsert=true&merge=true&run_id={run_id}", more)).status == 201
        kept = api.ledger.catalogue["service", "api"]
        assert kept["properties"] == {"tier": 2, "lang": "go"}
        assert kept["title"] == "API"
        assert (await client("POST", f"{entities}?upsert=true&run_id={run_id}", more)).status == 201
        assert api.ledger.catalogue["service", "api"] == more
        patch = {"properties": {"lang": "rust"}}
        assert (await client("PATCH", f"{entities}/api?run_id={run_id}", patch)).status == 200
        assert (await client("PATCH", f"{entities}/api?run_id={run_id}", {"colour": "red"})).status == 422
        assert (await client("GET", f"{entities}/api")).body["entity"]["properties"] == {"tier": 2, "lang": "rust"}
        assert (await client("DELETE", f"{entities}/api?delete_dependents=false&run_id={run_id}")).status == 200
        assert (await client("DELETE", f"{entities}/api")).status == 404
        verbs = [write.verb for write in api.ledger.runs[run_id].entities]
        assert verbs == ["create", "merge", "upsert", "patch", "delete"]

    with_api(scenario)


@pytest.mark.parametrize(
    ("query", "body"),
    [("upsert=yes", {"identifier": "a"}), ("", {"identifier": "a b"}), ("", {"identifier": 7}), ("", {"title": 7})],
)
def test_a_malformed_entity_is_refused(query: str, body: Any) -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        assert (await client("POST", f"/v1/blueprints/service/entities?{query}", body)).status == 422
        assert api.ledger.catalogue == {}

    with_api(scenario)


def test_node_runs_have_their_own_routes_and_levels() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        run_id = api.ledger.create_run("node", run_id="wfnr_1")
        path = f"/v1/workflows/nodes/runs/{run_id}"
        assert (await client("PATCH", f"/v1/actions/runs/{run_id}", {"status": "SUCCESS"})).status == 404
        assert (
            await client("POST", f"{path}/logs", {"logs": [{"level": "WARNING", "message": "x"}]})
        ).status == 422
        assert (await client("POST", f"{path}/logs", {"logs": [{"level": "WARN", "message": "x"}]})).status == 200
        assert (await client("PATCH", path, {"status": "COMPLETED"})).status == 422
        assert (await client("PATCH", path, {"status": "IN_PROGRESS", "externalRunId": "9"})).status == 200
        assert (await client("GET", "/v1/workflows/nodes/runs?external_run_id=9")).body["nodeRuns"] != []
        end = {"status": "COMPLETED", "result": "FAILED", "output": {"a": 1}, "links": ["https://a.example"]}
        assert (await client("PATCH", path, end)).status == 200
        assert (await client("PATCH", path, end)).status == 409
        run = api.ledger.runs[run_id]
        assert (run.terminal_statuses, run.output, run.logs[0].level) == (["FAILED"], {"a": 1}, "WARN")

    with_api(scenario)


def test_runs_are_listed_by_what_they_are_about() -> None:
    async def scenario(api: PortApi, client: PortClient) -> None:
        ended = api.ledger.create_run("one", blueprint="service")
        await client("PATCH", f"/v1/actions/runs/{ended}", {"status": "SUCCESS", "externalRunId": "x1"})
        going = api.ledger.create_run("two", blueprint="service")
        for query, expected in {
            "blueprint=service": [ended, going],
            "active=true": [going],
            "action=one": [ended],
            "external_run_id=x1": [ended],
            "limit=1": [going],
        }.items():
            listed = (await client("GET", f"/v1/actions/runs?{query}")).body["runs"]
            assert [run["id"] for run in listed] == expected, query
        assert (await client("GET", "/v1/actions/runs?limit=0")).status == 422

    with_api(scenario)


def test_the_organisation_and_its_kafka_credentials_can_be_asked_for() -> None:
    async def scenario(client: PortClient) -> None:
        await client.login()
        assert (await client("GET", "/v1/kafka-credentials")).body["credentials"]["brokers"] == ["b:9196"]
        assert (await client("GET", "/v1/organization")).body["organization"]["id"] == "org_mine"
        setting = {"settings": {"portAgentStreamerName": "KAFKA"}}
        assert (await client("PATCH", "/v1/organization", setting)).status == 200
        assert (await client("PATCH", "/v1/organization", {"color": "red"})).status == 422

    async def run() -> None:
        kafka = {"brokers": ["b:9196"], "username": "u", "password": "p"}
        async with PortApi.serve(org_id="org_mine", kafka=kafka) as api, aiohttp.ClientSession() as session:
            await scenario(PortClient(api, session))

    asyncio.run(run())
