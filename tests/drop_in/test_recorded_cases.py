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

AT_ONCE = 8
"""An agent takes some seconds to join its group, in which others may start."""

Agents = Callable[[str], tuple[dict[str, Any], Standing]]


@pytest.fixture(scope="module")
def agents(stage: Stage, request: pytest.FixtureRequest) -> Agents:
    """Gives a case and its agent, which is done. Some of those that the chosen tests need next are started, too."""
    chosen = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    cases = {name: json.loads(CASES[name].read_text("utf-8")) for name in chosen}
    begun: dict[str, Standing] = {}

    def done(name: str) -> tuple[dict[str, Any], Standing]:
        place = chosen.index(name)
        for other in chosen[place : place + AT_ONCE]:
            if other not in begun:
                begun[other] = _begun(stage, other, cases[other])
        begun[name].finish()
        return cases[name], begun[name]

    return done


def _begun(stage: Stage, name: str, case: dict[str, Any]) -> Standing:
    agent = stage.begin(name, case["mapping_config"], case["env"])
    agent.internet.answer = answer = Answer.recorded(case["webhook_response"])
    if further := case.get("further_answer"):
        agent.internet.answer = Answer.recorded(further)
        agent.internet.answers[case["expected_request"]["url"].removeprefix("https://")] = answer
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
        _check(requests[0], expected)
        assert requests[0].url == case["oracle"]["wire_url"]
        further = [{"method": request.method, "url": request.url} for request in requests[1:]]
        assert further == case["oracle"]["further_requests"]
    run_id = case["message"]["context"].get("runId")
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
