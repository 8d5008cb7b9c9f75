"""Every way in which an exchange fails, on real sockets, and what httpx's word for it is."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable

import aiohttp
import httpx
import pytest
import trustme

from agent.net.errors import CertificateError, NameNotFoundError, connect_failure, exchange_failure, never_sent
from tests.net.servers import (
    OK,
    RawServer,
    Talk,
    answers,
    client,
    keeps_answering,
    raw_server,
    server_tls,
    silent,
    until,
)


async def failure(http: httpx.AsyncClient, url: str, method: str = "GET") -> httpx.TransportError:
    with pytest.raises(httpx.TransportError) as caught:
        await http.request(method, url, content=b"body" if method == "POST" else None)
    assert "secret" not in str(caught.value)
    return caught.value


def test_a_refused_connection_was_never_sent() -> None:
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
            port = taken.getsockname()[1]
            async with client() as http:
                error = await failure(http, f"http://user:secret@127.0.0.1:{port}/x?token=secret", "POST")
        assert type(error) is httpx.ConnectError
        assert never_sent(error)
        assert str(error) == f"cannot connect to 127.0.0.1:{port}: Connection refused"

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["nosuch.invalid", "a..b", "x" * 64 + ".test"])
def test_a_name_that_does_not_resolve_was_never_sent(host: str) -> None:
    async def scenario() -> None:
        async with client() as http:
            error = await failure(http, f"http://{host}:8080/?token=secret")
        assert type(error) is NameNotFoundError
        assert never_sent(error)
        assert host in str(error)

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["127.1", "2130706433"])
def test_addresses_in_other_notations_are_not_called(host: str) -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server, client() as http:
            error = await failure(http, f"http://{host}:{server.port}/")
            assert never_sent(error)
            assert server.connections == 0

    asyncio.run(scenario())


def test_a_handshake_without_end_is_a_connect_timeout(authority: trustme.CA) -> None:
    async def scenario() -> None:
        async with raw_server(silent()) as server:
            async with client(authority=authority, timeout=httpx.Timeout(5, connect=0.2)) as http:
                error = await failure(http, server.url(scheme="https"), "POST")
            assert type(error) is httpx.ConnectTimeout
            assert never_sent(error)
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("names", "trusted", "said"),
    [(("127.0.0.1",), False, "unable to get local issuer certificate"), (("other.test",), True, "mismatch")],
)
def test_certificates_that_are_not_accepted(
    names: tuple[str, ...],
    trusted: bool,  # noqa: FBT001  # a case's column
    said: str,
    authority: trustme.CA,
) -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering(), server_tls(authority, *names)) as server:
            async with client(authority=authority if trusted else None) as http:
                error = await failure(http, server.url(scheme="https"), "POST")
            assert type(error) is CertificateError
            assert never_sent(error)
            assert said in str(error)
            assert server.heads == []

    asyncio.run(scenario())


def test_https_to_a_plain_server_was_never_sent(authority: trustme.CA) -> None:
    def complains(_: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            await reader.read()

        return talk

    async def scenario() -> None:
        async with raw_server(complains) as server:
            async with client(authority=authority) as http:
                error = await failure(http, server.url(scheme="https"))
            assert type(error) is httpx.ConnectError
            assert "TLS" in str(error)

    asyncio.run(scenario())


def test_a_missing_client_certificate_is_noticed_after_the_handshake(authority: trustme.CA) -> None:
    """With TLS 1.3 the client is done before the server has looked, so this is not a failure to connect."""

    async def scenario() -> None:
        async with raw_server(keeps_answering(), server_tls(authority, demand_client=True)) as server:
            async with client(authority=authority) as http:
                error = await failure(http, server.url(scheme="https"))
            assert isinstance(error, httpx.ReadError | httpx.RemoteProtocolError)
            assert not never_sent(error)
            assert server.heads == []

    asyncio.run(scenario())


def resets_after_the_request(seen: RawServer) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await seen.read_head(reader)
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return talk


@pytest.mark.parametrize(
    ("talk", "kind", "said"),
    [
        (answers(b""), httpx.RemoteProtocolError, "closed the connection without answering"),
        (answers(b"HTTP/1.1 200 OK\r\nContent-"), httpx.RemoteProtocolError, "closed the connection without"),
        (answers(b"220 smtp.test ESMTP\r\n\r\n"), httpx.RemoteProtocolError, "does not answer in HTTP/1.1"),
        (
            answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
            httpx.RemoteProtocolError,
            "before its answer",
        ),
        (
            answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
            httpx.RemoteProtocolError,
            "befor",
        ),
        (resets_after_the_request, httpx.ReadError, "Connection reset by peer"),
        (silent(), httpx.ReadTimeout, "did not answer in time"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_goes_wrong_after_connecting_may_have_been_executed_and_is_sent_once(
    talk: Callable[[RawServer], Talk], kind: type[httpx.TransportError], said: str, method: str
) -> None:
    async def scenario() -> None:
        async with raw_server(talk) as server:
            async with client(timeout_s=0.3) as http:
                error = await failure(http, server.url("/?token=secret"), method)
            assert type(error) is kind
            assert said in str(error)
            assert f"127.0.0.1:{server.port}" in str(error)
            assert not never_sent(error)
            assert server.connections == 1

    asyncio.run(scenario())


def test_an_answer_that_stops_half_way_is_a_read_timeout() -> None:
    def stalls(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
            await reader.read()

        return talk

    async def scenario() -> None:
        async with raw_server(stalls) as server:
            async with client(timeout_s=0.2) as http:
                assert type(await failure(http, server.url())) is httpx.ReadTimeout
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


def test_a_server_that_does_not_take_the_body_is_a_write_timeout() -> None:
    def never_reads(_: RawServer) -> Talk:
        async def talk(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await asyncio.Event().wait()

        return talk

    async def scenario() -> None:
        async with raw_server(never_reads) as server, client(timeout_s=0.1) as http:
            with pytest.raises(httpx.WriteTimeout) as caught:
                await http.post(server.url(), content=b"x" * 50_000_000)
            assert not never_sent(caught.value)

    asyncio.run(scenario())


def test_a_request_on_a_connection_just_closed_is_not_repeated_by_itself() -> None:
    """Not even a GET: the server may have executed it before it closed the connection."""

    async def scenario() -> None:
        async with raw_server(answers(OK, b"")) as server, client() as http:
            await http.get(server.url())
            error = await failure(http, server.url())
            assert type(error) is httpx.RemoteProtocolError
            assert len(server.heads) == 2
            assert server.connections == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "//127.0.0.1/", "/relative"])
def test_other_schemes_are_not_called(url: str) -> None:
    async def scenario() -> None:
        async with client() as http:
            assert type(await failure(http, url)) is httpx.UnsupportedProtocol

    asyncio.run(scenario())


@pytest.mark.parametrize("header", [("X-Evil", "a\r\nX-Injected: b"), ("X-Evil", "\0"), ("X Evil", "a"), ("", "a")])
def test_headers_that_would_break_the_request_are_not_sent(header: tuple[str, str]) -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server, client() as http:
            request = http.build_request("GET", server.url())
            name, value = header
            request.headers = httpx.Headers([*request.headers.raw, (name.encode(), value.encode())])
            with pytest.raises(httpx.LocalProtocolError) as caught:
                await http.send(request)
            assert never_sent(caught.value)
            assert server.heads == []

    asyncio.run(scenario())


def test_a_method_that_breaks_the_request_line_is_not_sent() -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server, client() as http:
            error = await failure(http, server.url(), "GET / HTTP/1.1\r\nX-Evil: 1\r\n\r\n")
            assert type(error) is httpx.LocalProtocolError
            assert server.heads == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (aiohttp.ClientConnectionError("Connector is closed."), httpx.ConnectError, "Connector is closed."),
        (OSError(101, "with ('10.0.0.1', 80) in it"), httpx.ConnectError, "Network is unreachable"),
        (RuntimeError(), httpx.ConnectError, "RuntimeError"),
    ],
)
def test_rarer_failures_to_connect(error: Exception, kind: type[httpx.TransportError], said: str) -> None:
    mapped = connect_failure(error, "h:1")
    assert (type(mapped), str(mapped)) == (kind, f"cannot connect to h:1: {said}")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (aiohttp.ClientConnectionResetError("Cannot write"), httpx.WriteError, "while the request was being sent"),
        (aiohttp.ClientOSError(32, "Can not write request body"), httpx.ReadError, "broke: Broken pipe"),
        (aiohttp.ClientConnectionError("Failed to send bytes"), httpx.ReadError, "broke: Failed to send bytes"),
        (OSError(), httpx.ReadError, "broke: OSError"),
        (ssl.SSLError(1, "[SSL: X] tlsv13 alert"), httpx.ReadError, "broke: TLS:"),
    ],
)
def test_rarer_failures_of_an_exchange(error: Exception, kind: type[httpx.TransportError], said: str) -> None:
    mapped = exchange_failure(error, "h:1")
    assert type(mapped) is kind
    assert said in str(mapped)
    assert not never_sent(mapped)
