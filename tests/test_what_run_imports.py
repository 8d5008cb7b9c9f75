"""An agent that waits should be small: `run` imports nothing that only other commands or the other source need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_BUILD = """\
import sys
import agent.commands.run
from agent.clock import SystemClock
from agent.composition.agent import Agent
from agent.domain.redaction import Redactor
from agent.settings import Settings

settings = Settings(
    PORT_ORG_ID="org", PORT_CLIENT_ID="id", PORT_CLIENT_SECRET="made-up-secret", STREAMER_NAME="{streamer}"
)
Agent(settings, {{}}, Redactor(()))
print(*sorted(sys.modules))
"""
_COMMAND_LINE = {"agent.cli", "agent.sandbox", "agent.testing", "agent.routing.mapping_lint"}
_OTHER_COMMANDS = {f"agent.commands.{name}" for name in ("check", "doctor", "explain", "migrate")}
_LIBRARIES = {"typer", "aiohttp.web", "opentelemetry", "cryptography.hazmat", "h11", "httpcore"}
_KAFKA, _POLLING = {"confluent_kafka", "agent.kafka.source"}, {"agent.polling", "agent.composition.polling"}


@pytest.mark.parametrize(
    ("streamer", "needed", "other"), [("KAFKA", _KAFKA, _POLLING), ("POLLING", _POLLING, _KAFKA)]
)
def test_an_agent_is_built_of_what_it_needs(
    streamer: str, needed: set[str], other: set[str], tmp_path: Path
) -> None:
    program = _BUILD.format(streamer=streamer)
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    imported = set(ended.stdout.split())
    assert needed <= imported
    assert not imported & (other | _COMMAND_LINE | _OTHER_COMMANDS | _LIBRARIES)
