"""The recorded cases, and a reader of their mappings, for what is compared without an agent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.clock import SystemClock
from agent.domain.invocation import Channel, Invocation
from agent.domain.json import JsonObject
from agent.executors.registry import ExecutorRegistry
from agent.intake.reader import MessageIntake
from agent.ports import Decoded, ExecutorSettings
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
