"""The agents that these tests share: all those that the chosen tests need are started together, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.whole.commands import Commands, Ended
from tests.whole.one_agent import OneAgent, at_work_together
from tests.whole.world import World, opened

LENIENT_ROUTES = {
    "routes": [
        {
            "name": "tutorial-http",
            "match": {"action": "create_microservice"},
            "env": ["TARGET"],
            "http": {
                "url": "{{ env.TARGET }}/tutorial",
                "body": {"name": "{{ .inputs.name }}", "region": "{{ .inputs.region }}"},
            },
            "report": {"link": "{{ .response.json.url }}"},
        },
        {"name": "unsigned", "match": {"type": "WEBHOOK"}, "process": {"command": ["echo", "unsigned"]}},
        {
            "name": "old",
            "match": {"action": "rewritten"},
            "env": ["TARGET"],
            "http": {"url": "{{ env.TARGET }}/gate/old"},
            "report": {"summary": "by old"},
            "entities": [{"blueprint": "service", "identifier": "old"}],
        },
    ]
}

PYTHON_ROUTES = """\
routes:
  - name: tutorial-python
    match: {action: create_microservice}
    python: {callable: "whole_actions:create_microservice"}
  - name: gated
    match: {action: gated}
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/gate/{{ .inputs.gate }}"}
"""

STRICT_ROUTES = """\
routes:
  - name: echo
    match: {action: echo}
    process: {command: [echo, "here I am"]}
"""

STOPPING_ROUTES = """\
routes:
  - name: gated
    match: {action: gated}
    max_concurrent: 1
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/gate/{{ .inputs.gate }}"}
  - name: endless
    match: {action: endless}
    process: {command: [sh, -c, "echo began; trap '' TERM; while :; do sleep 0.1; done"], kill_grace: 200ms}
