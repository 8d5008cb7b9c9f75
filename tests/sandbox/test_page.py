"""The page starts runs and tells what becomes of them, to this machine's browser and to nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox.actions import ACTIONS, OWN_SHAPES, Shape
from tests.sandbox.page_client import TOPIC, Visit, with_page


def test_every_action_has_its_form_and_nothing_foreign_becomes_markup() -> None:
    async def scenario(visit: Visit) -> None:
        async with visit.session.get(visit.page.url) as response:
            html = await response.text()
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        for action in ACTIONS:
            assert f'data-action="{action.identifier}"' in html
            assert all(f'name="{one.name}"' in html for one in action.inputs)
        assert "&lt;b&gt;&quot;routes&quot;.yaml" in html
        assert "Ctrl-C deletes" in html

    with_page(scenario)


def test_with_routes_of_ones_own_there_are_no_examples(tmp_path: Path) -> None:
    async def scenario(visit: Visit) -> None:
        async with visit.session.get(visit.page.url) as response:
            html = await response.text()
        assert "data-action" not in html
        assert "start-all" not in html
        assert "own-action" in html
        assert "Ctrl-C deletes" not in html

    with_page(scenario, tmp_path / "routes.yaml")


@pytest.mark.parametrize("name", ["status.css", "sandbox.css", "sandbox.js"])
def test_its_style_and_script_are_served(name: str) -> None:
    async def scenario(visit: Visit) -> None:
        async with visit.session.get(f"{visit.page.url}/static/{name}") as response:
            assert response.status == 200
            assert len(await response.text()) > 500
        async with visit.session.get(f"{visit.page.url}/static/x{name}") as response:
            assert response.status == 404

    with_page(scenario)


def test_an_invocation_begins_a_run_and_sends_its_message() -> None:
    async def scenario(visit: Visit) -> None:
        order = {"action": "import_services", "inputs": {"count": "12"}}
        async with visit.session.post(f"{visit.page.url}/invoke", json=order) as response:
            run_id = (await response.json())["run"]
        assert visit.ledger.runs[run_id].inputs == {"count": 12}
        assert sum(visit.broker.end_offsets(TOPIC).values()) == 1

    with_page(scenario)


@pytest.mark.parametrize("shape", OWN_SHAPES)
def test_an_action_of_the_visitors_own_can_be_invoked_and_its_message_be_had(shape: Shape) -> None:
    async def scenario(visit: Visit) -> None:
        own = {"own": True, "action": "mine", "blueprint": "b", "entity": "e", "shape": shape, "inputs": {"a": 1}}
        async with visit.session.post(f"{visit.page.url}/invoke", json=own) as response:
            run_id = (await response.json())["run"]
        run = visit.ledger.runs[run_id]
        assert (run.action, run.blueprint, run.entity, run.inputs) == ("mine", "b", "e", {"a": 1})
        async with visit.session.get(f"{visit.page.url}/message?run={run_id}") as response:
            assert "message.json" in response.headers["Content-Disposition"]
            message = await response.json()
        if shape is Shape.OWN_PAYLOAD:
            context = message.pop("port_context")
            assert message == {"a": 1}
        else:
            context = message["context"]
            assert message["payload"]["entity"]["identifier"] == "e"
            assert message["payload"]["action"]["trigger"] == "DAY-2"
        assert context == {"entity": "e", "blueprint": "b", "runId": run_id}

    with_page(scenario)


def test_a_run_that_nobody_began_here_has_no_message() -> None:
    async def scenario(visit: Visit) -> None:
        async with visit.session.get(f"{visit.page.url}/message?run=r_1") as response:
            assert response.status == 404

    with_page(scenario)


@pytest.mark.parametrize(("typed", "number"), [("12", 12), ("1.5", 1.5), (" 3.0 ", 3), ("-2e3", -2000)])
def test_numbers_are_taken_as_they_are_typed(typed: str, number: float) -> None:
    async def scenario(visit: Visit) -> None:
        order = {"action": "import_services", "inputs": {"count": typed}}
        async with visit.session.post(f"{visit.page.url}/invoke", json=order) as response:
            run_id = (await response.json())["run"]
        sent = visit.ledger.runs[run_id].inputs["count"]
        assert json.dumps(sent) == json.dumps(number)

    with_page(scenario)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({"action": "unknown", "inputs": {}}, "There is no example called 'unknown'."),
        ({"action": [], "inputs": {}}, "There is no example called []."),
        (
            {"action": "import_services", "inputs": {"count": "many"}},
            "Number of services: 'many' is not a number.",
        ),
        (
            {"action": "import_services", "inputs": {"count": "nan"}},
            "Number of services: 'nan' is not a number that JSON knows.",
        ),
        ({"action": "import_services", "inputs": []}, "The inputs must be a JSON object, such as"),
        (
            {"own": True, "action": "a", "shape": "none", "inputs": {}},
            "The message is one of these: Kafka; webhook",
        ),
        ({"own": True, "action": " ", "inputs": {}}, "Say which action"),
        ({"own": True, "action": "a", "entity": {}, "inputs": {}}, "Say which action"),
        ([], "An order is a JSON object"),
        ({}, "The inputs must be a JSON object"),
    ],
)
def test_a_wrong_order_is_refused_with_a_sentence(order: Any, told: str) -> None:
    async def scenario(visit: Visit) -> None:
        async with visit.session.post(f"{visit.page.url}/invoke", json=order) as response:
            assert response.status == 422
            assert (await response.json())["problem"].startswith(told)
        assert visit.ledger.runs == {}

    with_page(scenario)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "rebound.example"}, 403),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_other_sites_cannot_start_actions(headers: dict[str, str], status: int) -> None:
    async def scenario(visit: Visit) -> None:
        body = b'{"action": "import_services", "inputs": {"count": 1}}'
        given = {"Content-Type": "application/json"} | headers
        async with visit.session.post(f"{visit.page.url}/invoke", data=body, headers=given) as response:
            assert response.status == status
        assert visit.ledger.runs == {}

    with_page(scenario)


def test_the_chosen_runs_log_is_told_once_line_by_line() -> None:
    async def scenario(visit: Visit) -> None:
        run_id = visit.ledger.create_run("act", {"a": 1})
        visit.ledger.add_log(run_id, {"message": "one"})
        told: list[str] = []
        async for name, content in visit.events(run_id):
            if name == "runs":
                assert [row["id"] for row in content] == [run_id]
            if name != "run":
                continue
            told += [line["text"] for line in content["log"]]
            if told == ["one"]:
                visit.ledger.add_log(run_id, {"message": "two"})
                visit.ledger.patch_run(run_id, {"status": "SUCCESS", "link": "https://a.example"})
                visit.ledger.touch()
            if not content["going"]:
                break
        assert told == ["one", "two"]
        assert (content["status"], content["links"]) == ("SUCCESS", ["https://a.example"])
        assert content["logLines"] == 2

    with_page(scenario)


def test_an_open_stream_does_not_hold_up_the_end() -> None:
    async def scenario(visit: Visit) -> None:
        streams = [visit.events() for _ in range(3)]
        assert [(await anext(stream))[0] for stream in streams] == ["routes"] * 3

    with_page(scenario)


def test_a_run_that_no_route_takes_says_so_instead_of_going_on() -> None:
    async def scenario(visit: Visit) -> None:
        passed_over, taken = visit.ledger.create_run("act"), visit.ledger.create_run("act")
        visit.hear("no route takes this message", run_id=passed_over, reason="no route matched action 'act'")
        visit.hear("run started", run_id=taken, route="mine", executor="python")
        async for name, content in visit.events(passed_over):
            if name == "runs":
                rows = {row["id"]: row for row in content}
                assert (rows[passed_over]["going"], rows[taken]["going"]) == (False, True)
                assert rows[passed_over]["passedOver"] == "passed over: no route takes it"
                assert (rows[taken]["passedOver"], rows[taken]["executor"]) == ("", "python")
            if name == "run":
                break
        assert "no route matched action 'act'. A message of type KAFKA" in content["summary"]

    with_page(scenario)


def test_routes_that_the_agent_refuses_are_told_until_it_takes_some(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"

    async def scenario(visit: Visit) -> None:
        told = []
        async for name, content in visit.events():
            if name != "routes":
                continue
            told.append((content["problems"], [one["action"] for one in content["suggestions"]]))
            if len(told) == 1:
                visit.hear("routes reload refused", problems=["routes.yaml:1: nonsense"])
            elif len(told) == 2:
                routes.write_text("routes: [{match: {action: newcomer}}]")
                visit.hear("routes reloaded", routes=1)
            else:
                break
        assert told == [([], []), (["routes.yaml:1: nonsense"], []), ([], ["newcomer"])]

    with_page(scenario, routes)
