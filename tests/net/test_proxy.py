from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import trustme

from agent.domain.errors import ConfigurationError
from agent.net.errors import CertificateError, never_sent
from agent.net.proxy import ProxyRules
from tests.net.servers import RawServer, Talk, answers, client, keeps_answering, raw_server, server_tls, silent


def chosen(environment: dict[str, str], url: str) -> str | None:
    proxy = ProxyRules(environment).proxy_for(httpx.URL(url))
    return None if proxy is None else proxy.url


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({}, "http://a.test/", None),
        ({"HTTP_PROXY": "http://p:3128"}, "http://a.test/", "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128"}, "https://a.test/", None),
        ({"HTTPS_PROXY": "http://p:3128/"}, "https://a.test/", "http://p:3128"),
        ({"HTTPS_PROXY": "p:3128"}, "https://a.test/", "http://p:3128"),
        ({"ALL_PROXY": "https://p:3128"}, "https://a.test/", "https://p:3128"),
        ({"ALL_PROXY": "http://all:1", "HTTP_PROXY": "http://p:1"}, "http://a.test/", "http://p:1"),
        ({"http_proxy": "http://low:1", "HTTP_PROXY": "http://up:1"}, "http://a.test/", "http://low:1"),
        ({"http_proxy": " "}, "http://a.test/", None),
        ({"http_proxy": "", "HTTP_PROXY": "http://up:1"}, "http://a.test/", None),
        ({"no_proxy": "", "NO_PROXY": "a.test", "HTTP_PROXY": "http://up:1"}, "http://a.test/", None),
        ({"ALL_PROXY": "socks5://p:1", "http_proxy": "p:2", "HTTPS_PROXY": "p:3"}, "https://a.test/", "http://p:3"),
        ({"HTTP_PROXY": "http://user:p%40ss@p:3128"}, "http://a.test/", "http://p:3128"),
    ],
)
def test_the_proxy_is_chosen_by_scheme(environment: dict[str, str], url: str, expected: str | None) -> None:
    assert chosen(environment, url) == expected


