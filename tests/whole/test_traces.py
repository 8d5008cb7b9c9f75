"""Traces: one for each run, from its record to its report, through all that it calls; none where they are off."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer

from agent import __version__
from agent.domain.invocation import RunId
from agent.domain.trace import read_traceparent, trace_id_of
from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.observability.helpers import openmetrics_families
from tests.whole.collector import Collected, Collector
from tests.whole.one_agent import OneAgent
from tests.whole.world import CLIENT_SECRET, World

ROUTES = """
- name: traced-process
  match: {action: traced_process}
  process: {command: [sh, -c, 'env; exit "$1"', sh, "{{ .inputs.code }}"]}
- name: traced-http
  match: {action: traced_http}
  env: [TARGET]
  http:
    url: "{{ env.TARGET }}/{{ .inputs.path }}?token=s3cret-in-a-query"
    body: {name: "{{ .inputs.name }}"}
    retry: {attempts: 3, unsafe: true}
- name: traced-python
  match: {action: traced_python}
  python: {callable: "whole_actions:trace_of"}
- name: traced-thread
  match: {action: traced_thread}
  python: {callable: "whole_actions:trace_of_in_thread"}
- name: modules-of-traces
  match: {action: modules_of_traces}
  python: {callable: "whole_actions:modules_of_traces"}
