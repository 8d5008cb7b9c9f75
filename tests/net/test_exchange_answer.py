"""What of a server's words is the answer to a request, and when it has ended."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable

import httpx
import pytest

from agent.net.client import Client
from agent.net.outgoing import Outgoing, Timeouts
from tests.net.servers import (
    OK,
    RawServer,
    Talk,
    client,
    keeps_answering,
    outgoing,
    raw_server,
    silent,
    until,
    whole_requests,
)

LONG = b"x" * 100_000
"""Too long for the short way."""
BOTH_WAYS = pytest.mark.parametrize("body", [b"short", LONG], ids=["short", "long"])


def says(*pieces: bytes) -> Callable[[RawServer], Talk]:
    """On every connection: answers every request with ``pieces``, each of which arrives by itself."""

    def for_server(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await seen.read_request(reader)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.01)

        return talk

    return for_server


def framed(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode("latin-1") + body


def chunked(*chunks: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


EARLY = (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


@BOTH_WAYS
@pytest.mark.parametrize("pieces", [(*EARLY, OK), (b"".join(EARLY) + OK,), (*EARLY * 5, OK)])
def test_what_a_server_says_beforehand_is_not_the_answer(pieces: tuple[bytes, ...], body: bytes) -> None:
    async def scenario() -> None:
        async with raw_server(says(*pieces)) as server, client() as http:
            for _ in range(2):
                answer = await http.exchange(outgoing(server.url(), "POST", body=body))
                assert (answer.status, await answer.read()) == (200, (b"ok", False))
            assert server.connections == 1

    asyncio.run(scenario())


def test_a_switch_of_protocols_is_an_answer_and_the_end_of_its_connection() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"

    async def scenario() -> None:
        async with raw_server(keeps_answering(switch)) as server, client(max_connections=1) as http:
            for _ in range(2):
                answer = await http.exchange(outgoing(server.url()))
                assert answer.status == 101
                answer.close()
                await until(lambda: server.open == 0)
            assert server.connections == 2

    asyncio.run(scenario())


def test_nobody_waits_for_the_body_of_an_answer_to_head() -> None:
    await_nothing("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200)


@pytest.mark.parametrize("length", ["", "Content-Length: 9\r\n"])
@pytest.mark.parametrize("status", [204, 304])
def test_nobody_waits_for_the_body_of_an_answer_that_has_none(status: int, length: str) -> None:
    await_nothing("GET", f"HTTP/1.1 {status} X\r\n{length}\r\n".encode(), status)


def await_nothing(method: str, reply: bytes, status: int) -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering(reply)) as server, client(max_connections=1) as http:
            for _ in range(2):
                answer = await http.exchange(outgoing(server.url(), method))
                assert (answer.status, await answer.read()) == (status, (b"", False))
            assert server.connections == 1

    asyncio.run(scenario())


@BOTH_WAYS
def test_a_head_that_comes_drop_by_drop_is_not_waited_for_without_end(body: bytes) -> None:
    """Each silence is short enough; the whole is too long. Of a long request nobody knows whether it was taken."""

    def drips(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nX-Drops: ")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.02)

        return talk

    kinds = (httpx.ReadTimeout, httpx.WriteTimeout) if body == LONG else (httpx.ReadTimeout,)
    said = "in time" if body == LONG else "did not answer in time"

    async def scenario() -> None:
        timeouts = Timeouts(connect_s=0.3, write_s=0.2, read_s=0.2)
        async with raw_server(drips) as server, client(max_connections=1) as http:
            for _ in range(2):
                async with asyncio.timeout(10):
                    with pytest.raises(kinds, match=said):
                        await http.exchange(outgoing(server.url(), "POST", body=body, timeouts=timeouts))
                await until(lambda: server.open == 0)

    asyncio.run(scenario())


@BOTH_WAYS
def test_silence_is_a_read_timeout_and_its_connection_closed(body: bytes) -> None:
    async def scenario() -> None:
        timeouts = Timeouts(connect_s=5.0, write_s=5.0, read_s=0.1)
        async with raw_server(silent()) as server, client() as http:
            with pytest.raises(httpx.ReadTimeout, match="did not answer in time"):
                await http.exchange(outgoing(server.url(), "POST", body=body, timeouts=timeouts))
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


@BOTH_WAYS
def test_waiting_for_a_free_connection_ends_in_a_connect_timeout(body: bytes) -> None:
    async def scenario() -> None:
        hurried = Timeouts(connect_s=0.1, write_s=30.0, read_s=30.0)
        async with raw_server(silent()) as server, client(max_connections=1) as http:
            held = asyncio.create_task(http.exchange(outgoing(server.url())))
            await until(lambda: server.open == 1)
            async with asyncio.timeout(10):
                with pytest.raises(httpx.ConnectTimeout, match="no connection to 127"):
                    await http.exchange(outgoing(server.url(), "POST", body=body, timeouts=hurried))
            assert server.connections == 1
            held.cancel()
            await asyncio.gather(held, return_exceptions=True)
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


@BOTH_WAYS
def test_long_header_lines_are_read_and_longer_ones_refused(body: bytes) -> None:
    async def scenario() -> None:
        fits, does_not = (framed(b"ok", f"X-Long: {'x' * length}") for length in (64_000, 70_000))
        async with raw_server(whole_requests(fits)) as server, client() as http:
            answer = await http.exchange(outgoing(server.url(), "POST", body=body))
            assert len(answer.headers["X-Long"]) == 64_000
            assert await answer.read() == (b"ok", False)
        async with raw_server(whole_requests(does_not)) as server, client() as http:
            with pytest.raises(httpx.RemoteProtocolError):
                await http.exchange(outgoing(server.url(), "POST", body=body))
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


@BOTH_WAYS
@pytest.mark.parametrize("turns", [0, 1, 2, 5, 50])
def test_what_nobody_asked_for_is_not_taken_for_the_next_answer(turns: int, body: bytes) -> None:
    """Some servers say 408 on a connection that is idle for too long, and close it later or not at all."""

    def tires(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await seen.read_request(reader)
                writer.write(OK)
                await tired.wait()
                writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
                said.set()

        return talk

    tired, said = asyncio.Event(), asyncio.Event()

    async def scenario() -> None:
        async with raw_server(tires) as server, client() as http:
            await (await http.exchange(outgoing(server.url()))).read()
            tired.set()
            await said.wait()
            tired.clear()
            for _ in range(turns):  # it lies in the socket, or was read already
                await asyncio.sleep(0)
            answer = await http.exchange(outgoing(server.url(), "POST", body=body))
            assert (answer.status, await answer.read()) == (200, (b"ok", False))
            assert (server.connections, len(server.heads)) == (2, 2)

    asyncio.run(scenario())


@BOTH_WAYS
def test_what_follows_an_answer_is_not_the_next_one(body: bytes) -> None:
    more = OK + framed(b"", status="408 Request Timeout")

    async def scenario() -> None:
        async with raw_server(whole_requests(more)) as server, client() as http:
            for _ in range(3):
                answer = await http.exchange(outgoing(server.url(), "POST", body=body))
                assert (answer.status, await answer.read()) == (200, (b"ok", False))
            assert server.connections == 3

    asyncio.run(scenario())


@BOTH_WAYS
@pytest.mark.parametrize("is_late", [True, False])
@pytest.mark.parametrize("junk", [b"zz\r\n", b"2\r\nokXX", b"-1\r\n", b"2\r\nok\r\nzz\r\n"])
def test_a_chunk_that_is_none_ends_the_answer(junk: bytes, is_late: bool, body: bytes) -> None:  # noqa: FBT001  # a case
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    def garbles(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_request(reader)
            for piece in (head, junk) if is_late else (head + junk,):
                writer.write(piece)
                await asyncio.sleep(0.02)
            await reader.read()

        return talk

    async def whole(http: Client, request: Outgoing, max_bytes: int | None) -> None:
        await (await http.exchange(request)).read(max_bytes)

    async def scenario() -> None:
        timeouts = Timeouts(connect_s=5.0, write_s=5.0, read_s=0.3)
        async with raw_server(garbles) as server, client(max_connections=1) as http:
            for max_bytes in (None, 100):
                async with asyncio.timeout(5):
                    with pytest.raises(httpx.TransportError):
                        await whole(http, outgoing(server.url(), "POST", body=body, timeouts=timeouts), max_bytes)
                await until(lambda: server.open == 0)

    asyncio.run(scenario())


PACKED = gzip.compress(b"0123456789")


@pytest.mark.parametrize(
    "reply",
    [
        framed(b"0123456789"),
        chunked(b"01234", b"56789"),
        chunked(*(bytes([digit]) for digit in b"0123456789")),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789",
        framed(PACKED, "Content-Encoding: gzip"),
        chunked(PACKED[:12], PACKED[12:]).replace(b"\r\n", b"\r\nContent-Encoding: gzip\r\n", 1),
    ],
    ids=["length", "chunks", "many chunks", "to its end", "gzip", "gzip in chunks"],
)
@pytest.mark.parametrize(
    ("max_bytes", "read"),
    [
        (None, (b"0123456789", False)),
        (11, (b"0123456789", False)),
        (10, (b"0123456789", False)),
        (9, (b"012345678", True)),
        (1, (b"0", True)),
        (0, (b"", True)),
    ],
)
def test_a_body_is_cut_where_it_is_longer_than_wanted(
    reply: bytes, max_bytes: int | None, read: tuple[bytes, bool]
) -> None:
    def ends(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_request(reader)
            writer.write(reply)
            if b"Connection: close" in reply:
                writer.write_eof()
            await reader.read()

        return talk

    async def scenario() -> None:
        async with raw_server(ends) as server, client() as http:
            answer = await http.exchange(outgoing(server.url()))
            assert await answer.read(max_bytes) == read

    asyncio.run(scenario())


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_body_that_has_come_as_far_as_it_is_wanted_may_go_on(is_packed: bool) -> None:  # noqa: FBT001  # a case
    """Whether it does shows only later."""
    packer = zlib.compressobj(wbits=31)
    begin = packer.compress(b"012345678") + packer.flush(zlib.Z_SYNC_FLUSH)
    packed = (begin, packer.compress(b"9") + packer.flush())
    first, second = packed if is_packed else (b"012345678", b"9")
    whole = framed(first + second, *(["Content-Encoding: gzip"] if is_packed else []))
    pieces = (whole[: -len(second) - len(first)], first, second)

    async def scenario() -> None:
        async with raw_server(says(*pieces)) as server, client() as http:
            for max_bytes, read in ((9, (b"012345678", True)), (10, (b"0123456789", False))):
                answer = await http.exchange(outgoing(server.url()))
                assert await answer.read(max_bytes) == read

    asyncio.run(scenario())


@pytest.mark.parametrize("max_bytes", [10, 1_000_000])
def test_much_that_was_packed_small_is_not_unpacked_beyond_what_is_wanted(max_bytes: int) -> None:
    async def scenario() -> None:
        reply = framed(gzip.compress(b"0" * 5_000_000), "Content-Encoding: gzip")
        async with raw_server(keeps_answering(reply)) as server, client(max_connections=1) as http:
            for _ in range(2):
                answer = await http.exchange(outgoing(server.url()))
                assert await answer.read(max_bytes) == (b"0" * max_bytes, True)

    asyncio.run(scenario())


@BOTH_WAYS
@pytest.mark.parametrize("phrase", ["Für nichts", "Grün", "\xff\xfe"])
def test_a_phrase_in_another_charset_can_be_written_everywhere(phrase: str, body: bytes) -> None:
    async def scenario() -> None:
        async with raw_server(whole_requests(framed(b"", status=f"200 {phrase}"))) as server, client() as http:
            answer = await http.exchange(outgoing(server.url(), "POST", body=body))
            assert not any("\ud800" <= sign <= "\udfff" for sign in answer.phrase)
            answer.close()

    asyncio.run(scenario())