@pytest.mark.parametrize(
    ("no_proxy", "host", "straight"),
    [
        ("*", "a.test", True),
        ("a.test", "a.test", True),
        ("a.test", "A.Test.", True),
        ("a.test", "b.a.test", True),
        ("a.test", "ba.test", False),
        (".a.test", "b.a.test", True),
        (".a.test", "a.test", True),
        ("*.a.test", "b.a.test", True),
        ("x.test, a.test", "a.test", True),
        ("x.test a.test", "a.test", True),
        ("a.test:8080", "a.test:8080", True),
        ("a.test:8080", "a.test", False),
        ("a.test:80", "a.test", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "ten.test", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("fd00::/8", "[fd00::1]", True),
        ("[fd00::1]", "[fd00::1]", True),
        ("[fd00::1]:80", "[fd00::1]", True),
        ("fd00::1", "[fd00::2]", False),
        ("", "localhost", True),
        ("", "127.0.0.1", True),
        ("", "[::1]", True),
        ("", "10.0.0.1", False),
        (",,", "a.test", False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, straight: bool) -> None:  # noqa: FBT001  # a case's column
    environment = {"HTTP_PROXY": "http://p:1", "NO_PROXY": no_proxy}
    assert (chosen(environment, f"http://{host}/") is None) is straight


@pytest.mark.parametrize("value", ["socks5://user:secret@p:1080", "http://", "http://user:secret@p:port"])
def test_a_proxy_that_cannot_be_used_is_named_without_its_credentials(value: str) -> None:
    with pytest.raises(ConfigurationError, match="ALL_PROXY") as caught:
        ProxyRules({"all_proxy": value})
    assert "secret" not in str(caught.value)


def forwards_to(port: Callable[[], int]) -> Callable[[RawServer], Talk]:
    """A proxy that knows one server, whatever it is asked for."""

    def for_server(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await seen.read_head(reader)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port())
            if head.startswith(b"CONNECT "):
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                inner_writer.write(head)
            try:
                await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))
            finally:
                inner_writer.transport.abort()

        return talk

    return for_server


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
    writer.close()


@asynccontextmanager
async def behind_proxy(
    authority: trustme.CA | None = None,
) -> AsyncIterator[tuple[RawServer, RawServer, httpx.AsyncClient]]:
    tls = server_tls(authority, "target.test") if authority else None
    async with raw_server(keeps_answering(), tls) as target, raw_server(forwards_to(lambda: target.port)) as proxy:
        rules = ProxyRules({"ALL_PROXY": f"http://us%40er:p%3Ass@127.0.0.1:{proxy.port}"})
        async with client(authority=authority, proxies=rules) as http:
            yield target, proxy, http


CREDENTIALS = b"Proxy-Authorization: Basic " + base64.b64encode(b"us@er:p:ss")


def test_plain_requests_go_to_the_proxy_in_absolute_form_with_its_credentials() -> None:
    async def scenario() -> None:
        async with behind_proxy() as (target, proxy, http):
            for _ in range(2):
                assert (await http.get("http://target.test/a%2Fb?x=1")).text == "ok"
            lines = proxy.heads[0].split(b"\r\n")
            assert lines[0] == b"GET http://target.test/a%2Fb?x=1 HTTP/1.1"
            assert CREDENTIALS in lines
            assert b"Host: target.test" in lines
            assert target.connections == 1

    asyncio.run(scenario())


def test_tls_goes_through_a_tunnel_and_only_the_proxy_sees_its_credentials(authority: trustme.CA) -> None:
    async def scenario() -> None:
        async with behind_proxy(authority) as (target, proxy, http):
            for _ in range(2):
                assert (await http.post("https://target.test/x", json={})).text == "ok"
            assert [head.split(b"\r\n")[0] for head in proxy.heads] == [b"CONNECT target.test:443 HTTP/1.1"]
            assert CREDENTIALS in proxy.heads[0].split(b"\r\n")
            assert target.heads[0].startswith(b"POST /x HTTP/1.1\r\n")
            assert b"proxy-authorization" not in target.heads[0].lower()

    asyncio.run(scenario())


def test_the_servers_certificate_counts_behind_a_proxy_too(authority: trustme.CA) -> None:
    async def scenario() -> None:
        async with behind_proxy(authority) as (_, _, http):
            with pytest.raises(CertificateError):
                await http.get("https://other.test/")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (answers(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"), "407"),
        (answers(b""), "closed the connection"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_means_that_nothing_was_sent(
    talk: Callable[[RawServer], Talk], said: str
) -> None:
    async def scenario() -> None:
        async with raw_server(talk) as proxy:
            rules = ProxyRules({"HTTPS_PROXY": proxy.url()})
            async with client(proxies=rules) as http:
                with pytest.raises(httpx.ProxyError, match=said) as caught:
                    await http.post("https://target.test/", content=b"x")
            assert never_sent(caught.value)
            assert proxy.connections == 1

    asyncio.run(scenario())


def test_a_proxy_that_says_nothing_is_a_connect_timeout() -> None:
    async def scenario() -> None:
        async with raw_server(silent()) as proxy:
            rules = ProxyRules({"HTTPS_PROXY": proxy.url()})
            async with client(proxies=rules, timeout=httpx.Timeout(5, connect=0.1)) as http:
                with pytest.raises(httpx.ConnectTimeout):
                    await http.get("https://target.test/")

    asyncio.run(scenario())


def test_a_proxy_that_is_not_there_is_named() -> None:
    async def scenario() -> None:
        async with raw_server(silent()) as proxy:
            port = proxy.port
        async with client(proxies=ProxyRules({"HTTP_PROXY": f"http://u:secret@127.0.0.1:{port}"})) as http:
            with pytest.raises(httpx.ProxyError) as caught:
                await http.get("http://target.test/")
            assert str(caught.value) == f"cannot connect to the proxy 127.0.0.1:{port}: Connection refused"

    asyncio.run(scenario())
