"""The server on its own thread: it answers while the agent's loop stands still."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from agent.domain.errors import ConfigurationError
from agent.observability.server import Answer, HttpServer
from agent.observability.server_thread import ServerThread


def _threads() -> int:
    return sum(thread.name == "http-server" for thread in threading.enumerate())


def _wait_for_its_end() -> None:
    deadline_s = time.monotonic() + 10
    while _threads() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert _threads() == 0


def _get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=10) as answer:
        return str(answer.read().decode())


def test_it_answers_while_the_loop_of_its_caller_stands_still() -> None:
    server = ServerThread(HttpServer("127.0.0.1", 0, {"/livez": lambda _: Answer(200, b"alive")}))

    async def scenario(client: ThreadPoolExecutor) -> None:
        port = await server.start()
        asked: Future[str] = client.submit(_get, port)
        assert asked.result(timeout=10) == "alive"  # blocks this loop until the answer is there
        await server.stop()
        await server.stop()

    with ThreadPoolExecutor(1) as client:
        asyncio.run(scenario(client))
    _wait_for_its_end()


def test_a_port_that_is_taken_is_an_error_of_the_settings() -> None:
    async def scenario() -> None:
        first = ServerThread(HttpServer("127.0.0.1", 0, {}))
        port = await first.start()
        second = ServerThread(HttpServer("127.0.0.1", port, {}))
        with pytest.raises(ConfigurationError, match="cannot listen"):
            await second.start()
        await second.stop()
        await first.stop()

    asyncio.run(scenario())
    _wait_for_its_end()
