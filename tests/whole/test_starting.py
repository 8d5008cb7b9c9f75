"""A start with Kafka or Port out of reach, and with settings that are missing or wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.sandbox.port_api import Credentials, PortApi
from tests.broker.waiting import wait_until
from tests.whole.commands import command
from tests.whole.one_agent import OneAgent
from tests.whole.world import CLIENT_SECRET, World

ROOT = Path(__file__).parents[2]
RUN = [sys.executable, "-P", "-m", "agent", "run"]

ROUTES_HERE = """\
routes:
  - {name: any, match: {action: any}, process: {command: [echo, "at last"]}}
"""


@contextlib.contextmanager
def _closed_port() -> Iterator[int]:
    """A port where nobody listens, and which nobody else is given, until somebody in here listens on it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@contextlib.contextmanager
def _running(agent: OneAgent) -> Iterator[OneAgent]:
    agent.start()
    try:
        yield agent
    finally:
        agent.kill()


def _answers(agent: OneAgent) -> bool:
    with contextlib.suppress(OSError):
        return agent.get("/livez")[0] == 200
    assert agent.process.exit_code is None, agent.process.last_words()
    return False


class Relay:
    """Passes connections on to the broker: the address of a Kafka that comes up late."""

    def __init__(self, to: str) -> None:
        host, _, port = to.partition(",")[0].rpartition(":")
        self._host, self._port = host, int(port)
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        """Takes connections until the block ends, and then drops them."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        try:
            yield
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()


@dataclass(frozen=True)
class Alone:
    """An agent that was started with something out of reach, and what it said then."""

    agent: OneAgent
    missing: str
    line: dict[str, Any]
    readiness: tuple[int, str]
    liveness: int
    ready_metric: float


def _alone(agent: OneAgent, missing: str, event: str) -> Alone:
    agent.wait_until(lambda: _answers(agent), "a first answer")
    line = agent.wait_line(event)
    return Alone(agent, missing, line, agent.get("/readyz"), agent.get("/livez")[0], agent.metric("agent_ready"))


@pytest.fixture(scope="module")
def alone(world: World) -> Iterator[dict[str, Alone]]:
    """An agent without Kafka and one without Port; when the tests see them, both may come up after all."""
    with _closed_port() as kafka_port, _closed_port() as port_port:
        without_kafka = {"KAFKA_CONSUMER_BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka_port}"}
        without_port = {
            "PORT_API_BASE_URL": f"http://127.0.0.1:{port_port}",
            "KAFKA_CONSUMER_BOOTSTRAP_SERVERS": "",  # so they come from Port
            "KAFKA_CONSUMER_SECURITY_PROTOCOL": "plaintext",
        }
        kafkaless = OneAgent(world, "kafkaless", without_kafka, ROUTES_HERE)
        portless = OneAgent(world, "portless", without_port, ROUTES_HERE)
        by_hand = {"PORT_API_BASE_URL": without_port["PORT_API_BASE_URL"]}
        reportless = OneAgent(world, "reportless", by_hand, ROUTES_HERE)
        with _running(kafkaless), _running(portless), _running(reportless):
            seen = {
                "Kafka": _alone(kafkaless, f"127.0.0.1:{kafka_port}", "source failing"),
                "Port": _alone(portless, f"127.0.0.1:{port_port}", "port api failing"),
                "Port, with brokers set by hand": _alone(reportless, "", "partitions assigned"),
            }
            with _late(world, kafka_port, port_port):
                yield seen
                kafkaless.kill()
                portless.kill()
                reportless.kill()


@contextlib.contextmanager
def _late(world: World, kafka_port: int, port_port: int) -> Iterator[None]:
    kafka = {"brokers": [world.broker.bootstrap_servers], "username": "u", "password": "kafka-passw0rd"}
    port = PortApi(credentials=Credentials(client_secret=CLIENT_SECRET), kafka=kafka, ledger=world.ledger)
    relay, stack = Relay(world.broker.bootstrap_servers), contextlib.AsyncExitStack()

    async def open_both() -> None:
        await stack.enter_async_context(port.listening(port_port))
        await stack.enter_async_context(relay.listening(kafka_port))

    world.loop.run(open_both())
    try:
        yield
    finally:
        world.loop.run(stack.aclose())


MISSING = ("Kafka", "Port", "Port, with brokers set by hand")


@pytest.mark.parametrize("what", MISSING)
def test_without_it_the_agent_is_alive_and_not_ready(what: str, alone: dict[str, Alone]) -> None:
    seen = alone[what]
    assert (seen.liveness, seen.readiness[0], seen.ready_metric) == (200, 503, 0), seen.readiness
    assert "waiting to join the consumer group" in seen.readiness[1] or "Port's API" in seen.readiness[1]


@pytest.mark.parametrize("what", ["Kafka", "Port"])
def test_without_it_the_agent_says_so(what: str, alone: dict[str, Alone]) -> None:
    seen = alone[what]
    assert seen.line["level"] == "warning"
    assert seen.missing in seen.line["detail"]
    assert "refused" in seen.line["detail"]


@pytest.mark.parametrize("what", MISSING)
def test_as_soon_as_it_comes_the_agent_begins(what: str, alone: dict[str, Alone]) -> None:
    agent = alone[what].agent
    agent.wait_ready()
    assert agent.result_of("any").log_text == "at last"
    assert "kafka-passw0rd" not in agent.output()


def test_a_stop_before_it_was_ever_ready_is_an_orderly_one(world: World) -> None:
    with _closed_port() as port:
        settings = {"KAFKA_CONSUMER_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"}
        with _running(OneAgent(world, "never_ready", settings)) as agent:
            agent.wait_line("started")
            agent.send(signal.SIGTERM)
            assert agent.wait_end() == 0, agent.process.last_words()


HEARS_CTRL_C = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""What a terminal starts hears it; what a shell starts in the background, as these tests may be, does not."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("name", ["run", "doctor"])
def test_a_stop_while_the_agent_still_loads_is_heard(tmp_path: Path, name: str, number: signal.Signals) -> None:
    (tmp_path / "structlog.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    loading = subprocess.Popen(
        [sys.executable, "-c", HEARS_CTRL_C, "-m", "agent", name],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with loading:
        assert loading.stdout is not None
        assert loading.stdout.readline() == "loading\n"
        loading.send_signal(number)
        assert loading.communicate(timeout=30) == ("", ""), "no traceback"
        assert loading.returncode == (0 if name == "run" else 128 + number)


LISTENING_TO_NOTHING = """\
import time
print("importing", flush=True)
try:
    time.sleep(60)
