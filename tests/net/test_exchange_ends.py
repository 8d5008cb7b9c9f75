"""What a client keeps of the servers that it knows, and what is left once it is closed."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from agent.net.errors import NameNotFoundError
from agent.net.tls import tls_context
from agent.net.transport import AiohttpTransport
from tests.net.servers import client, outgoing, raw_server, until, whole_requests

BODIES = pytest.mark.parametrize("body", [b"short", b"x" * 100_000], ids=["short", "long"])


class Nowhere(AbstractResolver):
    """Knows no name."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002  # aiohttp's signature
    ) -> list[ResolveResult]:
        raise OSError(None, f"{host}:{port} is nowhere")

    async def close(self) -> None:
        pass


@BODIES
def test_after_its_end_nothing_is_sent_and_nothing_opened(body: bytes) -> None:
    async def scenario() -> None:
        async with raw_server(whole_requests()) as server:
            async with client() as http:
                await (await http.exchange(outgoing(server.url(), "POST", body=body))).read()
            await until(lambda: server.open == 0)
            for path in ("/", "/again"):
                with pytest.raises(RuntimeError):
                    await http.exchange(outgoing(server.url(path), "POST", body=body))
            with pytest.raises(RuntimeError):
                await http.exchange(outgoing("http://127.0.0.1:9/", "POST", body=body))
            assert (server.connections, server.open) == (1, 0)
            way = http._way  # looks inside
            assert way._session is None
            assert not way._ways

    asyncio.run(scenario())


def test_closed_before_its_first_request_a_client_opens_nothing() -> None:
    async def scenario() -> None:
        async with raw_server(whole_requests()) as server:
            async with client() as http:
                pass
            with pytest.raises(RuntimeError):
                await http.exchange(outgoing(server.url()))
            assert server.connections == 0
            assert http._way._session is None  # looks inside

    asyncio.run(scenario())


def test_of_many_servers_not_all_are_kept_in_mind() -> None:
    async def scenario() -> None:
        transport = AiohttpTransport(tls=tls_context(), max_connections=2, keepalive_s=1.0, resolver=Nowhere())
        most = 0
        for number in range(1_200):
            with pytest.raises(NameNotFoundError):
                await transport.exchange(outgoing(f"http://host{number}.test/"))
            most = max(most, len(transport._ways))
        assert most == 1_000
        assert transport._ways
        await transport.aclose()
        assert not transport._ways

    asyncio.run(scenario())
