"""The page starts runs and tells what becomes of them, to this machine's browser and to nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from agent.sandbox.actions import ACTIONS
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

    with_page(scenario)


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


def test_an_action_of_the_visitors_own_can_be_invoked_in_any_shape() -> None:
    async def scenario(visit: Visit) -> None:
        own = {"own": True, "action": "mine", "blueprint": "b", "shape": "webhook", "inputs": {"a": 1}}
        async with visit.session.post(f"{visit.page.url}/invoke", json=own) as response:
            run_id = (await response.json())["run"]
        assert visit.ledger.runs[run_id].action == "mine"

    with_page(scenario)


@pytest.mark.parametrize(
    "order",
    [
        {"action": "unknown", "inputs": {}},
        {"action": "import_services", "inputs": {"count": "many"}},
        {"action": "import_services", "inputs": []},
        {"own": True, "action": "a", "blueprint": "b", "shape": "none", "inputs": {}},
        {},
    ],
)
def test_a_wrong_order_is_refused_with_a_reason(order: Any) -> None:
    async def scenario(visit: Visit) -> None:
        async with visit.session.post(f"{visit.page.url}/invoke", json=order) as response:
            assert response.status == 422
            assert (await response.json())["problem"]
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
                continue
            told += [line["text"] for line in content["log"]]
            if told == ["one"]:
                visit.ledger.add_log(run_id, {"message": "two"})
                visit.ledger.patch_run(run_id, {"status": "SUCCESS", "link": "https://a.example"})
                visit.ledger.touch()
            if content["ended"]:
                break
        assert told == ["one", "two"]
        assert (content["status"], content["links"]) == ("SUCCESS", ["https://a.example"])
        assert content["logLines"] == 2

    with_page(scenario)


def test_an_open_stream_does_not_hold_up_the_end() -> None:
    async def scenario(visit: Visit) -> None:
        streams = [visit.events() for _ in range(3)]
        assert [(await anext(stream))[0] for stream in streams] == ["runs"] * 3

    with_page(scenario)
