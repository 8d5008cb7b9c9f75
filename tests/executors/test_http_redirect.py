"""Where a redirect leads on the wire, and what of the request goes along."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable

import pytest

from agent import __version__
from agent.domain.json import JsonObject
from agent.domain.outcome import Accepted, Failed, FailureKind
from tests.executors.http_server import executor, run_of
from tests.net.servers import OK, RawServer, Talk, raw_server, until, whole_requests

FOLLOWS: JsonObject = {"follow_redirects": True}


def redirect_to(location: bytes, status: int = 307, more: bytes = b"Content-Length: 0\r\n\r\n") -> bytes:
    return b"HTTP/1.1 %d Elsewhere\r\nLocation: %b\r\n%b" % (status, location, more)


def leads_to(location: bytes, status: int = 307) -> Callable[[RawServer], Talk]:
    """Answers the first request with a redirect, all others with success; ``PORT`` in it is the server's own."""

    def for_server(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await seen.read_request(reader)
                there = location.replace(b"PORT", str(seen.port).encode())
                writer.write(OK if len(seen.heads) > 1 else redirect_to(there, status))
                await writer.drain()

        return talk

    return for_server


def values(head: bytes, name: str) -> list[str]:
    """Of all headers of this name."""
    pairs = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    return [value for own, _, value in pairs if own.lower() == name]


def line(head: bytes) -> str:
    return head.decode("latin-1").split("\r\n")[0]


def basic(credentials: str) -> str:
    return f"Basic {b64encode(credentials.encode()).decode()}"


def heads_here(location: bytes, options: JsonObject | None = None, userinfo: str = "") -> tuple[bytes, bytes]:
    """Of the first request, and of the one that follows a redirect which stays on its server."""

    async def scenario() -> tuple[bytes, bytes]:
        async with raw_server(leads_to(location)) as server, executor({**FOLLOWS, **(options or {})}) as http:
            url = server.url("/here/now?a=1").replace("//", f"//{userinfo}", 1)
            assert await http.execute(run_of(url)) == Accepted()
            first, second = server.heads
            return first, second

    return asyncio.run(scenario())


def heads_elsewhere(options: JsonObject, userinfo: str = "", there: str = "") -> tuple[bytes, bytes]:
    """The same of a redirect to another server, with ``there`` as its credentials."""

    async def scenario() -> tuple[bytes, bytes]:
        async with raw_server(whole_requests()) as other:
            location = other.url("/there").replace("//", f"//{there}", 1).encode()
            async with raw_server(leads_to(location)) as server, executor({**FOLLOWS, **options}) as http:
                assert await http.execute(run_of(server.url().replace("//", f"//{userinfo}", 1))) == Accepted()
                (first,), (second,) = server.heads, other.heads
                assert values(second, "host") == [f"127.0.0.1:{other.port}"]
                return first, second

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (b"/there", "/there"),
        (b"there", "/here/there"),
        (b"../there", "/there"),
        (b"?b=2", "/here/now?b=2"),
        (b"//127.0.0.1:PORT/there", "/there"),
        (b"http://127.0.0.1:PORT/there", "/there"),
        (b"HTTP://127.0.0.1:PORT/there", "/there"),
        (b"http://127.0.0.1:PORT", "/"),
        (b"http://127.0.0.1:PORT/there?", "/there?"),
        (b"http://127.0.0.1:PORT/there?a=b%20c#part", "/there?a=b%20c"),
        (b"/there#part", "/there"),
        (b"/a b", "/a%20b"),
        ("/café".encode(), "/caf%C3%A9"),
        ("/café".encode("latin-1"), "/caf%C3%A9"),
        (b"http:///there", "/there"),
    ],
)
def test_a_location_is_read_as_servers_mean_it(location: bytes, path: str) -> None:
    assert line(heads_here(location)[1]) == f"POST {path} HTTP/1.1"


