"""What goes out: the bytes, the headers, the signature."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from agent.domain.errors import ConfigurationError, TemplateError
from agent.domain.json import Json, JsonObject
from agent.domain.outcome import Accepted, Failed, FailureKind, Succeeded
from agent.testing import FakeRun
from tests.executors.http_server import SECRET, Seen, executor, run_of, target


def sent(options: JsonObject | None = None, path: str = "/hook", **parts: Any) -> Seen:
    """What the target gets of one run."""

    async def scenario() -> Seen:
        async with target() as server:
            own = {} if options is None else options
            filled = {k: v.replace("TARGET", server.url) if isinstance(v, str) else v for k, v in own.items()}
            async with executor(filled) as http:
                outcome = await http.execute(run_of(server.url + path, **parts))
                assert isinstance(outcome, Succeeded | Accepted), outcome
            (seen,) = server.seen
            return seen

    return asyncio.run(scenario())


def failed(options: JsonObject, url: Json = "http://127.0.0.1:9/", **parts: Any) -> Failed:
    """The failure of a run that sends nothing."""

    async def scenario() -> Failed:
        async with executor(options) as http:
            outcome = await http.execute(run_of(url, **parts))
            assert isinstance(outcome, Failed)
            assert outcome.kind is FailureKind.NOT_STARTED
            return outcome

    return asyncio.run(scenario())


MESSAGE: Json = {
    "action": "grüße",
    "numbers": [1, 0.000001, 1e-7, 1e21, 2.5, 1.0, -0.0],
    "text": 'a "quoted" \u2028 \x7f line\n',
    "headers": {},
}


def test_without_options_the_message_goes_to_its_own_url() -> None:
    seen = sent(document=MESSAGE)
    assert (seen.method, seen.path) == ("POST", "/hook")
    assert seen.body.decode() == (
        '{"action":"grüße","numbers":[1,0.000001,1e-7,1e+21,2.5,1,0],'
        '"text":"a \\"quoted\\" \u2028 \x7f line\\n","headers":{}}'
    )
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["user-agent"].startswith("port-action-agent/")
    assert seen.headers["idempotency-key"] == "r_0000000000000001"


def test_the_signature_is_over_the_very_bytes_that_are_sent() -> None:
    seen = sent(document=MESSAGE)
    timestamp = seen.headers["x-port-timestamp"]
    digest = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + seen.body, hashlib.sha256).digest()
    assert seen.headers["x-port-signature"] == "v1," + base64.b64encode(digest).decode()
    assert timestamp.isdigit()


def test_signing_can_be_switched_off() -> None:
    assert not {"x-port-signature", "x-port-timestamp"} & sent({"sign": False}).headers.keys()


def test_a_signature_among_the_routes_headers_gives_way_to_the_real_one() -> None:
    seen = sent({"headers": {"x-port-signature": "v1,old", "X-Port-Timestamp": "1"}})
    assert seen.headers["x-port-timestamp"] != "1"
    assert seen.headers["x-port-signature"] != "v1,old"
    assert seen.names.count("x-port-signature") == seen.names.count("x-port-timestamp") == 1


def test_of_headers_that_differ_in_case_alone_the_last_one_is_sent() -> None:
    seen = sent({"headers": {"X-Team": "a", "x-team": "b"}})
    assert (seen.headers["x-team"], seen.names.count("x-team")) == ("b", 1)


def test_the_invocation_chooses_the_method() -> None:
    seen = sent(method="put", document={"a": 1})
    assert (seen.method, seen.body) == ("PUT", b'{"a":1}')
    assert sent(method="GET", document={"a": 1}).body == b'{"a":1}'


def test_a_route_that_says_get_sends_no_body_unless_it_has_one() -> None:
    assert sent({"method": "GET"}).body == b""
    assert sent({"method": "GET", "body": {"q": 1}}).body == b'{"q":1}'
    assert sent({"body": None}).body == b""


def test_everything_can_be_a_template() -> None:
    seen = sent(
        {
            "method": "{{ .inputs.verb }}",
            "url": "TARGET/{{ .inputs.name }}?fixed=1#part",
            "headers": {"X-Name": "{{ .inputs.name }}", "X-Count": 3, "X-Yes": True, "X-None": None},
            "query": {"q": "{{ .inputs.name }}", "list": [1, "b c", None], "none": None, "flag": True},
            "body": {"name": "{{ .inputs.name }}", "n": "{{ .inputs.n }}"},
        },
        inputs={"verb": "patch", "name": "grün&co", "n": 1.0},
    )
    assert seen.method == "PATCH"
    assert seen.path == "/gr%C3%BCn%26co?fixed=1&q=gr%C3%BCn%26co&list=1&list=b+c&flag=true"
    assert seen.headers["x-name"].encode("utf-8", "surrogateescape") == "grün&co".encode()
    assert (seen.headers["x-count"], seen.headers["x-yes"]) == ("3", "true")
    assert "x-none" not in seen.headers
    assert seen.body.decode() == '{"name":"grün&co","n":1}'


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/plain", "plain ü", "plain ü".encode()),
        ("application/x-www-form-urlencoded", {"a": "b c", "n": [1, 2]}, b"a=b+c&n=1&n=2"),
        ("application/x-www-form-urlencoded; charset=utf-8", "a=b", b"a=b"),
        ("application/vnd.api+json", "text", b'"text"'),
        ("application/json", ["ü"], '["ü"]'.encode()),
    ],
)
def test_the_content_type_decides_how_the_body_is_written(content_type: str, body: Json, expected: bytes) -> None:
    seen = sent({"headers": {"content-type": content_type}, "body": body})
    assert (seen.body, seen.headers["content-type"]) == (expected, content_type)


def test_the_actions_own_headers_go_to_the_actions_own_url_only() -> None:
    own: dict[str, Any] = {"headers": {"Authorization": "Bearer from-port", "RUN_ID": "r_1"}}
    assert sent(**own).headers["authorization"] == "Bearer from-port"
    assert "authorization" not in sent({"url": "TARGET/elsewhere"}, **own).headers
    assert "authorization" not in sent({"headers": {}}, **own).headers
    in_message = {"headers": {"X-From": "the message"}}
    assert sent(document=in_message).headers["x-from"] == "the message"


def test_the_idempotency_key_is_the_routes_to_choose() -> None:
    assert "idempotency-key" not in sent({"idempotency_key": False}).headers
    seen = sent({"idempotency_key": "order-{{ .inputs.n }}"}, inputs={"n": 7})
    assert seen.headers["idempotency-key"] == "order-7"
    assert sent({"headers": {"idempotency-key": "mine"}}).headers["idempotency-key"] == "mine"


def test_credentials_in_the_url_become_a_header_and_are_never_shown() -> None:
    async def scenario() -> tuple[Seen, FakeRun]:
        async with target() as server, executor() as http:
            run = run_of(server.url.replace("://", "://ada:p%40ss-w0rd@") + "/x?token=t0ken-secret")
            await http.execute(run)
            return server.seen[0], run

    seen, run = asyncio.run(scenario())
    assert seen.headers["authorization"] == "Basic " + base64.b64encode(b"ada:p@ss-w0rd").decode()
    assert seen.path == "/x?token=t0ken-secret"
    assert "secret" not in run.log_text
    assert "p@ss" not in run.log_text
    assert run.masked("the server says p@ss-w0rd") != "the server says p@ss-w0rd"


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade"])
def test_headers_of_the_connection_are_refused_before_any_run(name: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ConfigurationError, match=name) as caught:
            async with executor({"headers": {name: "x", "bad name": "y"}}):
                pass
        assert [p.path for p in caught.value.problems] == [
            f"routes[0].http.headers.{name}",
            "routes[0].http.headers.bad name",
        ]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "parts", "said"),
    [
        ({}, {"url": None}, "the message names no url to call, and the route sets none"),
        ({}, {"url": ""}, "the message names no url"),
        ({}, {"url": 7}, "the message names no url"),
        ({"url": "{{ .inputs.missing }}"}, {}, "the route's url came out as 'null'"),
        ({}, {"url": "ftp://example.com/"}, "must begin with http:// or https://"),
        ({}, {"url": "example.com/hook"}, "must begin with http:// or https://"),
        ({}, {"url": "http://"}, "must begin with http:// or https:// and name a host"),
        ({}, {"url": "http://[::1/"}, "the url cannot be read"),
        ({}, {"url": "http://u:secret@h:port/"}, "the url cannot be read"),
        ({}, {"url": "http://h/\r\nX-Evil: 1"}, "the url cannot be read"),
        ({"method": "{{ .inputs.missing }}"}, {}, "'null' is no method"),
        ({}, {"method": "GET / HTTP/1.1\r\nX-Evil: 1"}, "is no method"),
        ({}, {"method": "CONNECT"}, "'CONNECT' is no method"),
        (
            {"headers": {"X-A": "{{ .inputs.a }}"}},
            {"inputs": {"a": "b\r\nX-Evil: 1"}},
            "header X-A has a line break",
        ),
        ({}, {"headers": {"X-A": "b\nX-Evil: 1"}}, "header X-A has a line break"),
        ({"headers": {"X-A": "{{ .inputs.a }}"}}, {"inputs": {"a": "\ud800"}}, "X-A cannot be written in UTF-8"),
        ({}, {"headers": {"X A": "b"}}, "'X A' is not a header name"),
        ({}, {"headers": {"Content-Length": "5"}}, "header Content-Length cannot be set"),
        ({"headers": "{{ .inputs.a }}"}, {"inputs": {"a": 1}}, "the route's headers came out as '1'"),
        ({"query": "{{ .inputs.a }}"}, {"inputs": {"a": "x"}}, "the route's query came out as 'x'"),
        ({"idempotency_key": "{{ .inputs.a }}"}, {"inputs": {"a": "x\ny"}}, "header Idempotency-Key has a line"),
    ],
)
def test_what_is_no_request_fails_the_run_with_a_clear_reason(
    options: JsonObject, parts: dict[str, Any], said: str
) -> None:
    outcome = failed(options, **parts)
    assert said in outcome.reason
    assert "secret" not in outcome.reason
    assert "\n" not in outcome.reason


@pytest.mark.parametrize("name", ["url", "method", "headers", "query"])
def test_a_long_value_that_makes_no_request_is_not_shown_in_part(name: str) -> None:
    value: Json = ["s3cr3t-" * 20] if name == "url" else "s3cr3t-" * 20
    outcome = failed({name: "{{ .inputs.a }}"}, inputs={"a": value})
    assert "s3cr3t" not in outcome.reason
    assert "characters" in outcome.reason


def test_a_failing_expression_is_told_apart() -> None:
    async def scenario() -> None:
        async with executor({"url": "http://h/{{ .inputs.name.deeper }}"}) as http:
            outcome = await http.execute(run_of(inputs={"name": "text"}))
            assert isinstance(outcome, Failed)
            assert outcome.kind is FailureKind.BAD_TEMPLATE

    asyncio.run(scenario())


def test_the_preview_shows_the_request_and_sends_nothing() -> None:
    async def scenario() -> None:
        async with executor({"query": {"q": 1}, "headers": {"X-A": "b"}}) as http:
            run = run_of("http://127.0.0.1:9/hook", document={"a": 1})
            assert await http.preview(run.view) == {
                "method": "POST",
                "url": "http://127.0.0.1:9/hook",
                "headers": {"X-A": "b", "Idempotency-Key": run.run_id, "Content-Type": "application/json"},
                "query": {"q": 1},
                "body": {"a": 1},
            }
            json.dumps(await http.preview(run.view))

    asyncio.run(scenario())


def test_the_preview_of_what_is_no_request_says_why() -> None:
    async def scenario() -> None:
        async with executor() as http:
            with pytest.raises(TemplateError, match="names no url"):
                await http.preview(run_of(None).view)

    asyncio.run(scenario())
