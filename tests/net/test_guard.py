from __future__ import annotations

import asyncio
import ipaddress
import socket

import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from agent.net.errors import AddressRefusedError, never_sent
from agent.net.guard import GuardedResolver, check_host, is_refused, literal_address
from agent.net.proxy import ProxyRules
from agent.net.tls import tls_context
from agent.net.transport import AiohttpTransport
from tests.net.servers import client, keeps_answering, outgoing, raw_server, whole_requests

REFUSED = [
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "2852039166",
    "0xa9fea9fe",
    "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376",
    "025177524776",
    "169.16689662",
    "fe80::1",
    "fe80::1%eth0",
    "[fe80::a9fe:a9fe]",
    "febf::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "2002:a9fe:a9fe::1",
    "169.254.169.254.",
    "0xa9fea9fe.",
    "[fe80::1].",
]
ALLOWED = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "192.168.169.254",
    "169.253.1.1",
    "100.100.100.201",
    "fd00::1",
    "2001:db8::1",
    "64:ff9b::10.0.0.1",
]


@pytest.mark.parametrize("host", REFUSED)
def test_refused_in_every_notation(host: str) -> None:
    with pytest.raises(AddressRefusedError):
        check_host(host)


@pytest.mark.parametrize("host", [*ALLOWED, "example.com", "169.254.169.254.example.com", "fe80.test", ""])
def test_everything_else_is_allowed(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "metadata"])
def test_metadata_services_are_refused_by_name(host: str) -> None:
    with pytest.raises(AddressRefusedError):
        check_host(host)


def test_addresses_and_names_are_told_apart() -> None:
    assert literal_address("0x7f.1") == ipaddress.IPv4Address("127.0.0.1")
    assert literal_address("[::1]") == ipaddress.IPv6Address("::1")
    assert literal_address("localhost") is None
    assert not is_refused(ipaddress.ip_address("8.8.8.8"))


class Answers(AbstractResolver):
    """Gives every name the next list of addresses; the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [
            ResolveResult(hostname=host, host=a, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
            for a in addresses
        ]

    async def close(self) -> None:
        self.closed = True


def guarded(resolver: AbstractResolver, *, allow_link_local: bool = False) -> httpx.AsyncClient:
    transport = AiohttpTransport(
        tls=tls_context(),
        max_connections=2,
        keepalive_s=0.0,
        allow_link_local=allow_link_local,
        resolver=resolver,
    )
    return httpx.AsyncClient(transport=transport, trust_env=False)


@pytest.mark.parametrize("addresses", [["169.254.169.254"], ["127.0.0.1", "fe80::1"], ["::ffff:169.254.169.254"]])
def test_a_name_with_a_refused_address_is_not_called(addresses: list[str]) -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server, guarded(Answers(addresses)) as http:
            with pytest.raises(AddressRefusedError) as caught:
                await http.get(f"http://innocent.test:{server.port}/")
            assert never_sent(caught.value)
            assert "innocent.test (" in str(caught.value)
            assert server.connections == 0

    asyncio.run(scenario())


def test_a_name_that_changes_its_address_is_judged_by_the_one_connected_to() -> None:
    async def scenario() -> None:
        resolver = Answers(["127.0.0.1"], ["169.254.169.254"])
        async with raw_server(keeps_answering()) as server, guarded(resolver) as http:
            url = f"http://rebound.test:{server.port}/"
            assert (await http.get(url)).text == "ok"
            # What was judged is used while aiohttp remembers it; a new answer is judged anew.
            http._transport._connector.clear_dns_cache()  # type: ignore[attr-defined]  # looks inside
            with pytest.raises(AddressRefusedError):
                await http.get(url)

    asyncio.run(scenario())


@pytest.mark.parametrize("body", [None, b"x" * 100_000], ids=["short", "long"])
def test_a_server_that_is_known_already_is_judged_again(body: bytes | None) -> None:
    async def scenario() -> None:
        transport = AiohttpTransport(
            tls=tls_context(),
            max_connections=2,
            keepalive_s=0.0,
            resolver=Answers(["127.0.0.1"], ["127.0.0.1", "169.254.169.254"]),
        )
        async with raw_server(whole_requests()) as server, transport:
            request = outgoing(f"http://rebound.test:{server.port}/", "POST", body=body)
            assert await (await transport.exchange(request)).read() == (b"ok", False)
            transport._connector.clear_dns_cache()  # type: ignore[union-attr]  # looks inside
            with pytest.raises(AddressRefusedError):
                await transport.exchange(request)
            assert server.connections == 1

    asyncio.run(scenario())


def test_literal_addresses_are_refused_before_anything_is_opened() -> None:
    async def scenario() -> None:
        async with client() as http:
            for host in ("169.254.169.254", "0xa9fea9fe", "[fe80::1]", "[::ffff:169.254.169.254]"):
                with pytest.raises(AddressRefusedError):
                    await http.get(f"http://{host}/latest/meta-data")

    asyncio.run(scenario())


def test_whoever_follows_a_redirect_is_guarded_too() -> None:
    async def scenario() -> None:
        found = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest\r\nContent-Length: 0\r\n\r\n"
        async with raw_server(keeps_answering(found)) as server, client() as http:
            assert (await http.get(server.url())).status_code == 302
            with pytest.raises(AddressRefusedError):
                await http.get(server.url(), follow_redirects=True)

    asyncio.run(scenario())


def test_a_proxy_is_not_asked_for_them_either() -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as proxy:
            rules = ProxyRules({"HTTP_PROXY": proxy.url()})
            async with client(proxies=rules) as http:
                for host in ("169.254.169.254", "169.254.169.254.", "metadata.google.internal"):
                    with pytest.raises(AddressRefusedError):
                        await http.get(f"http://{host}/")
            assert proxy.connections == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["[fe80::1]", "somewhere.test"])
def test_the_switch_lifts_the_guard(host: str) -> None:
    """The system itself refuses a link-local address without an interface, so nothing leaves the machine."""

    async def scenario() -> None:
        async with guarded(Answers(["fe80::1"]), allow_link_local=True) as http:
            with pytest.raises(httpx.ConnectError) as caught:
                await http.get(f"http://{host}/")
            assert not isinstance(caught.value, AddressRefusedError)

    asyncio.run(scenario())


def test_closing_reaches_the_resolver_inside() -> None:
    inner = Answers([])
    asyncio.run(GuardedResolver(inner).close())
    assert inner.closed


def test_a_name_of_the_cloud_is_told_from_its_lookalikes() -> None:
    check_host("metadata.google.internal.example.com")