@pytest.mark.parametrize("status", [302, 303, 307])
@pytest.mark.parametrize(
    "location",
    [
        b"ftp://127.0.0.1:PORT/x",
        b"ws://127.0.0.1:PORT/x",
        b"wss://127.0.0.1:PORT/x",
        b"foo://127.0.0.1:PORT/",
        b"foo://host:1/",
        b"file:///x",
        b"ftp:///x",
        b"mailto:somebody@here.test",
        b"javascript:alert(1)",
        b"http://127.0.0.1:99999/",
        b"http://127.0.0.1:0/",
        b"http://127.0.0.1:-1/",
        b"http://xn--/x",
        b"http://a..b/x",
        b"http://[::1/x",
    ],
)
def test_what_leads_to_nothing_that_can_be_called_fails_as_maybe_executed(location: bytes, status: int) -> None:
    async def scenario() -> None:
        async with raw_server(leads_to(location, status)) as server, executor(FOLLOWS) as http:
            outcome = await http.execute(run_of(server.url()))
            assert isinstance(outcome, Failed)
            assert outcome.kind is FailureKind.CONNECTION
            assert "it may have been executed all the same" in outcome.reason
            assert (server.connections, len(server.heads)) == (1, 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("location", [b"ftp://127.0.0.1:PORT/x", b"file:///x", b"http://127.0.0.1:99999/"])
def test_what_can_never_be_called_is_not_tried_again(location: bytes) -> None:
    async def scenario() -> None:
        options: JsonObject = {**FOLLOWS, "method": "PUT"}
        async with raw_server(leads_to(location)) as server, executor(options) as http:
            assert isinstance(await http.execute(run_of(server.url())), Failed)
            assert len(server.heads) == 1

    asyncio.run(scenario())


def test_a_location_that_cannot_be_read_leaves_the_connection_to_others() -> None:
    """However much of a body comes with it."""
    unreadable = redirect_to(b"http://xn--/<", more=b"Content-Length: 10000000\r\n\r\n" + b"x" * 1_000_000)

    def talk_of(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await seen.read_request(reader)
                writer.write(unreadable if len(seen.heads) == 1 else OK)
                await writer.drain()

        return talk

    async def scenario() -> None:
        async with raw_server(talk_of) as server, executor(FOLLOWS, max_concurrent_runs=1) as http:
            assert isinstance(await http.execute(run_of(server.url())), Failed)
            async with asyncio.timeout(10):
                assert await http.execute(run_of(server.url())) == Accepted()
            assert len(server.heads) == 2
        await until(lambda: server.open == 0)

    asyncio.run(scenario())


def test_a_redirect_leaves_its_connection_to_the_next_request() -> None:
    """Though nobody reads its body: with one connection the way on would be barred."""
    found = redirect_to(b"/there", more=b"Content-Length: 10000000\r\n\r\n" + b"x" * 1_000_000)

    def talk_of(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await seen.read_request(reader)
                writer.write(found if len(seen.heads) == 1 else OK)
                await writer.drain()

        return talk

    async def scenario() -> None:
        async with raw_server(talk_of) as server, executor(FOLLOWS, max_concurrent_runs=1) as http:
            async with asyncio.timeout(10):
                assert await http.execute(run_of(server.url())) == Accepted()
            assert [line(head) for head in server.heads] == ["POST / HTTP/1.1", "POST /there HTTP/1.1"]

    asyncio.run(scenario())


HOST: JsonObject = {"headers": {"Host": "virtual.test"}}


def test_a_host_of_the_routes_own_stays_with_its_server() -> None:
    for head in heads_here(b"/there", HOST):
        assert values(head, "host") == ["virtual.test"]
    first, _ = heads_elsewhere(HOST)
    assert values(first, "host") == ["virtual.test"]


def test_without_one_of_its_own_each_request_has_one_host() -> None:
    for head in heads_here(b"/there"):
        assert len(values(head, "host")) == 1
    heads_elsewhere({})


def test_a_cookie_stays_with_its_server() -> None:
    first, second = heads_elsewhere({"headers": {"Cookie": "session=1"}})
    assert (values(first, "cookie"), values(second, "cookie")) == (["session=1"], [])


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_credentials_in_the_url_are_said_once_and_instead_of_others(name: str) -> None:
    for head in heads_here(b"/there", {"headers": {name: "Bearer other"}}, "me:p%40ss@"):
        assert values(head, "authorization") == [basic("me:p@ss")]


def test_credentials_in_the_url_stay_with_their_server() -> None:
    first, second = heads_elsewhere({}, "me:pass@")
    assert (values(first, "authorization"), values(second, "authorization")) == ([basic("me:pass")], [])


@pytest.mark.parametrize("location", [b"/there", b"there", b"?b=2", b"http://127.0.0.1:PORT/there"])
def test_credentials_in_the_url_go_on_to_another_path_of_their_server(location: bytes) -> None:
    for head in heads_here(location, userinfo="me:pass@"):
        assert values(head, "authorization") == [basic("me:pass")]


@pytest.mark.parametrize("userinfo", ["", "me:pass@"])
def test_credentials_in_the_location_are_meant_for_where_it_leads(userinfo: str) -> None:
    first, second = heads_elsewhere({}, userinfo, there="you:w%C3%B6rd@")
    assert values(first, "authorization") == ([basic("me:pass")] if userinfo else [])
    assert values(second, "authorization") == [basic("you:wörd")]
    assert b"you" not in second


def test_credentials_in_a_location_on_the_same_server_replace_those_before() -> None:
    own: JsonObject = {"headers": {"Authorization": "Bearer own"}}
    first, second = heads_here(b"http://you:word@127.0.0.1:PORT/there", own)
    assert values(first, "authorization") == ["Bearer own"]
    assert values(second, "authorization") == [basic("you:word")]


@pytest.mark.parametrize(
    ("headers", "sent"),
    [({}, f"port-action-agent/{__version__}"), ({"User-Agent": "mine"}, "mine"), ({"user-agent": "mine"}, "mine")],
)
def test_the_clients_own_headers_are_sent_once(headers: JsonObject, sent: str) -> None:
    for head in (*heads_here(b"/there", {"headers": headers}), *heads_elsewhere({"headers": headers})):
        assert values(head, "user-agent") == [sent]
        for name in ("accept", "accept-encoding", "connection", "content-type", "content-length"):
            assert len(values(head, name)) <= 1, name


@pytest.mark.parametrize("method", ["post", "Put"])
def test_methods_are_written_in_upper_case(method: str) -> None:
    for head in heads_here(b"/there", {"method": method}):
        assert line(head).startswith(f"{method.upper()} /")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://xn--/x", "http://a..b/", "ftp://here.test/"])
def test_a_url_that_cannot_be_called_fails_the_run_and_nothing_else(url: str) -> None:
    async def scenario() -> None:
        async with executor() as http:
            outcome = await http.execute(run_of(url))
            assert isinstance(outcome, Failed)
            assert outcome.kind in (FailureKind.NOT_STARTED, FailureKind.CONNECTION)
            assert "may have been executed" not in outcome.reason

    asyncio.run(scenario())
