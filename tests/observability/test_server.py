"""The HTTP server over loopback: what it answers, and that no client can hold it up."""

from __future__ import annotations

import asyncio
import errno
import io
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest
import structlog

from agent.domain.errors import ConfigurationError
from agent.observability.logs import configure
from agent.observability.server import Answer, HttpServer, Page, probe
from agent.ports import Health
from tests.observability.helpers import metrics, samples

LIMIT_S = 15.0


def serving(pages: Mapping[str, Page], scenario: Callable[[int], Awaitable[None]], **bounds: float) -> None:
    """Runs ``scenario`` with the port of a server of ``pages``."""

    async def run() -> None:
        server = HttpServer(
            "127.0.0.1",
            0,
            pages,
            max_connections=int(bounds.get("max_connections", 64)),
            max_connection_s=bounds.get("max_connection_s", 10.0),
        )
        port = await server.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                await scenario(port)
        finally:
            await server.stop()

    asyncio.run(run())


@asynccontextmanager
async def answer_to(
    port: int, path: str, method: str = "GET", **headers: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", headers=headers) as response,
    ):
        yield response


def hello(_accept: str) -> Answer:
    return Answer(200, b"hello\n")


def test_metrics_come_in_the_form_that_is_asked_for() -> None:
    async def scenario(port: int) -> None:
        async with answer_to(port, "/metrics") as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert ("agent_ready", frozenset()) in samples(await response.read())
        async with answer_to(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0") as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
            assert (await response.text()).endswith("# EOF\n")

    serving({"/metrics": metrics().page}, scenario)


def test_a_probe_says_why() -> None:
    health = Health(ok=False, reason="waiting to join the consumer group")

    async def scenario(port: int) -> None:
        nonlocal health
        async with answer_to(port, "/readyz") as response:
            assert response.status == 503
            assert await response.text() == "waiting to join the consumer group\n"
        health = Health(ok=True)
        async with answer_to(port, "/readyz") as response:
            assert response.status == 200
            assert await response.text() == "ok\n"

    serving({"/readyz": probe(lambda: health)}, scenario)


def test_head_has_the_headers_of_get_and_no_body() -> None:
    async def scenario(port: int) -> None:
        async with answer_to(port, "/", "HEAD") as response:
            assert response.status == 200
            assert response.headers["Content-Length"] == "6"
            assert await response.read() == b""

    serving({"/": hello}, scenario)


@pytest.mark.parametrize("path", ["/nothing", "//", "/metrics/", "/../etc/passwd", "/%2e%2e/"])
def test_other_paths_are_not_found_and_told_what_there_is(path: str) -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert answer.endswith(b"nothing here; there is: / /metrics\n")

    serving({"/": hello, "/metrics": hello}, scenario)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_is_read_only(method: str) -> None:
    async def scenario(port: int) -> None:
        async with answer_to(port, "/", method) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "GET, HEAD"

    serving({"/": hello}, scenario)


def test_every_answer_has_the_headers_that_keep_browsers_safe() -> None:
    async def scenario(port: int) -> None:
        for path in ("/", "/nothing"):
            async with answer_to(port, path) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Cache-Control"] == "no-store"
                assert response.headers["Referrer-Policy"] == "no-referrer"
                assert "default-src 'none'" in response.headers["Content-Security-Policy"]
                assert "aiohttp" not in response.headers["Server"]
                assert response.headers["Connection"] == "close"

    serving({"/": hello}, scenario)


def test_a_page_that_fails_is_a_500_and_the_server_goes_on() -> None:
    log = io.StringIO()
    configure("json", "INFO", stream=log)

    def broken(_accept: str) -> Answer:
        raise ZeroDivisionError

    async def scenario(port: int) -> None:
        async with answer_to(port, "/broken") as response:
            assert response.status == 500
            assert "ZeroDivisionError" not in await response.text()
        async with answer_to(port, "/") as response:
            assert response.status == 200

    serving({"/": hello, "/broken": broken}, scenario)
    assert "ZeroDivisionError" in log.getvalue()


def test_requests_leave_no_lines_in_the_log() -> None:
    log = io.StringIO()
    configure("json", "DEBUG", stream=log)

    async def scenario(port: int) -> None:
        async with answer_to(port, "/") as response:
            assert response.status == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert b" 400 " in await reader.read()
        writer.close()

    serving({"/": hello}, scenario)
    assert log.getvalue() == ""


def test_a_client_that_sends_nothing_is_cut_off() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost")
        assert await _end_of(reader) == b""
        writer.close()

    serving({"/": hello}, scenario, max_connection_s=0.2)


def test_a_client_that_does_not_read_is_cut_off() -> None:
    body = b"x" * 50_000_000

    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        first = await reader.read(1)
        async with answer_to(port, "/live") as response:
            assert response.status == 200
        await _until_closed_elsewhere(writer)
        assert len(first + await _end_of(reader)) < len(body)
        writer.close()

    serving({"/": lambda _: Answer(200, body), "/live": hello}, scenario, max_connection_s=1.5)


def test_a_large_page_reaches_a_client_that_takes_its_time() -> None:
    body = b"x" * 5_000_000

    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await _end_of(reader)).endswith(b"\r\n\r\n" + body)
        writer.close()

    serving({"/": lambda _: Answer(200, body)}, scenario)


