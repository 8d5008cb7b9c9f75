from __future__ import annotations

import pytest

from tests.bench.__main__ import main
from tests.bench.scenarios.catalogue import SCENARIOS

PINNED = [
    "http-sync",
    "http-sync-20ms",
    "http-slow-1s",
    "process",
    "process-output",
    "python",
    "latency-http",
    "requests",
    "memory",
    "growth-routes",
    "growth-partitions",
    "growth-agents",
    "growth-backlog",
    "steady",
    "idle",
    "steps",
]
"""Documents and older figures name them."""


def test_names_are_pinned() -> None:
    assert [scenario.name for scenario in SCENARIOS] == PINNED


def test_list_tells_them_and_needs_no_kafka(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_LIBS", raising=False)
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == PINNED


def test_what_is_no_scenario_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "http"])
    assert "http-sync" in capsys.readouterr().err


def test_without_kafka_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_LIBS", raising=False)
    with pytest.raises(SystemExit, match="holds no Kafka"):
        main([])
