from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.scenarios.catalogue import SCENARIOS

PINNED = [
    "http-sync",
    "http-sync-tls",
    "http-sync-20ms",
    "http-slow-1s",
    "process",
    "process-output",
    "python",
    "python-plain",
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


def test_without_kafka_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_LIBS", str(tmp_path))
    with pytest.raises(SystemExit, match="holds no Kafka"):
        main([])


def test_where_kafka_cannot_be_fetched_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_LIBS", raising=False)
    monkeypatch.setattr("tests.broker.kafka_libs._FETCH", ["false"])
    with pytest.raises(SystemExit, match="could not be fetched"):
        main([])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--rounds", "0"], "--rounds 0: 1 or more"),
        (["--beside", "/nowhere"], "--beside /nowhere: there is no working tree"),
        (["--json", "/nowhere/figures.json"], "there is no directory /nowhere"),
    ],
)
def test_wrong_arguments_are_told_before_anything_is_measured(arguments: list[str], problem: str) -> None:
    with pytest.raises(SystemExit, match=problem):
        main(arguments)