def test_a_client_that_leaves_without_a_request_leaves_nothing_behind() -> None:
    async def scenario(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write_eof()
        assert await _end_of(reader) == b""
        writer.close()

    serving({"/": hello}, scenario)


def test_a_crowd_of_idle_clients_does_not_keep_a_probe_out() -> None:
    async def scenario(port: int) -> None:
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
        async with answer_to(port, "/") as response:
            assert response.status == 200
        oldest, youngest = crowd[0], crowd[-1]
        assert await _end_of(oldest[0]) == b""
        youngest[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await youngest[0].read()).endswith(b"hello\n")
        for _, writer in crowd:
            writer.close()

    serving({"/": hello}, scenario, max_connections=8)


def test_a_port_that_is_taken_is_the_operators_to_mend() -> None:
    async def scenario(port: int) -> None:
        with pytest.raises(ConfigurationError, match=f"AGENT_HTTP_PORT: cannot listen on 127.0.0.1 port {port}"):
            await HttpServer("127.0.0.1", port, {}).start()

    serving({}, scenario)


def test_a_port_that_nobody_asked_for_gives_way_to_another_one() -> None:
    async def scenario(port: int) -> None:
        second = HttpServer("127.0.0.1", port, {"/": hello}, insists=False)
        with structlog.testing.capture_logs() as lines:
            another = await second.start()
        try:
            assert another != port
            assert [(line["port"], line["setting"]) for line in lines] == [(port, "AGENT_HTTP_PORT")]
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{another}/") as response:
                assert await response.text() == "hello\n"
        finally:
            await second.stop()

    serving({}, scenario)


def test_an_address_that_is_not_ours_is_the_operators_to_mend_whoever_chose_the_port() -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1"):
            await HttpServer("192.0.2.1", 8080, {}, insists=False).start()

    asyncio.run(scenario())


def everywhere(hosts: list[str]) -> None:
    """Serves on every address, and asks at these."""

    async def run() -> None:
        server = HttpServer("::", 0, {"/": hello})
        port = await server.start()
        try:
            for host in hosts:
                async with (
                    asyncio.timeout(LIMIT_S),
                    aiohttp.ClientSession() as session,
                    session.get(f"http://{host}:{port}/") as response,
                ):
                    assert await response.text() == "hello\n"
            with pytest.raises(ConfigurationError, match=f"cannot listen on :: port {port}: "):
                await HttpServer("::", port, {}).start()
        finally:
            await server.stop()

    asyncio.run(run())


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_on_every_address_both_families_are_answered() -> None:
    everywhere(["127.0.0.1", *(["[::1]"] if has_ipv6() else [])])


def test_a_machine_without_ipv6_is_served_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    everywhere(["127.0.0.1"])


def test_one_whose_ipv6_is_switched_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_address: object, **_options: object) -> socket.socket:
        raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refuse)
    everywhere(["127.0.0.1"])


def test_after_the_stop_nobody_listens_and_stopping_again_is_nothing() -> None:
    async def scenario() -> None:
        server = HttpServer("127.0.0.1", 0, {"/": hello})
        port = await server.start()
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(LIMIT_S):
            await server.stop()
            await server.stop()
            assert await _end_of(idle_reader) == b""
        idle_writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(scenario())


async def _end_of(reader: asyncio.StreamReader) -> bytes:
    """What still comes before the connection ends, however it ends."""
    received = b""
    try:
        while chunk := await reader.read(65_536):
            received += chunk
    except ConnectionResetError:
        return received
    return received


async def _until_closed_elsewhere(writer: asyncio.StreamWriter) -> None:
    """Waits until the other side has reset the connection; nothing is read in the meantime."""
    try:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)
    except ConnectionError:
        return
