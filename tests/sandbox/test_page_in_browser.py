"""The page in a real browser: actions start, runs arrive live, and what a run says never becomes markup."""

from __future__ import annotations

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
            assert await tab.evaluate("document.querySelectorAll('#run img, #run script, #run a').length") == 0
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
