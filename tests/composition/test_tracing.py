"""When traces are possible, and what must be masked for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.composition import Silent, open_tracing
from agent.composition.tracing import collector_secrets
from agent.domain.errors import ConfigurationError
from agent.settings import Settings


def _settings(home: Path, **more: Any) -> Settings:
    needed = {"PORT_ORG_ID": "org_1", "PORT_CLIENT_ID": "id", "PORT_CLIENT_SECRET": "s", "AGENT_STATE_DIR": home}
    return Settings.model_validate(needed | more)


def test_off_opens_nothing(tmp_path: Path) -> None:
    assert open_tracing(_settings(tmp_path), Silent(), SystemClock()) is None


def test_otlp_opens_what_follows_runs(tmp_path: Path) -> None:
    tracing = open_tracing(_settings(tmp_path, AGENT_TRACES=" OTLP "), Silent(), SystemClock())
    assert tracing is not None
    tracing.close()


def test_what_is_not_installed_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "agent.observability.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(ConfigurationError) as raised:
        open_tracing(_settings(tmp_path, AGENT_TRACES="otlp"), Silent(), SystemClock())
    (problem,) = raised.value.problems
    assert problem.where == "AGENT_TRACES"
    assert "OpenTelemetry is not installed" in problem.message
    assert "pip install 'port-action-agent[otel]'" in problem.hint
    assert "EXTRAS=otel" in problem.hint


def test_what_the_sdk_does_not_take_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(ConfigurationError, match=r"AGENT_TRACES: OpenTelemetry cannot be set up: ValueError"):
        open_tracing(_settings(tmp_path, AGENT_TRACES="otlp"), Silent(), SystemClock())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", set()),
        ("api-key=one", {"api-key=one", "one"}),
        ("api-key=one, tenant = two", {"api-key=one", "one", "tenant = two", "two"}),
        ("Authorization: Bearer three", {"Authorization: Bearer three"}),
        (
            "authorization=Basic%20Zm91cg==",
            {"authorization=Basic%20Zm91cg==", "Basic%20Zm91cg==", "Basic Zm91cg=="},
        ),
    ],
)
def test_the_headers_for_the_collector_are_secret_in_whatever_form(written: str, expected: set[str]) -> None:
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        assert set(collector_secrets({name: written})) == expected