except BaseException:
    time.sleep(60)
"""


def test_a_stop_while_an_actions_module_is_imported_is_heard(world: World) -> None:
    routes = 'routes:\n  - {name: a, match: {action: a}, python: {callable: "slow_to_import:f"}}\n'
    agent = OneAgent(world, "importing", {"AGENT_HTTP_HOST": "127.0.0.1", "AGENT_HTTP_PORT": "0"}, routes)
    (agent.home / "slow_to_import.py").write_text(LISTENING_TO_NOTHING)
    importing = subprocess.Popen(
        RUN,
        env=agent.settings | {"AGENT_PYTHONPATH": str(agent.home)},
        cwd=agent.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with importing:
        assert importing.stdout is not None
        assert importing.stdout.readline() == "importing\n"
        importing.send_signal(signal.SIGTERM)
        assert importing.communicate(timeout=30) == ("", "")
        assert importing.returncode == 0


def test_credentials_that_port_refuses_are_an_error_that_says_what_to_do_and_the_agent_stays(world: World) -> None:
    wrong = {"PORT_CLIENT_SECRET": "n0t-the-client-s3cret"}
    with _running(OneAgent(world, "refused_credentials", wrong, ROUTES_HERE)) as agent:
        line = agent.wait_line("port refuses the credentials")
        assert line["level"] == "error"
        assert "HTTP 401" in line["detail"]
        assert "PORT_CLIENT_SECRET" in line["hint"]
        assert agent.get("/readyz")[0] == 503
        assert agent.get("/livez")[0] == 200
        assert wrong["PORT_CLIENT_SECRET"] not in agent.output()


def test_missing_settings_are_all_named_and_the_exit_code_is_2(world: World) -> None:
    ended = command("run", env={}, cwd=world.home)
    assert (ended.returncode, ended.stdout) == (2, "")
    for name in ("PORT_ORG_ID", "PORT_CLIENT_ID", "PORT_CLIENT_SECRET"):
        assert f"{name}: is not set" in ended.stderr


def test_wrong_settings_are_all_named_with_what_was_expected_and_no_secret_is_shown(world: World) -> None:
    wrong = {
        "PORT_ORG_ID": "org_x",
        "PORT_CLIENT_ID": "id",
        "PORT_CLIENT_SECRET": CLIENT_SECRET,
        "PORT_API_BASE_URL": "not a url",
        "AGENT_MAX_CONCURRENT_RUNS": "0",
        "AGENT_SIGNATURES": "sometimes",
        "AGENT_HTTP_PORT": "70000",
        "LOG_LEVEL": "LOUD",
        "AGENT_DRAIN_TIMEOUT_S": "soon",
        "KAFKA_CONSUMER_SECURITY_PROTOCOL": "carrier_pigeon",
    }
    ended = command("run", env=wrong, cwd=world.home)
    assert ended.returncode == 2
    for name in set(wrong) - {"PORT_ORG_ID", "PORT_CLIENT_ID", "PORT_CLIENT_SECRET"}:
        assert f"{name}: " in ended.stderr
    assert CLIENT_SECRET not in ended.stderr + ended.stdout


def test_wrong_routes_stop_the_start_with_every_problem_and_its_place(world: World) -> None:
    agent = OneAgent(world, "wrong_routes", {}, "routes:\n  - name: a\n    match: {action: a}\n    procces: {}\n")
    ended = command("run", env=agent.settings, cwd=world.home)
    assert ended.returncode == 2
    assert re.search(rf"{agent.routes_file}:\d+: routes\[0\].*procces", ended.stderr), ended.stderr


def test_port_0_takes_a_free_one_and_logs_it(world: World) -> None:
    agent = OneAgent(world, "port_zero", {"AGENT_HTTP_HOST": "::", "AGENT_HTTP_PORT": "0"})
    log = agent.home / "output"
    with log.open("wb") as output:
        child = subprocess.Popen(RUN, env=agent.settings, cwd=agent.home, stdout=output, stderr=output)
    try:
        wait_until(lambda: '"started"' in log.read_text(), timeout_s=30, what=log.read_text)
        line = next(json.loads(text) for text in log.read_text().splitlines() if '"started"' in text)
        assert line["port"] > 0
        assert line["http"] == f"http://[::]:{line['port']}"
        agent.process.url = f"http://127.0.0.1:{line['port']}"
        assert agent.get("/livez")[0] == 200
    finally:
        child.kill()
        child.wait()


def test_a_secret_may_come_as_a_mounted_file(world: World) -> None:
    agent = OneAgent(world, "mounted_secret", {}, ROUTES_HERE)
    mounted = agent.home / "mounted"
    mounted.write_text(agent.settings.pop("PORT_CLIENT_SECRET") + "\n")
    ended = command("check", env=agent.settings | {"PORT_CLIENT_SECRET_FILE": str(mounted)}, cwd=world.home)
    assert ended.returncode == 0, ended.stdout + ended.stderr