"""

FOREIGN_TRACE, FOREIGN_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@dataclass(frozen=True)
class Traced:
    """Agents with traces: one that sends soon, one that would only send in an hour, one whose collector is mute."""

    collector: Collector
    soon: OneAgent
    late: OneAgent
    mute: OneAgent

    def spans(self, trace_id: str, count: int) -> dict[str, Collected]:
        """The spans of a trace by name, once there are so many; no more come then."""
        self.soon.wait_until(lambda: len(self.collector.of(trace_id)) >= count, f"{count} spans of {trace_id}")
        return self.collector.of(trace_id)


@pytest.fixture(scope="module")
def traced(world: World) -> Iterator[Traced]:
    with ExitStack() as stack:
        collector = stack.enter_context(Collector.serve())
        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        place = f"http://127.0.0.1:{mute.getsockname()[1]}/v1/traces?token=s3cret-of-the-collector"

        def started(name: str, **settings: str) -> OneAgent:
            wanted = {"AGENT_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url} | settings
            agent = OneAgent(world, name, wanted, "routes:\n" + ROUTES)
            agent.start()
            stack.callback(agent.kill)
            return agent

        soon = started(
            "traced",
            LOG_LEVEL="DEBUG",
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_EXPORTER_OTLP_HEADERS="authorization=s3cret-of-the-collector",
        )
        late = started("traced_late", OTEL_BSP_SCHEDULE_DELAY="3600000", OTEL_SERVICE_NAME="late-agent")
        silent = started(
            "traced_mute",
            OTEL_BSP_SCHEDULE_DELAY="100",
            OTEL_BSP_MAX_QUEUE_SIZE="4",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="2",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=place,
            OTEL_EXPORTER_OTLP_HEADERS="Authorization: s3cret-of-the-collector",  # not as they are to be written
        )
        for agent in (soon, late, silent):
            agent.wait_ready()
        yield Traced(collector, soon, late, silent)


def _invoke_in_trace(agent: OneAgent, traceparent: str, action: str, inputs: Mapping[str, str | int]) -> str:
    """Begins a run whose record names a span; its id."""
    run_id = agent.world.begin_run(action)
    document = messages.kafka_v1(Click(run_id, action, dict(inputs), "service", org_id=agent.org))
    producer = Producer({"bootstrap.servers": agent.world.broker.bootstrap_servers, "log_level": 0})
    headers: list[tuple[str, str | bytes | None]] = [("other", b"\xff"), ("traceparent", traceparent.encode())]
    producer.produce(agent.topic, messages.wire_text(document), headers=headers)
    assert producer.flush(10) == 0
    return run_id


def _trace_of(run_id: str) -> str:
    return trace_id_of(RunId(run_id))


def _variable(log_text: str, name: str) -> str:
    (value,) = [line.partition("=")[2] for line in log_text.splitlines() if line.startswith(f"{name}=")]
    return value


def test_a_run_of_a_process_is_one_trace_from_its_record_to_its_report(traced: Traced) -> None:
    began_s = time.time()
    run = traced.soon.result_of("traced_process", {"code": 0})
    spans = traced.spans(_trace_of(run.id), 4)

    root = spans["run traced-process"]
    assert {name: span.parent_id for name, span in spans.items()} == {
        "run traced-process": "",
        "wait": root.span_id,
        "execute process": root.span_id,
        "report": root.span_id,
    }
    wait, execution, report = spans["wait"], spans["execute process"], spans["report"]
    assert began_s <= root.began_s == wait.began_s <= wait.ended_s == execution.began_s
    assert execution.began_s < execution.ended_s == report.began_s < report.ended_s == root.ended_s <= time.time()
    assert root.kind == "consumer"
    assert root.attributes == {
        "port.run.id": run.id,
        "port.run.status": "success",
        "port.run.attempt": 1,
        "port.action": "traced_process",
        "port.blueprint": "service",
        "agent.route": "traced-process",
        "agent.executor": "process",
        "agent.origin": root.attributes["agent.origin"],
        "agent.reported": "delivered",
    }
    assert str(root.attributes["agent.origin"]).startswith(f"{traced.soon.topic}[")
    assert not any(span.failed for span in spans.values())
    assert {span.resource["service.name"] for span in spans.values()} == {"action-agent"}
    assert root.resource["service.version"] == __version__
    assert root.resource["service.instance.id"] == socket.gethostname()


def test_a_command_finds_its_place_in_the_trace_and_nothing_else_of_it(traced: Traced) -> None:
    run = traced.soon.result_of("traced_process", {"code": 0})
    execution = traced.spans(_trace_of(run.id), 4)["execute process"]
    assert _variable(run.log_text, "TRACEPARENT") == f"00-{_trace_of(run.id)}-{execution.span_id}-01"
    assert "OTEL_" not in run.log_text


def test_a_run_that_fails_is_a_trace_that_says_so_and_not_why_in_anybodys_words(traced: Traced) -> None:
    run = traced.soon.result_of("traced_process", {"code": 3})
    spans = traced.spans(_trace_of(run.id), 4)
    assert {name for name, span in spans.items() if span.failed} == {"run traced-process", "execute process"}
    assert spans["execute process"].attributes == {
        "agent.executor": "process",
        "port.run.status": "failure",
        "error.type": "exit_code",
    }


def test_a_record_brings_its_trace_and_the_target_goes_on_with_it(traced: Traced, world: World) -> None:
    traceparent = f"00-{FOREIGN_TRACE}-{FOREIGN_SPAN}-01"
    inputs = {"path": "traced/sampled", "name": "what-a-user-typed"}
    run_id = _invoke_in_trace(traced.soon, traceparent, "traced_http", inputs)
    world.target.request("/traced/sampled")
    spans = traced.spans(FOREIGN_TRACE, 5)

    root, execution, request = spans["run traced-http"], spans["execute http"], spans["POST"]
    assert root.parent_id == FOREIGN_SPAN
    assert root.attributes["port.run.id"] == run_id
    assert execution.parent_id == root.span_id
    assert (request.parent_id, request.kind) == (execution.span_id, "client")
    host, _, port = world.target.url.removeprefix("http://").partition(":")
    assert request.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": host,
        "server.port": int(port),
    }
    # Their times are of two clocks, which nobody can read in the same moment.
    assert execution.began_s - 0.5 < request.began_s < request.ended_s < execution.ended_s + 0.5
    got = world.target.request("/traced/sampled").headers["traceparent"]
    assert got == f"00-{FOREIGN_TRACE}-{request.span_id}-01"


def test_no_span_has_what_a_user_typed_or_the_query_of_a_url(traced: Traced) -> None:
    run = traced.soon.result_of("traced_http", {"path": "status/404", "name": "what-a-user-typed"})
    spans = traced.spans(_trace_of(run.id), 5)
    everything = json.dumps([dict(span.attributes) for span in traced.collector.spans])
    assert spans["POST"].failed
    assert spans["POST"].attributes["error.type"] == "404"
    assert "what-a-user-typed" not in everything
    assert "s3cret-in-a-query" not in everything
    assert "ada@" not in everything
    assert CLIENT_SECRET not in everything


def test_every_attempt_of_a_request_is_a_span_of_its_own(traced: Traced, world: World) -> None:
    run = traced.soon.result_of("traced_http", {"path": "flaky/traced", "name": "x"})
    trace_id = _trace_of(run.id)
    traced.soon.wait_until(
        lambda: [
            span for span in traced.collector.spans if span.name == "run traced-http" and span.trace_id == trace_id
        ],
        "the trace's end",
    )
    sent = [span for span in traced.collector.spans if span.trace_id == trace_id and span.name == "POST"]
    assert [span.attributes["http.response.status_code"] for span in sent] == [503, 200]
    assert [span.failed for span in sent] == [True, False]
    heard = [read_traceparent(request.headers["traceparent"]) for request in world.target.requests("/flaky/traced")]
    assert [place and place.span_id for place in heard] == [span.span_id for span in sent]


def test_a_trace_that_is_not_recorded_goes_on_as_one(traced: Traced, world: World) -> None:
    trace_id = "f" * 32
    unrecorded = f"00-{trace_id}-{FOREIGN_SPAN}-00"
    forwarded = _invoke_in_trace(traced.soon, unrecorded, "traced_http", {"path": "traced/not", "name": "x"})
    executed = _invoke_in_trace(traced.soon, unrecorded, "traced_process", {"code": 0})
    heard = read_traceparent(world.target.request("/traced/not").headers["traceparent"])
    seen = read_traceparent(_variable(world.ended(executed).log_text, "TRACEPARENT"))
    for place in (heard, seen):
        assert place is not None
        assert (place.trace_id, place.sampled) == (trace_id, False)
        assert place.span_id != FOREIGN_SPAN
    traced.soon.wait_settled(forwarded)
    traced.soon.wait_settled(executed)
    after = traced.soon.result_of("traced_process", {"code": 0})
    traced.spans(_trace_of(after.id), 4)  # what ended before would have come before
    assert not traced.collector.of(trace_id)


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{FOREIGN_TRACE}-{FOREIGN_SPAN}", "00-" + "0" * 50])
def test_a_record_whose_header_is_no_trace_has_one_of_its_own(traced: Traced, world: World, header: str) -> None:
    run_id = _invoke_in_trace(traced.soon, header, "traced_process", {"code": 0})
    world.ended(run_id)
    assert len(traced.spans(_trace_of(run_id), 4)) == 4


@pytest.mark.parametrize("action", ["traced_python", "traced_thread"])
def test_a_python_action_finds_its_place_in_the_trace(traced: Traced, action: str) -> None:
    run = traced.soon.result_of(action)
    execution = traced.spans(_trace_of(run.id), 4)["execute python"]
    assert run.summary == f"00-{_trace_of(run.id)}-{execution.span_id}-01"


def test_a_run_without_a_route_is_a_trace_too(traced: Traced) -> None:
    run_id = traced.soon.world.begin_run("nobody_knows_this")
    click = Click(run_id, "nobody_knows_this", {}, "service", org_id=traced.soon.org)
    traced.soon.deliver_signed(messages.webhook(click, "https://nobody.example"))
    spans = traced.spans(_trace_of(run_id), 3)
    assert set(spans) == {"run unrouted", "wait", "report"}
    assert spans["run unrouted"].failed


def test_the_log_and_the_exemplars_name_the_trace(traced: Traced) -> None:
    run = traced.soon.result_of("traced_process", {"code": 0})
    traced.soon.wait_settled(run.id)
    (finished,) = traced.soon.lines("run finished", run_id=run.id)
    assert finished["trace_id"] == _trace_of(run.id)
    host, _, port = traced.soon.process.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    families = list(openmetrics_families(connection.getresponse().read().decode()))
    examples = [
        sample.exemplar.labels
        for family in families
        if family.name == "agent_run_duration_seconds"
        for sample in family.samples
        if sample.exemplar
    ]
    connection.close()
    assert examples
    assert all(e["trace_id"] in (_trace_of(e["run_id"]), FOREIGN_TRACE) for e in examples if "trace_id" in e)
    assert any("trace_id" in e for e in examples)


def test_what_is_sent_has_the_headers_that_the_variables_say(traced: Traced) -> None:
    run = traced.soon.result_of("traced_process", {"code": 0})
    traced.spans(_trace_of(run.id), 4)
    assert traced.collector.headers["authorization"] == "s3cret-of-the-collector"
    assert "s3cret-of-the-collector" not in traced.soon.output()
    assert traced.soon.metric("agent_trace_spans_total", result="sent") >= 4
    assert traced.soon.metric("agent_trace_spans_total", result="failed") == 0


def test_the_last_spans_are_sent_when_the_agent_stops(traced: Traced) -> None:
    run = traced.late.result_of("traced_process", {"code": 0})
    assert not traced.collector.of(_trace_of(run.id))
    traced.late.send(signal.SIGTERM)
    assert traced.late.wait_end() == 0
    spans = traced.collector.of(_trace_of(run.id))
    assert set(spans) == {"run traced-process", "wait", "execute process", "report"}
    assert {span.resource["service.name"] for span in spans.values()} == {"late-agent"}


def test_a_collector_that_does_not_answer_costs_spans_and_nothing_else(traced: Traced) -> None:
    agent = traced.mute
    runs = agent.invoke_all({str(number): ("traced_process", {"code": 0}) for number in range(10)})
    for number in range(10):
        assert runs(str(number)).terminal_statuses == ["SUCCESS"]
    agent.wait_until(lambda: agent.metric("agent_trace_spans_total", result="failed") >= 2, "spans that failed")
    agent.wait_line("OpenTelemetry has trouble")
    agent.send(signal.SIGTERM)
    assert agent.wait_end() == 0, "it is 1 where a stop takes longer than it may"
    said = [line["detail"] for line in agent.lines("OpenTelemetry has trouble")]
    assert any("Failed to export" in detail or "Transient error" in detail for detail in said), said
    assert "s3cret" not in agent.output()


# ── off ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "switch"), [("not_traced", {}), ("silenced", {"AGENT_TRACES": "otlp", "OTEL_SDK_DISABLED": "true"})]
)
def test_off_means_that_no_header_for_the_collector_is_masked(
    world: World, name: str, switch: Mapping[str, str]
) -> None:
    settings = {"OTEL_EXPORTER_OTLP_HEADERS": "x-scope-orgid=production", **switch}
    route = "  - name: restart-production\n    match: {action: restart}\n    process: {command: [echo]}\n"
    agent = OneAgent(world, name, settings, f"routes:\n{route}")
    agent.start()
    try:
        assert agent.wait_line("started")["routes"] == ["restart-production"]
        if switch:
            assert agent.wait_line("AGENT_TRACES has no effect")["hint"] == "OTEL_SDK_DISABLED is true"
    finally:
        agent.kill()


def test_off_means_that_nothing_of_it_is_there(agent: OneAgent, world: World) -> None:
    forwarded = agent.result_of("traced_http", {"path": "traced/off", "name": "x"})
    executed = agent.result_of("traced_process", {"code": 0})
    assert agent.result_of("modules_of_traces").summary in (None, "")
    assert agent.result_of("traced_python").summary == "None"
    assert "traceparent" not in world.target.request("/traced/off").headers
    assert "TRACEPARENT" not in executed.log_text
    assert not agent.lines(trace_id=_trace_of(forwarded.id))


def test_off_looks_at_no_header_of_a_record(agent: OneAgent, world: World) -> None:
    run_id = _invoke_in_trace(agent, f"00-{'e' * 32}-{FOREIGN_SPAN}-01", "traced_process", {"code": 0})
    assert "TRACEPARENT" not in world.ended(run_id).log_text


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────


def _checked(home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    needed = {"PORT_ORG_ID": "org", "PORT_CLIENT_ID": "id", "PORT_CLIENT_SECRET": "secret", "AGENT_TRACES": "otlp"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "agent", "check"],
        env=needed | {"AGENT_STATE_DIR": str(home)} | settings,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_says_how_to_get_what_is_not_installed(tmp_path: Path) -> None:
    in_the_way = tmp_path / "opentelemetry" / "__init__.py"
    in_the_way.parent.mkdir()
    in_the_way.touch()
    checked = _checked(tmp_path, PYTHONPATH=str(tmp_path))
    assert checked.returncode == 1
    assert "AGENT_TRACES: is otlp, but OpenTelemetry is not installed" in checked.stdout
    assert "pip install 'port-action-agent[otel]'" in checked.stdout


def test_check_finds_traces_in_order(tmp_path: Path) -> None:
    checked = _checked(tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "traces are sent as http/protobuf only"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "OpenTelemetry cannot be set up"),
    ],
)
def test_check_finds_variables_that_are_wrong(tmp_path: Path, name: str, value: str, said: str) -> None:
    checked = _checked(tmp_path, **{name: value})
    assert checked.returncode == 1
    assert said in checked.stdout


def test_check_finds_variables_that_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318\n")
    checked = _checked(tmp_path)
    assert checked.returncode == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: stands in the .env file" in checked.stdout
