"""Clients are shared between routes, and follow the files that they were made of."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.executors.http_pool import ClientOptions, ClientPool
from agent.net.client import Client
from agent.net.proxy import ProxyRules
from agent.net.tls import TlsFileError
from tests.net.servers import keeps_answering, raw_server, until


@asynccontextmanager
async def pool() -> AsyncIterator[ClientPool]:
    made = ClientPool(ProxyRules({}), 10)
    yield made
    await made.close()


async def client_of(clients: ClientPool, options: ClientOptions) -> Client:
    async with clients.client(options) as client:
        return client


def renew(directory: Path) -> None:
    """A directory of CAs gets one more; its time changes for certain."""
    (directory / f"{len(list(directory.iterdir()))}.pem").touch()


def test_equal_options_share_a_client_until_their_files_change(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with pool() as clients:
            trusting = ClientOptions(ca_file=tmp_path)
            for options in (ClientOptions(), ClientOptions(verify=False), trusting, trusting):
                clients.prepare(options)
            plain = await client_of(clients, ClientOptions())
            first = await client_of(clients, trusting)
            assert await client_of(clients, ClientOptions(verify=False)) is not plain
            renew(tmp_path)
            clients.prepare(trusting)
            assert await client_of(clients, trusting) is not first
            assert await client_of(clients, ClientOptions()) is plain
        await clients.close()
        assert plain.is_closed

    asyncio.run(scenario())


def test_clients_of_old_certificates_are_closed_with_the_next_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = ClientOptions(ca_file=tmp_path)
        async with raw_server(keeps_answering()) as server, pool() as clients:
            clients.prepare(options)
            olds = []
            for _ in range(3):
                async with clients.client(options) as client:
                    await client.get(server.url())
                    olds.append(client)
                renew(tmp_path)
                clients.prepare(options)
            async with clients.client(options) as newest:
                await newest.get(server.url())
            assert [old.is_closed for old in olds] == [True] * 3
            assert not newest.is_closed
            await until(lambda: server.open == 1)

    asyncio.run(scenario())


def test_a_request_under_way_keeps_its_client(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = ClientOptions(ca_file=tmp_path)
        async with raw_server(keeps_answering()) as server, pool() as clients:
            clients.prepare(options)
            async with clients.client(options) as old:
                renew(tmp_path)
                clients.prepare(options)
                await client_of(clients, options)
                assert (await old.get(server.url())).text == "ok"
            assert old.is_closed

    asyncio.run(scenario())


def test_clients_that_were_never_used_are_not_kept(tmp_path: Path) -> None:
    def alive() -> int:
        gc.collect()
        return sum(type(thing) is Client for thing in gc.get_objects())

    async def scenario() -> None:
        before = alive()
        options = ClientOptions(ca_file=tmp_path)
        async with pool() as clients:
            for _ in range(5):
                clients.prepare(options)
                renew(tmp_path)
            assert alive() == before + 1

    asyncio.run(scenario())


def test_closing_reaches_clients_of_old_certificates(tmp_path: Path) -> None:
    async def scenario() -> None:
        options = ClientOptions(ca_file=tmp_path)
        async with pool() as clients:
            clients.prepare(options)
            old = await client_of(clients, options)
            renew(tmp_path)
            clients.prepare(options)
            assert not old.is_closed
        assert old.is_closed

    asyncio.run(scenario())


def test_files_that_cannot_be_read_leave_the_old_client(tmp_path: Path) -> None:
    async def scenario() -> None:
        directory = tmp_path / "authorities"
        directory.mkdir()
        options = ClientOptions(ca_file=directory)
        async with pool() as clients:
            clients.prepare(options)
            client = await client_of(clients, options)
            directory.rmdir()
            with pytest.raises(TlsFileError):
                clients.prepare(options)
            assert await client_of(clients, options) is client
            assert not client.is_closed

    asyncio.run(scenario())
