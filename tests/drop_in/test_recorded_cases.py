"""The recorded cases through the whole agent, which has the official agent's settings alone.

Each case is a mapping file, variables, a message as it stood on its topic and the target's answer; and what the
official agent then asked of the target and told Port.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.domain.signature import signature_of
from tests.drop_in.internet import Answer, Received
from tests.drop_in.stage import Stage, Standing
from tests.whole.world import CLIENT_SECRET

CASES = {path.stem: path for path in sorted((Path(__file__).parent / "cases").glob("*.json"))}

Agents = Callable[[str], tuple[dict[str, Any], Standing]]


@pytest.fixture(scope="module")
def agents(stage: Stage, request: pytest.FixtureRequest) -> Agents:
    """Gives a case and its agent, which is done. All that the chosen tests need are started at once."""
    chosen = [
        name
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
        for name in (item.callspec.params.get("name"),)
        if isinstance(name, str)
    ]
    cases = {name: json.loads(CASES[name].read_text("utf-8")) for name in chosen}
    begun = {name: _begun(stage, name, case) for name, case in cases.items()}

    def done(name: str) -> tuple[dict[str, Any], Standing]:
        begun[name].finish()
        return cases[name], begun[name]

    return done


def _begun(stage: Stage, name: str, case: dict[str, Any]) -> Standing:
    agent = stage.begin(name, case["mapping_config"], case["env"])
    agent.internet.answer = Answer.recorded(case["webhook_response"])
    agent.deliver(case["message_raw"], case["topic"])
    return agent


@pytest.mark.parametrize("name", CASES)
def test_it_asks_and_reports_what_the_official_agent_did(name: str, agents: Agents) -> None:
    case, agent = agents(name)

    requests = agent.internet.received
    expected = case["expected_request"]
    if expected is None:
        assert requests == []
    else:
        (request,) = requests
        _check(request, expected)
        assert request.url == case["oracle"]["wire_url"]
    run_id = case["message"]["context"]["runId"]
    assert agent.report(run_id) == (case["expected_report"] or {})
    assert all(told.path == case["expected_report_path"] for told in agent.told(run_id))
    assert agent.response(run_id) == case["expected_response_patch"]


def _check(request: Received, expected: dict[str, Any]) -> None:
    assert request.method == expected["method"]
    assert request.url.partition("?")[0] == expected["url"]
    assert request.query == expected["query"]
    for name, value in expected["headers"].items():
        assert request.header(name) == value
    assert request.json == expected["body"]
    timestamp = request.header("X-Port-Timestamp")
    assert request.header("X-Port-Signature") == signature_of(request.body, timestamp, CLIENT_SECRET)
