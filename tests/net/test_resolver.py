from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent.net.resolver import SystemResolver
from tests.net.servers import client, keeps_answering, raw_server


def test_names_and_numbers_become_addresses() -> None:
    async def scene() -> None:
        resolver = SystemResolver()
        results = await resolver.resolve("localhost", 80)
        assert {result["host"] for result in results} <= {"127.0.0.1", "::1"}
        assert {(result["hostname"], result["port"]) for result in results} == {("localhost", 80)}
        (number,) = await resolver.resolve("127.0.0.1", 8080, socket.AF_INET)
        assert (number["host"], number["port"], number["family"]) == ("127.0.0.1", 8080, socket.AF_INET)
        with pytest.raises(OSError, match=r"."):
            await resolver.resolve("no-such-host.invalid", 80)
        await resolver.close()

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_requests_by_name_go_on_although_actions_hold_every_thread_of_the_default_executor() -> None:
    async def scene() -> None:
        release = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        blocked = loop.run_in_executor(None, release.wait)
        try:
            async with raw_server(keeps_answering()) as server, client() as http:
                response = await http.get(f"http://localhost:{server.port}/")
                assert response.status_code == 200
        finally:
            release.set()
            await blocked

    asyncio.run(asyncio.wait_for(scene(), 20))
