"""The page in a real browser: actions start, runs arrive live, and what a run says never becomes markup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sandbox.browser import Tab, open_tab
from tests.sandbox.page_client import Visit, with_page

EVIL = '<img src=x onerror="window.evil = true"><script>window.evil = true</script>'

pytestmark = pytest.mark.browser


def _click_start(action: str) -> str:
    return f"document.querySelector('form[data-action={action}] button').click(), true"


async def _text(tab: Tab, place: str) -> str:
    return str(await tab.evaluate(f"document.getElementById('{place}').innerText"))


def test_an_action_is_started_and_its_run_arrives_live(chromium: str, tmp_path: Path) -> None:
    async def scenario(visit: Visit) -> None:
        async with open_tab(chromium, visit.page.url, tmp_path) as tab:
            await tab.evaluate(_click_start("create_microservice"))
            await tab.until("document.querySelectorAll('#runs tr').length === 1")
            await tab.until("!document.getElementById('run').hidden")
            run_id = next(iter(visit.ledger.runs))
            assert visit.ledger.runs[run_id].inputs["name"] == "my-microservice"

            visit.ledger.add_log(run_id, {"message": "first\nsecond", "statusLabel": "building"})
            visit.ledger.touch()
            await tab.until("document.getElementById('run-log').textContent === 'first\\nsecond\\n'")
            assert await _text(tab, "run-label") == "building"
            assert await _text(tab, "run-status") == "in progress"

            visit.ledger.add_log(run_id, {"message": "third"})
            end = {"status": "SUCCESS", "summary": "it is up", "link": ["https://a.example"]}
            visit.ledger.patch_run(run_id, end)
            visit.ledger.touch()
            await tab.until("document.getElementById('run-status').innerText === 'success'")
            assert await _text(tab, "run-log") == "first\nsecond\nthird\n"
            assert await _text(tab, "run-summary") == "it is up"
            assert await tab.evaluate("document.querySelector('#run-facts a').href") == "https://a.example/"
            assert tab.troubles == []

    with_page(scenario)


def test_nothing_that_a_run_says_becomes_markup(chromium: str, tmp_path: Path) -> None:
    async def scenario(visit: Visit) -> None:
        async with open_tab(chromium, visit.page.url, tmp_path) as tab:
            await tab.evaluate(_click_start("create_microservice"))
            await tab.until("!document.getElementById('run').hidden")
            run_id = next(iter(visit.ledger.runs))
            visit.ledger.add_log(run_id, {"message": EVIL})
            visit.ledger.write_entity("upsert", EVIL, EVIL, {"title": EVIL}, run_id)
            end = {"status": "SUCCESS", "summary": EVIL, "statusLabel": EVIL, "externalRunId": EVIL}
            visit.ledger.patch_run(run_id, end | {"link": ["javascript:window.evil=true", EVIL]})
            visit.ledger.touch()
            await tab.until("document.getElementById('run-status').innerText === 'success'")
            assert await _text(tab, "run-summary") == EVIL
            shown = await _text(tab, "run")
            assert shown.count("window.evil") >= 8
            assert (
                await tab.evaluate("document.querySelectorAll('#run img, #run script, #run-facts a').length") == 0
            )
            assert await tab.evaluate("window.evil === undefined") is True
            assert tab.troubles == []

    with_page(scenario)


async def _own(tab: Tab, name: str) -> str:
    return str(await tab.evaluate(f"document.querySelector('#own-action').elements['{name}'].value"))


def _choose_action(name: str) -> str:
    field = "document.querySelector('#own-action').elements.action"
    return f"{field}.value = '{name}', {field}.dispatchEvent(new Event('input'))"


OWN_ROUTES = """
routes:
  - {name: a, match: {action: create, blueprint: vm}, process: {command: [x, "{{ .inputs.name }}"]}}
  - {name: b, match: {action: restart, type: WEBHOOK}, http: {url: "http://x/{{ .entity.identifier }}"}}
