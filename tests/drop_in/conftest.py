"""Agents with an environment that Port's own agent was given, in a world of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drop_in import stage as staging
from tests.drop_in.stage import Stage
from tests.whole.one_agent import OneAgent, at_work_together
from tests.whole.world import World, opened

TAKEN_OVER = {
    "STREAMER_NAME": "KAFKA",
    "USING_LOCAL_PORT_INSTANCE": "True",
    "KAFKA_CONSUMER_SECURITY_PROTOCOL": "plaintext",
    "KAFKA_CONSUMER_AUTHENTICATION_MECHANISM": "none",
    "KAFKA_CONSUMER_SESSION_TIMEOUT_MS": "45000",
    "KAFKA_CONSUMER_AUTO_OFFSET_RESET": "smallest",
    "WEBHOOK_INVOKER_TIMEOUT": "30",
    "WEBHOOK_VERIFY_SSL": "True",
    "LOG_LEVEL": "NOTSET",
    "SSL_CERT_FILE": "/tmp/port-agent/ca-certificates/ca-certificates.crt",  # where it is not, with us
    "REQUESTS_CA_BUNDLE": "/tmp/port-agent/ca-certificates/ca-certificates.crt",
    "CURL_CA_BUNDLE": "/tmp/port-agent/ca-certificates/ca-certificates.crt",
    "SSL_CERT_DIR": "/tmp/port-agent/ca-certificates",
    "HTTP_PROXY": "",
    "ALL_PROXY": "",
}
"""All that Port's own agent reads and a chart or a script of its would set, as it takes it."""

ROUTES = """\
routes:
  - name: says
    match: {action: says}
    env: [TARGET]
    http:
      url: "{{ env.TARGET }}/echo/{{ .inputs.code }}"
      headers: {Content-Type: text/plain}
      body: "{{ .inputs.answer }}"
      mode: message
  - name: no-texts
    match: {action: no_texts}
    http: {}
    report:
      link: ["{{ .response.json.number }}", "{{ .response.json | {ok} }}"]
      summary: "{{ .response.json | {number} }}"
      external_run_id: "{{ .response.json.number }}"
  - name: with-a-header
    match:
      type: WEBHOOK
      kind: [action_run, node_run, change_event]
      when: .action.invocationMethod | (.url | endswith("/mapped")) and (.agent == true)
    http: {headers: {MY-HEADER: "{{ .message.resourceType }}"}, body: "{{ .message }}", query: {}}
    report: {link: "http://test.com"}
  - name: decrypts
    match: {action: decrypts}
    decrypt: [payload.properties.field1, payload.properties.nested.field2, payload.properties.list.0.deep.secret]
    http: {}
  - name: forward
    match: {type: WEBHOOK, kind: [action_run, node_run]}
    http: {}
  - name: changed
    match:
      kind: change_event
      type: WEBHOOK
      when: .message.changelogDestination.agent | tostring == "true"
    http: {}
"""
"""What the official agent does where there is no mapping, and a few reports of users' own."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("drop_in")) as world:
        yield world
        world.check_nothing_ended_twice()


@pytest.fixture(scope="session")
def agents(world: World) -> Iterator[dict[str, OneAgent]]:
    """All of them, started but perhaps not yet ready."""
    agents = {
        "taken_over": OneAgent(world, "taken_over", TAKEN_OVER | {"DETAILED_LOGGING": "True"}, ROUTES),
        "terse": OneAgent(world, "terse", TAKEN_OVER | {"DETAILED_LOGGING": "False"}, ROUTES),
        "unmapped": OneAgent(world, "unmapped", TAKEN_OVER | {"DETAILED_LOGGING": "False"}),
    }
    with at_work_together(agents.values()):
        yield agents


@pytest.fixture
def agent(agents: dict[str, OneAgent]) -> OneAgent:
    """An agent in such an environment."""
    agents["taken_over"].wait_ready()
    return agents["taken_over"]


@pytest.fixture
def terse(agents: dict[str, OneAgent]) -> OneAgent:
    """The same with ``DETAILED_LOGGING=False``."""
    agents["terse"].wait_ready()
    return agents["terse"]


@pytest.fixture
def unmapped(agents: dict[str, OneAgent]) -> OneAgent:
    """The same without any routes."""
    agents["unmapped"].wait_ready()
    return agents["unmapped"]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One broker, and Port and the hosts of the world for each agent that is begun on it."""
    with opened(tmp_path_factory.mktemp("stage")) as surroundings, staging.opened(surroundings) as stage:
        yield stage
