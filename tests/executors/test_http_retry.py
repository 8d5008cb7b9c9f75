"""Requests are sent once more only where that is safe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from agent.domain.json import Json, JsonObject
from agent.domain.outcome import Accepted, Failed, FailureKind, Outcome, Succeeded
from agent.domain.retry import Backoff
from agent.executors.http_retry import MAX_SERVER_WAIT_S, RetryRule, retry_label
from agent.net.errors import AddressRefusedError, CertificateError, NameNotFoundError
from agent.testing import FakeRun
from tests.executors.http_server import answer, executor, run_of, target
from tests.net.servers import OK, RawServer, Talk, answers, raw_server, until

NEVER_SENT = [httpx.ConnectError, httpx.ConnectTimeout, NameNotFoundError, httpx.ProxyError]
MAYBE_EXECUTED = [
    httpx.ReadError,
    httpx.ReadTimeout,
    httpx.WriteError,
    httpx.WriteTimeout,
    httpx.RemoteProtocolError,
]
HOPELESS = [AddressRefusedError, CertificateError, httpx.LocalProtocolError, httpx.UnsupportedProtocol]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"])
def test_the_whole_table_of_what_is_repeated(method: str) -> None:
    rule, unsafe = RetryRule(), RetryRule(unsafe=True)
    repeatable = method not in ("POST", "PATCH")
    for never in NEVER_SENT:
        assert rule.after_error(method, never("x"))
    for maybe in MAYBE_EXECUTED:
        assert rule.after_error(method, maybe("x")) is repeatable
        assert unsafe.after_error(method, maybe("x"))
    for hopeless in HOPELESS:
        assert not unsafe.after_error(method, hopeless("x"))
    for status in (429, 502, 503, 504):
        assert rule.after_status(method, status) is repeatable
        assert unsafe.after_status(method, status)
    for status in (200, 302, 400, 401, 404, 408, 422, 500, 501):
        assert not unsafe.after_status(method, status)
    assert RetryRule(statuses=frozenset({500}), unsafe=True).after_status(method, 500)
    assert not RetryRule(statuses=frozenset({500}), unsafe=True).after_status(method, 503)


@pytest.mark.parametrize(
    ("attempt", "asked_s", "left_s", "expected"),
    [
        (1, None, 100.0, 1.0),
        (2, None, 100.0, 2.0),
        (3, None, 100.0, None),  # the last one was the last
        (1, 5.0, 100.0, 5.0),
        (1, 0.1, 100.0, 1.0),
        (1, MAX_SERVER_WAIT_S, 1000.0, MAX_SERVER_WAIT_S),
        (1, MAX_SERVER_WAIT_S + 1, 1000.0, None),
        (1, 5.0, 4.0, None),  # the run would be over
        (1, None, 0.5, None),
        (1, None, -1.0, None),
    ],
)
def test_how_long_to_wait(attempt: int, asked_s: float | None, left_s: float, expected: float | None) -> None:
    rule = RetryRule(attempts=3, backoff=Backoff(first_s=1.0))
    assert rule.wait_s(attempt, asked_s, left_s, random01=0.0) == expected


def test_labels_for_metrics() -> None:
    assert retry_label(503) == "status_503"
    assert retry_label(httpx.ConnectTimeout("x")) == "connect"
    assert retry_label(httpx.ReadTimeout("x")) == "timeout"
    assert retry_label(httpx.ReadError("x")) == "broken"


async def execute(options: JsonObject, url: str, **parts: Any) -> tuple[Outcome, FakeRun]:
    async with executor({"mode": "sync", **options}) as http:
        run = run_of(url, **parts)
        return await http.execute(run), run


def test_a_busy_server_is_asked_again_with_the_same_key_and_a_fresh_signature() -> None:
    async def scenario() -> None:
        async with target(answer(503), answer(429), answer(200)) as server:
            outcome, run = await execute({"retry": 3}, server.url, method="PUT")
        assert outcome == Succeeded()
        assert run.retries == ["status_503", "status_429"]
        assert len(server.seen) == 3
        assert {seen.headers["idempotency-key"] for seen in server.seen} == {run.run_id}
        assert all("x-port-signature" in seen.headers for seen in server.seen)
        assert len({seen.body for seen in server.seen}) == 1
        assert "sending it again in 0.0 s (attempt 2 of 4)" in run.log_text

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("retry", "method", "requests"),
    [
        (None, "POST", 1),
        (None, "GET", 3),
        (5, "POST", 1),
        (0, "GET", 1),
        (1, "GET", 2),
        ({"attempts": 2}, "GET", 2),
        ({"attempts": 2, "unsafe": True}, "POST", 2),
        ({"unsafe": True}, "PATCH", 3),
        ({"statuses": [500]}, "GET", 1),
        ({"statuses": [503], "attempts": 4}, "GET", 4),
    ],
)
def test_how_often_a_refused_request_is_sent(retry: Json, method: str, requests: int) -> None:
    async def scenario() -> None:
        async with target(answer(503, "busy")) as server:
            options = {} if retry is None else {"retry": retry}
            outcome, run = await execute(options, server.url, method=method)
        assert isinstance(outcome, Failed)
        assert outcome.kind is FailureKind.HTTP_STATUS
        assert "busy" in outcome.reason
        assert (len(server.seen), len(run.retries)) == (requests, requests - 1)

    asyncio.run(scenario())


def test_a_post_that_was_never_sent_is_sent_again() -> None:
    async def scenario() -> None:
        async with raw_server(answers(OK)) as closed:
            url = closed.url()
        outcome, run = await execute({}, url)
        assert isinstance(outcome, Failed)
        assert run.retries == ["connect", "connect"]

    asyncio.run(scenario())


def breaks_first(times: int) -> Callable[[RawServer], Talk]:
    def for_server(seen: RawServer) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await seen.read_head(reader)
            if len(seen.heads) > times:
                writer.write(OK)
                await writer.drain()

        return talk

    return for_server


@pytest.mark.parametrize(("method", "requests"), [("POST", 1), ("PATCH", 1), ("GET", 3), ("DELETE", 3)])
def test_a_request_that_may_have_been_executed_is_repeated_only_if_its_method_allows(
    method: str, requests: int
) -> None:
    async def scenario() -> None:
        async with raw_server(breaks_first(2)) as server:
            outcome, run = await execute({"body": None}, server.url(), method=method)
        assert len(server.heads) == requests
        if requests == 1:
            assert isinstance(outcome, Failed)
            assert "may have been executed" in outcome.reason
        else:
            assert outcome == Succeeded()
            assert run.retries == ["broken", "broken"]

    asyncio.run(scenario())


@pytest.mark.parametrize("retry_after", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for(retry_after: str) -> None:
    async def scenario() -> None:
        async with target(answer(503, Retry_After=retry_after)) as server:
            outcome, run = await execute({}, server.url, method="GET")
        assert isinstance(outcome, Failed)
        assert run.retries == []

    asyncio.run(scenario())


def test_a_wait_that_the_server_asks_for_is_kept() -> None:
    async def scenario() -> None:
        async with target(answer(503, Retry_After="1"), answer(200)) as server:
            began_s = time.monotonic()
            outcome, _ = await execute({}, server.url, method="GET")
            assert outcome == Succeeded()
            assert time.monotonic() - began_s >= 1.0

    asyncio.run(scenario())


def test_no_wait_goes_beyond_the_runs_deadline() -> None:
    async def scenario() -> None:
        async with target(answer(503, Retry_After="30")) as server:
            outcome, run = await execute({}, server.url, method="GET", timeout_s=10.0)
        assert isinstance(outcome, Failed)
        assert run.retries == []

    asyncio.run(scenario())


def test_cancelling_between_two_attempts_ends_the_run() -> None:
    async def scenario() -> None:
        async with target(answer(503, Retry_After="60")) as server, executor({"mode": "async"}) as http:
            run = run_of(server.url, method="GET", timeout_s=3600.0)
            task = asyncio.create_task(http.execute(run))
            await until(lambda: bool(run.retries))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(server.seen) == 1

    asyncio.run(scenario())


def test_an_accepted_answer_after_a_retry_is_handed_over() -> None:
    async def scenario() -> None:
        async with target(answer(502), answer(202)) as server:
            outcome, _ = await execute({"mode": "async"}, server.url, method="DELETE")
        assert outcome == Accepted()

    asyncio.run(scenario())
