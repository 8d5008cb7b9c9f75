"""What a request of few words is on the wire, and what is never sent; the short way beside the long one."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from agent.net.outgoing import Outgoing
from tests.net.servers import client, outgoing, raw_server, whole_requests

LONG = b"x" * 100_000
"""Too long for the short way."""
BOTH_WAYS = pytest.mark.parametrize("body", [b"short", LONG], ids=["short", "long"])


def head_of(
    method: str = "GET", path: str = "/", headers: tuple[tuple[str, str], ...] = (), body: bytes | None = None
) -> list[str]:
    """The head that such a request has on the wire, without the server's port."""

    async def scenario() -> list[str]:
        async with raw_server(whole_requests()) as server, client() as http:
            sent = outgoing(server.url(path), method, headers=headers, body=body)
            answer = await http.exchange(sent)
            assert answer.status == 200
            await answer.read()
            (head,) = server.heads
            return head.decode().replace(f":{server.port}", "").removesuffix("\r\n\r\n").split("\r\n")

    return asyncio.run(scenario())


def refusal(
    method: str = "GET", path: str = "/", headers: tuple[tuple[str, str], ...] = (), body: bytes | None = None
) -> httpx.TransportError:
    """Why such a request is not sent: no byte of it arrives, and the next one is not disturbed."""

    async def scenario() -> httpx.TransportError:
        async with raw_server(whole_requests()) as server, client(max_connections=1) as http:
            with pytest.raises(httpx.TransportError) as caught:
                await http.exchange(outgoing(server.url(path), method, headers=headers, body=body))
            await (await http.exchange(outgoing(server.url("/next")))).read()
            assert [head.split(b"\r\n")[0] for head in server.heads] == [b"GET /next HTTP/1.1"]
            return caught.value

    return asyncio.run(scenario())


