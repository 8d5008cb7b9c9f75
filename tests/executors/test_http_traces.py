"""Requests in the traces of their runs: what the target is told, and what is told of the request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from agent.domain.events import TargetRequested
from agent.domain.json import JsonObject
from agent.domain.retry import Backoff
from agent.executors.http import HttpExecutor, HttpFactory
from agent.testing import FakeRun, FakeTemplates, fake_services
from tests.executors.http_server import answer, invocation, serving, target
from tests.observability.helpers import Heard

TRACE, ABOVE = "a" * 32, "b" * 16
RECORDED, UNRECORDED = f"00-{TRACE}-{ABOVE}-01", f"00-{TRACE}-{ABOVE}-00"


@asynccontextmanager
async def _executor(options: JsonObject) -> AsyncIterator[tuple[HttpExecutor, Heard]]:
    heard = Heard()
    services = replace(fake_services(), observer=heard)
    factory = HttpFactory(services, backoff=Backoff(first_s=0.001))
    try:
        yield factory.prepare(options, "routes[0].http", FakeTemplates()), heard
    finally:
        await factory.close()


def _called(
    traceparent: str | None, options: JsonObject | None = None, statuses: tuple[int, ...] = (200,)
) -> tuple[list[str | None], list[TargetRequested], str]:
    """The header of each request that arrived, what was told, and the target's place."""

    async def scenario() -> tuple[list[str | None], list[TargetRequested], str]:
        async with target(*(answer(status) for status in statuses)) as server:
            async with _executor({"url": f"{server.url}/a/path?token=s3cret", **(options or {})}) as (http, heard):
                await http.execute(FakeRun(traceparent=traceparent))
            told = [event for event in heard.events if isinstance(event, TargetRequested)]
            return [seen.headers.get("traceparent") for seen in server.seen], told, server.url.partition("//")[2]

    return asyncio.run(scenario())


def test_each_request_has_a_place_of_its_own_below_the_execution() -> None:
    headers, told, place = _called(RECORDED, {"retry": {"attempts": 2, "unsafe": True}}, (503, 200))
    spans = [event.span for event in told]
    assert headers == [span.traceparent for span in spans]
    assert len({span.span_id for span in spans}) == 2
    assert {(span.trace_id, span.parent_id, span.sampled) for span in spans} == {(TRACE, ABOVE, True)}
    assert [(event.method, event.target, event.code) for event in told] == [
        ("POST", place, "503"),
        ("POST", place, "200"),
    ]
    assert all(event.duration_s > 0 for event in told)


def test_where_nothing_is_recorded_the_target_is_told_so_and_nobody_else_anything() -> None:
    assert _called(UNRECORDED)[:2] == ([UNRECORDED], [])


def test_without_traces_there_is_no_header() -> None:
    assert _called(None)[:2] == ([None], [])


def test_a_route_may_name_a_trace_itself() -> None:
    own = f"00-{'c' * 32}-{'d' * 16}-01"
    headers, told, _ = _called(RECORDED, {"headers": {"Traceparent": own}})
    assert headers == [own]
    assert [event.span.parent_id for event in told] == [ABOVE]


def test_a_request_without_an_answer_is_told_by_an_errors_word() -> None:
    async def scenario() -> list[Any]:
        async with target() as server:
            url = server.url
        async with _executor({"url": url}) as (http, heard):
            await http.execute(FakeRun(traceparent=RECORDED))
            return heard.events

    told = [event for event in asyncio.run(scenario()) if isinstance(event, TargetRequested)]
    assert told
    assert {event.code for event in told} == {"connect"}


def test_a_request_that_nobody_waits_for_any_more_is_told_as_cancelled() -> None:
    async def scenario() -> list[Any]:
        arrived, gate = asyncio.Event(), asyncio.Event()

        async def hold(_: web.Request) -> web.Response:
            arrived.set()
            await gate.wait()
            return web.Response()

        async with serving(hold) as url, _executor({"url": url}) as (http, heard):
            task = asyncio.create_task(http.execute(FakeRun(traceparent=RECORDED)))
            await asyncio.wait_for(arrived.wait(), 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
            return heard.events

    (told,) = (event for event in asyncio.run(scenario()) if isinstance(event, TargetRequested))
    assert (told.code, told.span.parent_id) == ("cancelled", ABOVE)


def test_the_action_of_a_message_may_name_a_trace_itself() -> None:
    own = f"00-{'c' * 32}-{'d' * 16}-01"

    async def scenario() -> list[str | None]:
        async with target() as server, _executor({}) as (http, _):
            message = invocation(server.url, headers={"traceparent": own})
            await http.execute(FakeRun(invocation=message, traceparent=RECORDED))
            return [seen.headers.get("traceparent") for seen in server.seen]

    assert asyncio.run(scenario()) == [own]
