from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from agent.clock import SystemClock
from agent.domain.events import ApiRequested
from agent.domain.invocation import RunId
from agent.net.errors import UnreadableError
from agent.net.outgoing import Outgoing
from agent.runs_api import wire
from agent.runs_api.exchange import Exchange, NoReplyError, Reply
from tests.runs_api.rig import Facts

Answer = Callable[[Outgoing], httpx.Response]


class Told:
    """A client that answers as it is told."""

    own_headers = (("User-Agent", "test"),)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def exchange(self, request: Outgoing) -> Head:
        return Head(self._answer(request))


class Head:
    """The head of such an answer."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers = response.headers

    async def read(self, max_bytes: int | None = None) -> tuple[bytes, bool]:
        assert max_bytes is None
        return self._response.content, False


class Silent(Told):
    """A client whose server never answers."""

    def __init__(self) -> None:
        super().__init__(lambda _: httpx.Response(200))

    async def exchange(self, request: Outgoing) -> Head:
        await asyncio.sleep(60)
        return await super().exchange(request)


def once(answer: Answer, facts: Facts, request: wire.Request | None = None) -> Reply:
    async def run() -> Reply:
        exchange = Exchange(
            Told(answer), "https://port", facts, SystemClock(), attempt_timeout_s=1, connect_timeout_s=1
        )
        return await exchange.once(request or wire.organization(), "token")

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "word", "maybe_applied"),
    [
        (httpx.ConnectError("refused"), "connection", False),
        (httpx.ConnectTimeout(""), "timeout", False),
        (httpx.PoolTimeout(""), "timeout", False),
        (httpx.ReadTimeout(""), "timeout", True),
        (httpx.WriteError("broke"), "connection", True),
        (httpx.RemoteProtocolError("closed"), "connection", True),
        (UnreadableError("gzip"), "unreadable", True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_never_sent_is_told_from_maybe_applied(
    error: Exception,
    word: str,
    maybe_applied: bool,  # noqa: FBT001 - a table's column
) -> None:
    def fail(_: Outgoing) -> httpx.Response:
        raise error

    facts = Facts()
    with pytest.raises(NoReplyError) as caught:
        once(fail, facts)
    assert (caught.value.word, caught.value.maybe_applied) == (word, maybe_applied)
    assert [event.code for event in facts.of(ApiRequested)] == [word]
    assert str(caught.value)


def test_a_page_with_200_is_no_answer_of_port_and_one_with_404_is() -> None:
    page = "<html>Please log in</html>"
    with pytest.raises(NoReplyError, match="no JSON"):
        once(lambda _: httpx.Response(200, text=page), Facts())
    reply = once(lambda _: httpx.Response(404, text=page), Facts())
    assert (reply.ok, reply.message) == (False, page)


def test_an_answer_says_why_only_where_port_refuses() -> None:
    said = {"ok": True, "message": "well done"}
    done = once(lambda _: httpx.Response(299, json=said), Facts())
    refused = once(lambda _: httpx.Response(300, json=said), Facts())
    assert (done.message, done.body) == ("", said)
    assert (refused.message, refused.body) == ("well done", said)


def test_an_empty_answer_is_one() -> None:
    reply = once(lambda _: httpx.Response(204), Facts())
    assert reply.ok
    assert reply.server_epoch_s is None
    assert reply.at_epoch_s > 1_700_000_000


def test_what_is_sent_is_json_in_utf8_and_lone_surrogates_do_not_break_it() -> None:
    seen: list[Outgoing] = []

    def take(request: Outgoing) -> httpx.Response:
        seen.append(request)
        return httpx.Response(201, json={"ok": True})

    once(take, Facts(), wire.add_run_log(RunId("r/1"), "ü \ud800"))
    (request,) = seen
    assert request.body == '{"message":"ü \\ud800"}'.encode()
    headers = dict(request.headers)
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer token"
    assert str(request.url) == "https://port/v1/actions/runs/r%2F1/logs"


def test_each_header_is_sent_whoever_it_comes_from() -> None:
    seen: list[Outgoing] = []

    def take(request: Outgoing) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    request = wire.Request("POST", "/v1/x", "/v1/x", body={"a": 1}, headers={"X-Own": "1", "X-Other": "2"})
    once(take, Facts(), request)
    assert sorted(seen[0].headers) == [
        ("Authorization", "Bearer token"),
        ("Content-Type", "application/json"),
        ("User-Agent", "test"),
        ("X-Other", "2"),
        ("X-Own", "1"),
    ]
    assert seen[0].method == "POST"


@pytest.mark.parametrize(
    ("text", "sent"), [("a b", "a%20b"), ("a+b&c=d", "a%2Bb%26c%3Dd"), ("ü/#?", "%C3%BC%2F%23%3F"), ("%", "%25")]
)
def test_a_query_is_written_so_that_every_server_reads_the_same(text: str, sent: str) -> None:
    seen: list[Outgoing] = []

    def take(request: Outgoing) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    once(take, Facts(), wire.Request("GET", "/v1/x", "/v1/x", query={"q": text, "last": "1"}))
    assert seen[0].url.raw_path_qs == f"/v1/x?q={sent}&last=1"


def test_a_cancelled_request_is_told_too() -> None:
    facts = Facts()

    async def run() -> None:
        exchange = Exchange(
            Silent(), "https://port", facts, SystemClock(), attempt_timeout_s=1, connect_timeout_s=1
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(exchange.once(wire.organization(), None), 0.01)

    asyncio.run(run())
    assert [event.code for event in facts.of(ApiRequested)] == ["cancelled"]