"""


def test_the_form_for_an_action_of_ones_own_is_filled_from_the_routes(chromium: str, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(OWN_ROUTES)

    async def scenario(visit: Visit) -> None:
        async with open_tab(chromium, visit.page.url, tmp_path / "profile") as tab:
            await tab.until("document.querySelector('#own-action').elements.action.value === 'create'")
            assert [await _own(tab, name) for name in ("blueprint", "entity", "shape")] == ["vm", "", "Kafka"]
            assert json.loads(await _own(tab, "inputs")) == {"name": "some-name"}
            await tab.evaluate(_choose_action("restart"))
            assert [await _own(tab, name) for name in ("blueprint", "entity")] == ["service", "some-entity"]
            assert "WEBHOOK" in await _text(tab, "shape-about")
            assert json.loads(await _own(tab, "inputs")) == {}
            await tab.evaluate("document.querySelector('#own-action').elements.inputs.value = '[1]', true")
            await tab.evaluate(_choose_action("create"))
            assert await _own(tab, "inputs") == "[1]", "what the visitor typed stays"
            await tab.evaluate("document.querySelector('#own-action').requestSubmit()")
            await tab.until("document.querySelector('#own-action .problem').textContent.includes('JSON object')")
            await tab.evaluate("document.querySelector('#own-action').elements.inputs.value = '{}', true")
            await tab.evaluate("document.querySelector('#own-action').requestSubmit()")
            await tab.until("document.getElementById('run-message').textContent.includes('runId')")
            message = json.loads(await tab.evaluate("document.getElementById('run-message').textContent"))
            [run] = visit.ledger.runs.values()
            assert (run.action, run.entity) == ("create", None)
            assert message["context"] == {"entity": None, "blueprint": "vm", "runId": run.id}
            place = await tab.evaluate("document.getElementById('download-message').href")
            assert place == f"{visit.page.url}/message?run={run.id}"
            [trouble] = tab.troubles
            assert "422" in trouble, "the browser itself logs that the first order was refused"

    with_page(scenario, tmp_path / "routes.yaml")


def test_what_the_agent_passes_over_or_refuses_is_seen(chromium: str, tmp_path: Path) -> None:
    async def scenario(visit: Visit) -> None:
        async with open_tab(chromium, visit.page.url, tmp_path) as tab:
            await tab.evaluate(_click_start("create_microservice"))
            await tab.until("!document.getElementById('run').hidden")
            assert await tab.evaluate("document.getElementById('routes-refused').checkVisibility()") is False
            run_id = next(iter(visit.ledger.runs))
            visit.hear("no route takes this message", run_id=run_id, reason=EVIL)
            visit.hear("routes reload refused", problems=["routes.yaml:1: " + EVIL])
            await tab.until("document.getElementById('run-status').innerText.startsWith('passed over')")
            assert await _text(tab, "run-status") == "passed over: no route takes it"
            assert await tab.evaluate("document.querySelector('#runs td:nth-child(5)').innerText") == "\N{EN DASH}"
            assert await _text(tab, "run-count") == "1"
            assert EVIL in await _text(tab, "run-summary")
            await tab.until("document.getElementById('routes-refused').checkVisibility()")
            assert await _text(tab, "routes-problems") == "routes.yaml:1: " + EVIL
            visit.hear("routes reloaded", routes=1)
            await tab.until("!document.getElementById('routes-refused').checkVisibility()")
            assert await tab.evaluate("window.evil === undefined") is True
            assert tab.troubles == []

    with_page(scenario)


def test_inputs_that_are_no_json_are_told_where_they_stand(chromium: str, tmp_path: Path) -> None:
    async def scenario(visit: Visit) -> None:
        async with open_tab(chromium, visit.page.url, tmp_path) as tab:
            await tab.evaluate("document.querySelector('#own-action textarea').value = '{', true")
            await tab.evaluate("document.querySelector('#own-action').requestSubmit()")
            await tab.until("document.querySelector('#own-action .problem').textContent.includes('not JSON')")
            assert visit.ledger.runs == {}

    with_page(scenario)
