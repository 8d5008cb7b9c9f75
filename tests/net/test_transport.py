from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
import trustme
from aiohttp import web
from hypothesis import given, reject
from hypothesis import strategies as st

from agent.net import transport
from agent.net.outgoing import wire_url
from agent.net.tls import tls_context
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
    web_server,
)


def test_only_the_headers_of_the_request_are_sent() -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server, client() as http:
            request = http.build_request("POST", server.url("/a?b=c"), content=b"")
            for name in ("Accept", "Accept-Encoding", "Connection", "User-Agent"):
                del request.headers[name]
            request.headers = httpx.Headers([*request.headers.raw, (b"X-Utf8", "grün".encode())])
            await http.send(request)
            assert server.heads == [
                f"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
                "Content-Length: 0\r\nX-Utf8: grün\r\n\r\n".encode()
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "path",
    ["/", "//a//b", "/a%2Fb/%20", "/a;b=c/d", "/ü/ß?x=ö", "/?", "/x?a=1&a=2&b=%26+%2B", "/x?q={}|\"'", "/a b?c d"],
)
def test_paths_go_out_exactly_as_httpx_spells_them(path: str) -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server, client() as http:
            response = await http.get(server.url(path))
            line = server.heads[0].split(b"\r\n")[0]
            assert line == b"GET " + response.request.url.raw_path + b" HTTP/1.1"

    asyncio.run(scenario())


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_path_or_query_is_respelled(path: str, query: str) -> None:
    try:
        url = httpx.URL(f"http://user:pw@example.com:8080/{path}?{query}")
    except httpx.InvalidURL:
        reject()
    target = wire_url(url)
    assert target.raw_path_qs.encode("ascii") == url.raw_path
    assert (target.raw_host, target.port, target.raw_user) == ("example.com", 8080, None)


def test_bodies_arrive_whole_whatever_their_form() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"0123456789" * 1000

    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        framing = "chunked" if "chunked" in request.headers.get("Transfer-Encoding", "") else "length"
        return web.json_response([request.method, framing, request.content_type, len(body)])

    async def scenario() -> None:
        async with web_server(echo) as url, client() as http:
            assert (await http.post(url, content=b"abc")).json() == [
                "POST",
                "length",
                "application/octet-stream",
                3,
            ]
            assert (await http.put(url, json={"a": 1})).json() == ["PUT", "length", "application/json", 7]
            large = b"x" * (3 * 1024 * 1024)
            assert (await http.post(url, content=large)).json()[1::2] == ["length", len(large)]
            assert (await http.post(url, content=pieces())).json()[1::2] == ["chunked", 100_000]
            sized = {"Content-Length": "100000"}
            assert (await http.post(url, content=pieces(), headers=sized)).json()[1::2] == ["length", 100_000]

    asyncio.run(scenario())


def test_compressed_answers_are_inflated_by_httpx_in_small_pieces() -> None:
    async def handler(_: web.Request) -> web.Response:
        packed = gzip.compress(b"0" * 8_000_000)
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async def scenario() -> None:
        async with web_server(handler) as url, client() as http, http.stream("GET", url) as response:
            raw = [len(chunk) async for chunk in response.aiter_raw()]
            assert max(raw) <= 16 * 1024
            assert (await http.get(url)).content == b"0" * 8_000_000

    asyncio.run(scenario())


def test_head_and_empty_answers_have_no_body() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=204) if request.path == "/none" else web.Response(text="something")

    async def scenario() -> None:
        async with web_server(handler) as url, client() as http:
            head = await http.head(url)
            assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "9")
            assert (await http.get(url + "/none")).content == b""

    asyncio.run(scenario())


def test_connections_are_used_again_until_they_have_been_idle_too_long() -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server:
            async with client() as http:
                for _ in range(3):
                    await http.get(server.url())
                assert server.connections == 1
            async with client(keepalive_s=0.0) as http:
                for _ in range(3):
                    await http.get(server.url())
                assert server.connections == 4
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_that_the_server_closed_while_idle_is_not_used_again(
    scheme: str, authority: trustme.CA
) -> None:
    """Not even when the loop has had no time to notice: the news of it waits in the socket."""

    async def scenario() -> None:
        tls = server_tls(authority) if scheme == "https" else None
        async with raw_server(answers(OK), tls) as server, client(authority=authority) as http:
            for n in range(1, 4):
                assert (await http.post(server.url(scheme=scheme))).text == "ok"
                await until(lambda: server.open == 0)
                assert server.connections == n

    asyncio.run(scenario())


