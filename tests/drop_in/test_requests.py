"""What Port's own agent was seen to send and to report, for a mapping, a message and an answer: so do we."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from agent.clock import SystemClock
from agent.domain.invocation import Channel, Invocation
from agent.domain.json import Json, JsonObject
from agent.domain.route import ReportRule
from agent.executors.registry import ExecutorRegistry
from agent.intake.reader import MessageIntake
from agent.ports import Decoded, ExecutorSettings, Routed
from agent.routing.expressions import Expressions
from agent.routing.mapping import MappingReader
from agent.testing import fake_services

SECRET = "cS9Qz1TestOnlyClientSecret0123456789abcdefXYZ"
CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


@dataclass(frozen=True)
class Case:
    """One recorded case: configuration, message and the target's answer, and what came of it."""

    raw: Mapping[str, Any]

    @property
    def mapping(self) -> bytes:
        return json.dumps(self.raw["mapping_config"]).encode()

    def invocation(self) -> Invocation | None:
        intake = MessageIntake(lambda: [SECRET], SystemClock())
        channel = Channel.RUNS if self.raw["topic"] == "runs" else Channel.CHANGE_LOG
        verdict = intake.decode(self.raw["message_raw"].encode(), channel)
        return verdict.invocation if isinstance(verdict, Decoded) else None

    def response(self) -> JsonObject:
        answer = self.raw["webhook_response"]
        try:
            parsed = json.loads(answer["body"])
        except ValueError:
            parsed = None
        return {
            "statusCode": answer["status"],
            "headers": answer["headers"],
            "text": answer["body"],
            "json": parsed,
        }


@contextmanager
def reader(environment: Mapping[str, str]) -> Iterator[MappingReader]:
    settings = ExecutorSettings(client_secret=lambda: SECRET)
    registry = ExecutorRegistry.load(fake_services(settings, environment=environment))
    expressions = Expressions(environment, limit_s=20)
    try:
        yield MappingReader(registry, expressions)
    finally:
        expressions.close()
        asyncio.run(registry.close())


def reported(rule: ReportRule, view: Any) -> dict[str, Json]:
    names = {
        "status": rule.status,
        "link": rule.link,
        "summary": rule.summary,
        "externalRunId": rule.external_run_id,
    }
    return {name: template.render(view) for name, template in names.items() if template is not None}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_request_and_the_report_are_those_of_ports_own_agent(path: Path) -> None:
    case = Case(json.loads(path.read_text(encoding="utf-8")))
    invocation = case.invocation()
    expected = case.raw["expected_request"]
    if expected is None:
        assert invocation is None
        return
    assert invocation is not None
    with reader(case.raw["env"]) as mappings:
        routes = mappings.parse(case.mapping, "mapping.json")
        routed = routes.resolve(invocation)
        assert isinstance(routed, Routed), routed
        assert routes.warnings == ()
        opened, _ = MessageIntake(lambda: [SECRET], SystemClock()).unlock(
            invocation, routed.route.decrypt, listed=routed.route.decrypts_listed
        )
        sent: dict[str, Any] = dict(asyncio.run(routed.executor.preview(opened.view)))
        view = opened.view.extended(request=sent, response=case.response())
        report = reported(routed.route.report, view)

    url = URL(str(sent["url"])).update_query(sent["query"])
    assert url.with_query(None) == URL(expected["url"]).with_query(None)
    assert dict(url.query) == expected["query"]
    assert sent["method"] == expected["method"]
    assert expected["headers"].items() <= sent["headers"].items()
    assert sent["body"] == expected["body"]
    assert report.items() <= (case.raw["expected_report"] or {}).items()
    assert opened.view.notes == []