"""


def _agent(world: World, routes: str) -> OneAgent:
    return OneAgent(
        world,
        "agent",
        {
            "LOG_LEVEL": "DEBUG",
            "AGENT_RUN_ID_PATH": 'if type == "array" then .[0].ticket else .deep.ticket end',
            "AGENT_LOG_MAX_BYTES": "65536",
            "VISIBLE": "a visible value",
            "HIDDEN": "a hidden value",
            "DECLARED_SECRET": "declared-s3cret-value",
        },
        routes,
    )


def _forwarding(world: World, _routes: str) -> OneAgent:
    gitlab = {"GITLAB_URL": f"{world.target.url}/gitlab/", "group_sub_project": "glptt-of-the-project"}
    return OneAgent(world, "forwarding", {"LOG_LEVEL": "DEBUG"} | gitlab)


def _strict(world: World, _routes: str) -> OneAgent:
    settings = {"AGENT_SIGNATURES": "required", "AGENT_SIGNATURE_MAX_AGE_S": "600", "AGENT_UNROUTED": "ignore"}
    return OneAgent(world, "strict", settings | {"LOG_LEVEL": "DEBUG"}, STRICT_ROUTES)


def _lenient(world: World, _routes: str) -> OneAgent:
    """Its routes file is JSON, which `tests.whole.test_routing` rewrites."""
    return OneAgent(world, "lenient", {"AGENT_SIGNATURES": "off"}, json.dumps(LENIENT_ROUTES))


def _narrow(world: World, _routes: str) -> OneAgent:
    settings = {"AGENT_MAX_CONCURRENT_RUNS": "2", "AGENT_MAX_WAITING_RUNS": "2", "LOG_LEVEL": "DEBUG"}
    return OneAgent(world, "narrow", settings, PYTHON_ROUTES)


def _stopping(world: World, _routes: str) -> OneAgent:
    return OneAgent(world, "stopping", {"AGENT_DRAIN_TIMEOUT_S": "1"}, STOPPING_ROUTES)


def _hurried(world: World, _routes: str) -> OneAgent:
    return OneAgent(world, "hurried", {"AGENT_DRAIN_TIMEOUT_S": "600"}, STOPPING_ROUTES)


_CAST: dict[str, Callable[[World, str], OneAgent]] = {
    "agent": _agent,
    "forwarding": _forwarding,
    "strict": _strict,
    "lenient": _lenient,
    "narrow": _narrow,
    "stopping": _stopping,
    "hurried": _hurried,
}


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("whole")) as world:
        yield world
        world.check_nothing_ended_twice()


@pytest.fixture(scope="session")
def cast(world: World, request: pytest.FixtureRequest) -> Iterator[dict[str, OneAgent]]:
    """Every agent that a chosen test asks for, started but perhaps not yet ready."""
    wanted = _wanted(request.session)
    # Each module brings the routes of its tests; one agent has them all.
    here = Path(__file__).parent
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    modules = {item.module for item in functions if item.path.parent == here}
    # Metrics name the first fifty routes: those of the module that looks at metrics come first.
    parts = sorted(
        (not module.__name__.endswith("test_operation"), getattr(module, "ROUTES", "")) for module in modules
    )
    routes = "routes:\n" + "".join(part for _, part in parts)
    agents = {name: make(world, routes) for name, make in _CAST.items() if name in wanted}
    with at_work_together(agents.values()):
        yield agents


@pytest.fixture(scope="session")
def failing_doctor(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Future[Ended]]:
    """``doctor`` with much that is wrong; it takes its time to be sure that no broker is there."""
    commands = Commands(world, tmp_path_factory.mktemp("failing_doctor"))
    wrong = {
        "PORT_CLIENT_SECRET": "a wrong secret that nobody may see",
        "AGENT_STATE_DIR": "/proc/no-such-place",
        "AGENT_ROUTES_PATH": "",
        "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    }
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(commands, "doctor", **wrong)


@pytest.fixture(scope="session", autouse=True)
def _begun_early(request: pytest.FixtureRequest) -> None:
    """Has the doctor at work while other tests run, if it is wanted at all."""
    if "failing_doctor" in _wanted(request.session):
        request.getfixturevalue("failing_doctor")


def _wanted(session: pytest.Session) -> set[str]:
    """The fixtures of all chosen tests."""
    return {name for item in session.items if isinstance(item, pytest.Function) for name in item.fixturenames}


def _ready(name: str, cast: dict[str, OneAgent]) -> OneAgent:
    cast[name].wait_ready()
    cast[name].wait_placed()  # tests count requests
    return cast[name]


@pytest.fixture(scope="session")
def agent(cast: dict[str, OneAgent]) -> OneAgent:
    """The agent with all the routes of these tests, which logs at DEBUG."""
    return _ready("agent", cast)


@pytest.fixture(scope="session")
def forwarding(cast: dict[str, OneAgent]) -> OneAgent:
    """An agent without a routes file."""
    return _ready("forwarding", cast)


@pytest.fixture(scope="session")
def strict(cast: dict[str, OneAgent]) -> OneAgent:
    """An agent that wants every message signed, lately, and leaves to others what it has no route for."""
    return _ready("strict", cast)


@pytest.fixture(scope="session")
def lenient(cast: dict[str, OneAgent]) -> OneAgent:
    """An agent that looks at no signature."""
    return _ready("lenient", cast)


@pytest.fixture(scope="session")
def narrow(cast: dict[str, OneAgent]) -> OneAgent:
    """An agent that executes two runs at once and lets two more wait."""
    return _ready("narrow", cast)


@pytest.fixture(scope="session")
def stopping(cast: dict[str, OneAgent]) -> OneAgent:
    """An agent for one test module to stop."""
    return _ready("stopping", cast)


@pytest.fixture(scope="session")
def hurried(cast: dict[str, OneAgent]) -> OneAgent:
    """An agent with a very long drain, for one test module to stop twice."""
    return _ready("hurried", cast)
