"""Requests that get no answer, and how the connection is made."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from agent.domain.errors import ConfigurationError
from agent.domain.json import JsonObject
from agent.domain.outcome import Accepted, Failed, FailureKind, Succeeded
from agent.testing import FakeRun
from tests.executors.http_server import executor, run_of
from tests.net.servers import RawServer, Talk, keeps_answering, raw_server, server_tls, silent, until


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def failure(url: str, options: JsonObject | None = None, **settings: Any) -> tuple[Failed, FakeRun]:
    async def scenario() -> tuple[Failed, FakeRun]:
        async with executor({"retry": 0, **(options or {})}, **settings) as http:
            run = run_of(url)
            outcome = await http.execute(run)
            assert isinstance(outcome, Failed)
            return outcome, run

    return asyncio.run(scenario())


def test_a_refused_connection_says_where_and_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        port = taken.getsockname()[1]
        outcome, run = failure(f"http://u:secret@127.0.0.1:{port}/hook?token=secret")
    assert outcome == Failed(
        f"POST http://127.0.0.1:{port}/hook failed: cannot connect to 127.0.0.1:{port}: Connection refused "
        "(check that the service runs and that the agent's network may reach it)",
        FailureKind.CONNECTION,
    )
    assert "Connection refused" in run.log_text
    assert run.lines[0].level == "WARN"


def test_a_name_that_does_not_resolve_says_so() -> None:
    outcome, _ = failure("http://nosuch.invalid/")
    assert outcome.kind is FailureKind.CONNECTION
    assert "the name 'nosuch.invalid' does not resolve" in outcome.reason
    assert "DNS" in outcome.reason


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://0xa9fea9fe/", "http://[fe80::1]:8080/"])
def test_guarded_addresses_say_how_to_allow_them(url: str) -> None:
    outcome, _ = failure(url)
    assert outcome.kind is FailureKind.CONNECTION
    assert "link-local or cloud metadata address" in outcome.reason
    assert "allow_link_local: true" in outcome.reason


def test_guarded_addresses_can_be_allowed() -> None:
    for options, settings in (({"allow_link_local": True}, {}), ({}, {"http_allow_link_local": True})):
        outcome, _ = failure("http://[fe80::1]:8080/", options, **settings)
        assert "metadata" not in outcome.reason


@pytest.mark.parametrize("quoted", [True, False])
def test_what_a_target_said_is_quoted_unless_the_operator_does_not_want_it(*, quoted: bool) -> None:
    async def scenario() -> tuple[Failed, FakeRun]:
        reply = b"HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nthe answer"
        settings = {"http_quotes_answers": quoted}
        async with raw_server(keeps_answering(reply)) as server, executor({"retry": 0}, **settings) as http:
            run = run_of(server.url())
            outcome = await http.execute(run)
            assert isinstance(outcome, Failed)
            return outcome, run

    outcome, run = asyncio.run(scenario())
    assert "500" in outcome.reason
    assert ("the answer" in outcome.reason) == quoted
    assert "the answer" not in run.log_text


def test_silence_is_a_timeout_and_may_mean_that_it_was_done() -> None:
    async def scenario() -> None:
        async with raw_server(silent()) as server:
            async with executor({"timeout": "100ms"}) as http:
                outcome = await http.execute(run_of(server.url()))
            assert isinstance(outcome, Failed)
            assert outcome.kind is FailureKind.TIMED_OUT
            assert "may have been executed" in outcome.reason
            assert "more than 0.1 s" in outcome.reason
            assert server.connections == 1

    asyncio.run(scenario())


def drips(seen: RawServer) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await seen.read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.transport.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.01)

    return talk


def test_an_answer_in_drops_ends_too() -> None:
    async def scenario() -> None:
        async with raw_server(drips) as server:
            async with executor({"timeout": "200ms", "connect_timeout": "100ms"}) as http:
                outcome = await http.execute(run_of(server.url()))
            assert isinstance(outcome, Failed)
            assert "did not end its answer in time" in outcome.reason
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


def test_cancelling_closes_the_connection_and_says_that_the_other_side_may_go_on() -> None:
    async def scenario() -> None:
        async with raw_server(silent()) as server, executor() as http:
            run = run_of(server.url("/hook"))
            task = asyncio.create_task(http.execute(run))
            await until(lambda: server.open == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: server.open == 0)
            assert "may go on" in run.log_text

    asyncio.run(scenario())


def test_runs_at_once_share_connections_and_one_client() -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server, executor({"method": "GET"}) as http:
            for _ in range(3):
                outcomes = await asyncio.gather(*(http.execute(run_of(server.url())) for _ in range(20)))
                assert set(outcomes) == {Accepted()}
            assert server.connections <= 20

    asyncio.run(scenario())


def test_no_more_connections_than_runs() -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as server:
            async with executor({"method": "GET"}, max_concurrent_runs=2) as http:
                await asyncio.gather(*(http.execute(run_of(server.url())) for _ in range(20)))
            assert server.connections <= 2

    asyncio.run(scenario())


def test_tls_by_the_routes_or_the_agents_ca(authority: trustme.CA, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))

    async def scenario() -> None:
        async with raw_server(keeps_answering(), server_tls(authority)) as server:
            url = server.url(scheme="https")
            for options, settings in (
                ({"ca_file": str(ca)}, {}),
                ({}, {"http_ca_file": ca}),
                ({"verify_ssl": False}, {}),
                ({}, {"http_verify_ssl": False}),
            ):
                async with executor({**options, "mode": "sync"}, **settings) as http:
                    assert await http.execute(run_of(url)) == Succeeded()
            async with executor() as http:
                outcome = await http.execute(run_of(url))
                assert isinstance(outcome, Failed)
                assert "certificate" in outcome.reason
                assert "ca_file" in outcome.reason

    asyncio.run(scenario())


def test_certificate_files_are_read_before_any_run(tmp_path: Path) -> None:
    async def scenario() -> None:
        for option in ("ca_file", "client_cert"):
            with pytest.raises(ConfigurationError, match=r"missing\.pem") as caught:
                async with executor({option: str(tmp_path / "missing.pem")}):
                    pass
            assert caught.value.problems[0].path == f"routes[0].http.{option}"

    asyncio.run(scenario())


def test_the_proxy_of_the_environment_is_used() -> None:
    async def scenario() -> None:
        async with raw_server(keeps_answering()) as proxy:
            async with executor({"mode": "sync"}, environment={"HTTP_PROXY": proxy.url()}) as http:
                assert await http.execute(run_of("http://target.test/hook")) == Succeeded()
            assert proxy.heads[0].startswith(b"POST http://target.test/hook HTTP/1.1\r\n")

    asyncio.run(scenario())