def test_no_more_connections_than_allowed_and_waiting_ends_in_a_connect_timeout() -> None:
    async def scenario() -> None:
        patience = httpx.Timeout(5, connect=0.2)
        async with raw_server(silent()) as server, client(max_connections=2, timeout=patience) as http:
            held = [asyncio.create_task(http.get(server.url())) for _ in range(2)]
            await until(lambda: server.open == 2)
            with pytest.raises(httpx.ConnectTimeout):
                await http.get(server.url())
            assert server.connections == 2
            for task in held:
                task.cancel()
            await asyncio.gather(*held, return_exceptions=True)
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


def test_cookies_are_not_kept_and_redirects_not_followed() -> None:
    async def handler(request: web.Request) -> web.Response:
        headers = {"Set-Cookie": "session=stolen; Path=/", "Location": "/elsewhere"}
        return web.Response(status=302, text=request.headers.get("Cookie", "none"), headers=headers)

    async def scenario() -> None:
        async with web_server(handler) as url, client() as http:
            for _ in range(2):
                response = await http.get(url.replace("127.0.0.1", "localhost"))  # jars dislike addresses
                assert (response.status_code, response.text) == (302, "none")

    asyncio.run(scenario())


def test_an_answer_that_is_not_read_to_its_end_closes_its_connection() -> None:
    async def scenario() -> None:
        endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000
        async with raw_server(keeps_answering(endless)) as server, client(max_connections=1) as http:
            for _ in range(2):
                async with http.stream("GET", server.url()) as response:
                    assert response.status_code == 200
                await until(lambda: server.open == 0)
            assert server.connections == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("keepalive_s", [0.0, 60.0])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_cancelling_at_any_moment_leaves_no_connection_behind(
    scheme: str, keepalive_s: float, authority: trustme.CA
) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n" + b"y" * 40000
    tls = server_tls(authority) if scheme == "https" else None

    async def cancelled_after(turns: int, http: httpx.AsyncClient, url: str) -> bool:
        task = asyncio.create_task(http.post(url, content=b"body" * 1000))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        return isinstance(result, asyncio.CancelledError)

    async def scenario() -> None:
        async with raw_server(keeps_answering(reply), tls) as server:
            url = server.url(scheme=scheme)
            async with client(authority=authority, max_connections=1, keepalive_s=keepalive_s) as http:
                turns = 0
                await http.get(url)  # with keep-alive there is now an idle connection to be used again
                while await cancelled_after(turns, http, url):
                    turns += 1
                    await http.get(url)
                assert turns > 3
                # With one connection allowed, one leaked slot would make this wait for ever.
                assert len((await http.get(url)).content) == 40000
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


def test_closing_the_client_ends_what_is_under_way_and_idle(authority: trustme.CA) -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering(), server_tls(authority)) as server:
            async with client(authority=authority) as http:
                await asyncio.gather(*(http.get(server.url(scheme="https")) for _ in range(5)))
                assert server.open > 0
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


def test_closing_does_not_wait_for_a_peer_that_never_says_goodbye(authority: trustme.CA) -> None:
    def deaf(_: RawServer) -> Talk:
        async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport in both directions
            await asyncio.Event().wait()

        return talk

    async def scenario() -> None:
        async with raw_server(deaf, server_tls(authority)) as server:
            async with client(authority=authority, timeout_s=0.2) as http:
                with pytest.raises(httpx.ReadTimeout):
                    await http.get(server.url(scheme="https"))
                (lingering,) = http._transport._connector._open.values()  # type: ignore[attr-defined]  # looks inside
                open_socket = lingering.get_extra_info("socket")
                assert open_socket.fileno() != -1
            assert open_socket.fileno() == -1

    asyncio.run(scenario())


def test_a_client_may_be_made_without_a_loop_and_closed_unused() -> None:
    opened = client()

    async def scenario() -> None:
        async with opened:
            pass

    asyncio.run(scenario())


def test_a_synchronous_body_is_not_sent() -> None:
    async def scenario() -> None:
        sender = transport.AiohttpTransport(tls=tls_context(), max_connections=1, keepalive_s=1.0)
        with pytest.raises(httpx.LocalProtocolError, match="synchronous"):
            await sender.handle_async_request(httpx.Request("POST", "http://127.0.0.1:9/", content=iter([b"x"])))
        await sender.aclose()

    asyncio.run(scenario())