def test_nothing_is_added_to_a_request_without_a_body() -> None:
    assert head_of() == ["GET / HTTP/1.1", "Host: 127.0.0.1"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_request_that_might_have_a_body_says_that_it_has_none(method: str) -> None:
    assert head_of(method) == [f"{method} / HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 0"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
def test_a_body_is_framed_whatever_the_method(method: str) -> None:
    assert "Content-Length: 5" in head_of(method, body=b"short")


@BOTH_WAYS
def test_the_length_that_the_caller_gives_is_not_said_twice(body: bytes) -> None:
    lines = head_of("POST", headers=(("content-length", str(len(body))),), body=body)
    assert [line.lower() for line in lines if "length" in line.lower()] == [f"content-length: {len(body)}"]


@BOTH_WAYS
@pytest.mark.parametrize("name", ["Host", "host"])
def test_the_callers_host_is_kept(name: str, body: bytes) -> None:
    lines = head_of("POST", headers=((name, "virtual.test"),), body=body)
    assert [line.lower() for line in lines if line.lower().startswith("host")] == ["host: virtual.test"]


@BOTH_WAYS
def test_there_is_one_host_where_the_caller_names_none(body: bytes) -> None:
    assert [line for line in head_of("POST", body=body) if line.lower().startswith("host")] == ["Host: 127.0.0.1"]


@BOTH_WAYS
@pytest.mark.parametrize("method", ["post", "Post"])
def test_methods_are_written_in_upper_case(method: str, body: bytes) -> None:
    async def scenario() -> None:
        async with raw_server(whole_requests()) as server, client() as http:
            request = http.build_request("POST", server.url(), content=body)
            request.method = method
            await http.send(request)
            assert server.heads[0].startswith(b"POST / HTTP/1.1")

    asyncio.run(scenario())


def test_both_ways_share_their_connections() -> None:
    async def scenario() -> None:
        async with raw_server(whole_requests()) as server, client() as http:
            for body in (b"short", LONG, b"short", LONG):
                await (await http.exchange(outgoing(server.url(), "POST", body=body))).read()
            assert len(server.heads) == 4
            assert server.connections == 1

    asyncio.run(scenario())


def test_both_ways_count_for_the_number_of_connections_allowed() -> None:
    async def scenario() -> None:
        async with raw_server(whole_requests()) as server, client(max_connections=1) as http:
            requests = (outgoing(server.url(), "POST", body=body) for body in (LONG, b"short") * 5)

            async def whole(request: Outgoing) -> bytes:
                return (await (await http.exchange(request)).read())[0]

            assert await asyncio.gather(*map(whole, requests)) == [b"ok"] * 10
            assert server.connections == 1

    asyncio.run(scenario())


@BOTH_WAYS
@pytest.mark.parametrize(
    "path", ["/a b", "/a\tb", "/a\nb", "/\r\nX-Other: 1", "/\x00", "/\x7f", "/ü", "/?q= ", "/?q=\n"]
)
def test_a_path_that_would_break_the_request_is_not_sent(path: str, body: bytes) -> None:
    assert isinstance(refusal("POST", path, body=body), httpx.LocalProtocolError)


@BOTH_WAYS
@pytest.mark.parametrize("method", ["GE T", "", "GET\r\n", "GET / HTTP/1.1\r\nX-Other: 1\r\n", "GÉT", "G(T"])
def test_a_method_that_is_none_is_not_sent(method: str, body: bytes) -> None:
    assert isinstance(refusal(method, body=body), httpx.LocalProtocolError)


@BOTH_WAYS
@pytest.mark.parametrize(
    "header", [("X-A", "1\r\nX-B: 2"), ("X-A", "\x00"), ("X A", "1"), ("X-A:", "1"), ("", "1")]
)
def test_a_header_that_would_be_two_is_not_sent(header: tuple[str, str], body: bytes) -> None:
    assert isinstance(refusal("POST", headers=(header,), body=body), httpx.LocalProtocolError)


@BOTH_WAYS
@pytest.mark.parametrize("name", ["Transfer-Encoding", "transfer-encoding"])
def test_a_transfer_encoding_is_not_sent(name: str, body: bytes) -> None:
    """The body goes as it is: a server that believed this one would take it for something else."""
    assert isinstance(refusal("POST", headers=((name, "chunked"),), body=body), httpx.LocalProtocolError)


@BOTH_WAYS
@pytest.mark.parametrize("length", ["0", "4", "6", "100001", "-1", "five", "5, 5", "+5", ""])
def test_a_length_that_is_not_the_bodys_is_not_sent(length: str, body: bytes) -> None:
    """What is over would be taken for the next request, and what is missing waited for."""
    assert isinstance(refusal("POST", headers=(("Content-Length", length),), body=body), httpx.LocalProtocolError)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_length_without_a_body_is_not_sent(method: str) -> None:
    assert isinstance(refusal(method, headers=(("Content-Length", "5"),)), httpx.LocalProtocolError)


@BOTH_WAYS
@pytest.mark.parametrize("is_first", [True, False])
def test_a_second_length_that_is_not_the_bodys_is_not_sent(is_first: bool, body: bytes) -> None:  # noqa: FBT001  # a case
    lengths = ("1", str(len(body))) if is_first else (str(len(body)), "1")
    headers = tuple(("Content-Length", length) for length in lengths)
    assert isinstance(refusal("POST", headers=headers, body=body), httpx.LocalProtocolError)


@BOTH_WAYS
@pytest.mark.parametrize("scheme", ["ftp", "ws", "wss", "foo", "file", ""])
def test_other_schemes_are_refused(scheme: str, body: bytes) -> None:
    async def scenario() -> None:
        async with raw_server(whole_requests()) as server, client() as http:
            with pytest.raises(httpx.UnsupportedProtocol):
                await http.exchange(outgoing(server.url(scheme=scheme), "POST", body=body))
            assert server.connections == 0

    asyncio.run(scenario())


def test_a_place_that_is_none_is_a_failure_like_any_other() -> None:
    async def scenario() -> None:
        async with client() as http:
            for url in ("http://xn--/x", "http://a..b/x", f"http://{'a' * 64}.test/", "http:///x"):
                with pytest.raises(httpx.TransportError):
                    await http.exchange(outgoing(url))

    asyncio.run(scenario())


@pytest.mark.parametrize("port", [65536, 99999, 10**12])
def test_a_port_that_no_server_has_is_a_failure_like_any_other(port: int) -> None:
    async def scenario() -> None:
        async with client() as http:
            with pytest.raises(httpx.LocalProtocolError):
                await http.get(f"http://127.0.0.1:{port}/")

    asyncio.run(scenario())
