"""When traces are possible, and what must be masked for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.composition import Silent, open_tracing
from agent.composition.tracing import collector_secrets, is_silenced
from agent.domain.errors import ConfigurationError
from agent.settings import Settings, load


def _settings(home: Path, **more: Any) -> Settings:
    needed = {"PORT_ORG_ID": "org_1", "PORT_CLIENT_ID": "id", "PORT_CLIENT_SECRET": "s", "AGENT_STATE_DIR": home}
    return Settings.model_validate(needed | more)


def test_off_opens_nothing(tmp_path: Path) -> None:
    assert open_tracing(_settings(tmp_path), {}, Silent(), SystemClock()) is None


def test_otlp_opens_what_follows_runs(tmp_path: Path) -> None:
    tracing = open_tracing(_settings(tmp_path, AGENT_TRACES=" OTLP "), {}, Silent(), SystemClock())
    assert tracing is not None
    tracing.close()


def test_what_is_not_installed_is_named_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "agent.observability.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(ConfigurationError) as raised:
        open_tracing(_settings(tmp_path, AGENT_TRACES="otlp"), {}, Silent(), SystemClock())
    (problem,) = raised.value.problems
    assert problem.where == "AGENT_TRACES"
    assert "OpenTelemetry is not installed" in problem.message
    assert "pip install 'port-action-agent[otel]'" in problem.hint
    assert "EXTRAS=otel" in problem.hint


def test_what_the_sdk_does_not_take_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(ConfigurationError, match=r"AGENT_TRACES: OpenTelemetry cannot be set up: ValueError"):
        open_tracing(_settings(tmp_path, AGENT_TRACES="otlp"), {}, Silent(), SystemClock())


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
def test_the_headers_for_the_collector_are_secret_in_whatever_form(
    tmp_path: Path, written: str, expected: set[str]
) -> None:
    settings = _settings(tmp_path, AGENT_TRACES="otlp")
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        assert set(collector_secrets(settings, {name: written})) == expected


@pytest.mark.parametrize(("traces", "more"), [("off", {}), ("otlp", {"OTEL_SDK_DISABLED": " True "})])
def test_where_traces_are_off_nothing_is_opened_and_no_header_is_a_secret(
    tmp_path: Path, traces: str, more: dict[str, str]
) -> None:
    settings = _settings(tmp_path, AGENT_TRACES=traces)
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "x-scope-orgid=production", **more}
    assert open_tracing(settings, environment, Silent(), SystemClock()) is None
    assert list(collector_secrets(settings, environment)) == []
    assert is_silenced(settings, environment) is (traces != "off")


def test_what_the_sdk_makes_do_with_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "nonsense")
    said: list[str] = []
    tracing = open_tracing(_settings(tmp_path, AGENT_TRACES="otlp"), {}, Silent(), SystemClock(), said.append)
    assert tracing is not None
    tracing.close()
    assert any("nonsense" in words for words in said), said


def test_what_cannot_be_set_up_is_placed_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("PORT_ORG_ID=o\nPORT_CLIENT_ID=i\nPORT_CLIENT_SECRET=s\nAGENT_TRACES=otlp\n")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(ConfigurationError) as raised:
        open_tracing(load(env_file), {}, Silent(), SystemClock())
    (problem,) = raised.value.problems
    assert (problem.where, problem.path) == (f"{env_file}:4", "AGENT_TRACES")
