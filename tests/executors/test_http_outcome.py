"""What becomes of the answer: outcomes, reasons, the exchange for report templates."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from yarl import URL

from agent.domain.json import JsonObject
from agent.domain.outcome import Accepted, Failed, FailureKind, Outcome, Succeeded
from agent.executors.http_redirect import MAX_REDIRECTS, is_downgrade
from agent.net.outgoing import Outgoing, Timeouts
from agent.testing import FakeRun
from tests.executors.http_server import answer, executor, run_of, target
from tests.net.servers import keeps_answering, raw_server, until


def outcome_of(
    status: int, body: str | bytes = "", options: JsonObject | None = None, **parts: Any
) -> tuple[Outcome, FakeRun]:
    headers, secret = parts.pop("answer_headers", {}), parts.pop("secret", "")

    async def scenario() -> tuple[Outcome, FakeRun]:
        async with target(answer(status, body, **headers)) as server, executor(options) as http:
            run = run_of(server.url + "/hook?token=secret", **parts)
            run.mask(secret)
            return await http.execute(run), run

    return asyncio.run(scenario())


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_synchronous_messages_succeed_with_a_2xx_and_others_are_handed_over(status: int) -> None:
    assert outcome_of(status, synchronized=True)[0] == Succeeded()
    assert outcome_of(status, synchronized=False)[0] == Accepted()
    assert outcome_of(status)[0] == Accepted()


def test_the_route_decides_who_ends_the_run() -> None:
    assert outcome_of(200, options={"mode": "sync"})[0] == Succeeded()
    assert outcome_of(200, options={"mode": "async"}, synchronized=True)[0] == Accepted()
    assert outcome_of(200, options={"mode": "message"}, synchronized=True)[0] == Succeeded()

    async def scenario() -> None:
        async with target() as server, executor({"url": server.url}) as own:
            assert await own.execute(run_of("http://ignored.test/")) == Succeeded()
        async with target() as server, executor({"url": server.url, "mode": "async"}) as own:
            assert await own.execute(run_of()) == Accepted()
        async with target() as server, executor({"url": server.url, "mode": "message"}) as own:
            assert await own.execute(run_of()) == Accepted()

    asyncio.run(scenario())


def test_the_runs_log_hears_of_expressions_that_were_forgiven() -> None:
    async def scenario() -> None:
        async with target() as server, executor() as http:
            run = run_of(server.url)
            run.view.notes.append("[0].body.it: null is sent instead")
            await http.execute(run)
            assert (run.lines[0].text, run.lines[0].level) == ("[0].body.it: null is sent instead", "WARN")

    asyncio.run(scenario())


@pytest.mark.parametrize("synchronized", [True, False])
def test_another_status_fails_the_run_with_an_excerpt(synchronized: bool) -> None:  # noqa: FBT001  # a case
    outcome, run = outcome_of(422, "  name\tis\n\ntaken\x00" + "x" * 1000, synchronized=synchronized)
    assert isinstance(outcome, Failed)
    assert outcome.kind is FailureKind.HTTP_STATUS
    assert "/hook answered 422 Unprocessable Entity: name is taken xxx" in outcome.reason
    assert len(outcome.reason) < 450
    assert "secret" not in outcome.reason + run.log_text
    assert len(run.lines) == 1
    assert "422 Unprocessable Entity (" in run.log_text


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/elsewhere?token=secret", "/elsewhere;"),
        ("https://u:secret@other.test/x", "https://other.test/x;"),
        ("", "302 Found;"),
    ],
)
def test_redirects_are_not_followed_and_say_where_to(location: str, shown: str) -> None:
    outcome, _ = outcome_of(302, answer_headers={"Location": location})
    assert isinstance(outcome, Failed)
    assert "redirects are not followed" in outcome.reason
    assert shown in outcome.reason
    assert "secret" not in outcome.reason


def test_the_exchange_is_there_for_report_templates() -> None:
    headers = {"Content_Type": "application/json", "X_Custom": "a"}
    _, run = outcome_of(201, '{"id": 7, "url": "https://x/ü"}', document={"a": 1}, answer_headers=headers)
    ((request, response),) = run.exchanges
    assert (request["method"], request["body"], request["query"]) == ("POST", {"a": 1}, {})
    assert response["json"] == {"id": 7, "url": "https://x/ü"}
    assert response["statusCode"] == 201
    assert response["text"] == '{"id": 7, "url": "https://x/ü"}'
    assert response["truncated"] is False
    given = response["headers"]
    assert isinstance(given, dict)
    assert (given["X-Custom"], given["Content-Type"]) == ("a", "application/json")


@pytest.mark.parametrize("body", ["plain", "", "NaN", '{"a": Infinity}', "[" * 5000])
def test_answers_that_are_no_json(body: str) -> None:
    _, run = outcome_of(200, body)
    assert run.exchanges[0][1]["json"] is None
    assert run.exchanges[0][1]["text"] == body


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=latin-1", "ü".encode("latin-1"), "ü"),
        ("text/plain; charset=nonsense", "ü".encode(), "ü"),
        ("text/plain; charset=base64", "ü".encode(), "ü"),
        ("text/plain", b"\xff", "\ufffd"),
    ],
)
def test_every_charset_can_be_read_somehow(content_type: str, body: bytes, text: str) -> None:
    _, run = outcome_of(200, body, answer_headers={"Content_Type": content_type})
    assert run.exchanges[0][1]["text"] == text


def test_a_large_answer_is_cut_and_says_so() -> None:
    outcome, run = outcome_of(200, '{"a": "' + "x" * 1000 + '"}', {"max_response_bytes": 100, "mode": "sync"})
    response = run.exchanges[0][1]
    assert outcome == Succeeded()
    assert (response["truncated"], response["json"]) == (True, None)
    assert len(str(response["text"])) == 100
    assert "cut after 100 bytes" in run.log_text


def test_an_answer_just_as_large_as_allowed_is_whole() -> None:
    _, run = outcome_of(200, '"' + "x" * 98 + '"', {"max_response_bytes": 100})
    assert run.exchanges[0][1]["truncated"] is False


def test_a_wrong_content_encoding_is_a_broken_answer() -> None:
    outcome, _ = outcome_of(200, "not gzip", answer_headers={"Content_Encoding": "gzip"})
    assert isinstance(outcome, Failed)
    assert "not in the encoding that it claims" in outcome.reason


LONG_SECRET = "s3cr3t-of-many-letters-0123456789"


@pytest.mark.parametrize("before", range(300 - len(LONG_SECRET), 301, 8))
def test_a_secret_across_the_end_of_the_excerpt_is_masked_whole(before: int) -> None:
    outcome, run = outcome_of(500, "x" * before + LONG_SECRET + "y" * 100, secret=LONG_SECRET)
    assert isinstance(outcome, Failed)
    assert LONG_SECRET[:6] not in run.masked(outcome.reason)


def test_a_secret_across_the_end_of_what_an_excerpt_is_made_of_is_masked_whole() -> None:
    outcome, run = outcome_of(500, " " * 1190 + LONG_SECRET, secret=LONG_SECRET)
    assert isinstance(outcome, Failed)
    assert LONG_SECRET[:6] not in run.masked(outcome.reason)


@pytest.mark.parametrize("status", [200, 500])
def test_a_secret_across_the_end_of_a_cut_answer_is_left_out(status: int) -> None:
    limit: JsonObject = {"max_response_bytes": 100}
    outcome, run = outcome_of(status, "x" * 80 + LONG_SECRET, limit, secret=LONG_SECRET)
    response = run.exchanges[0][1]
    assert response["text"] == "x" * 80
    assert LONG_SECRET[:6] not in run.masked(outcome.reason if isinstance(outcome, Failed) else "")


@pytest.mark.parametrize("charset", ["utf-8", "utf-16-le"])
def test_a_secret_that_is_cut_within_a_character_is_left_out(charset: str) -> None:
    secret = "schlüsselwörter-😀-geheim"
    body = ("x" * 20 + secret).encode(charset)
    for limit in range(len(body) - len(secret.encode(charset)) + 1, len(body)):
        _, run = outcome_of(
            200,
            body,
            {"max_response_bytes": limit},
            secret=secret,
            answer_headers={"Content_Type": f"text/plain; charset={charset}"},
        )
        assert run.exchanges[0][1]["text"] == "x" * 20, limit


@pytest.mark.parametrize(
    ("status", "method", "onward"),
    [
        (301, "POST", ("GET", b"")),
        (302, "POST", ("GET", b"")),
        (303, "PUT", ("GET", b"")),
        (307, "POST", ("POST", b'{"a":1}')),
        (308, "PATCH", ("PATCH", b'{"a":1}')),
    ],
)
def test_a_route_may_have_redirects_followed(status: int, method: str, onward: tuple[str, bytes]) -> None:
    async def scenario() -> None:
        options: JsonObject = {"follow_redirects": True, "method": method, "body": {"a": 1}}
        answers = (answer(status, Location="/there?token=secret"), answer(200, '{"made": 1}'))
        async with target(*answers) as server, executor(options) as http:
            run = run_of(server.url + "/here")
            assert await http.execute(run) == Accepted()
            assert [(seen.method, seen.body) for seen in server.seen] == [(method, b'{"a":1}'), onward]
            assert server.seen[1].path == "/there?token=secret"
            assert run.lines[0].text == f"{status}: redirected to {onward[0]} {server.url}/there"
            assert run.exchanges[0][1]["json"] == {"made": 1}

    asyncio.run(scenario())


def test_redirects_in_a_circle_end_and_fail_the_run() -> None:
    async def scenario() -> None:
        async with target(answer(302, Location="/again")) as server:
            async with executor({"follow_redirects": True}) as http:
                outcome = await http.execute(run_of(server.url))
            assert isinstance(outcome, Failed)
            assert "302 Found after 30 redirects; no more are followed" in outcome.reason
            assert len(server.seen) == 1 + MAX_REDIRECTS

    asyncio.run(scenario())


def test_a_request_that_was_redirected_to_nobody_is_not_sent_again() -> None:
    async def scenario() -> None:
        async with target(answer(307, Location="http://127.0.0.1:9/")) as server:
            async with executor({"follow_redirects": True}) as http:
                outcome = await http.execute(run_of(server.url))
            assert isinstance(outcome, Failed)
            assert "redirected to POST http://127.0.0.1:9/, which failed" in outcome.reason
            assert "may have been executed" in outcome.reason
            assert len(server.seen) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [300, 304])
def test_what_follows_redirects_takes_one_that_leads_nowhere_for_a_success(status: int) -> None:
    assert outcome_of(status, options={"follow_redirects": True})[0] == Accepted()
    assert isinstance(outcome_of(status)[0], Failed)


def test_credentials_do_not_go_where_a_redirect_leads() -> None:
    async def scenario() -> None:
        headers: JsonObject = {name: f"{name}-s3cret" for name in ("Authorization", "X-Vault-Token", "DD-API-Key")}
        options: JsonObject = {"follow_redirects": True, "headers": {**headers, "X-Dedup-Key": "1", "Cookie": "c"}}
        async with (
            target() as other,
            target(answer(307, Location=f"{other.url}/there")) as server,
            executor(options) as http,
        ):
            assert await http.execute(run_of(server.url)) == Accepted()
        assert {name.lower() for name in headers} <= set(server.seen[0].names)
        assert not {*map(str.lower, headers), "cookie"} & set(other.seen[0].names)
        assert other.seen[0].headers["x-dedup-key"] == "1"
        assert other.seen[0].body == server.seen[0].body
        for name in ("x-port-signature", "x-port-timestamp", "idempotency-key", "content-type"):
            assert other.seen[0].headers.get(name) == server.seen[0].headers.get(name)

    asyncio.run(scenario())


def test_credentials_go_on_to_another_path_of_their_server() -> None:
    async def scenario() -> None:
        options: JsonObject = {"follow_redirects": True, "headers": {"X-Vault-Token": "s3cret"}}
        async with target(answer(307, Location="/there"), answer()) as server, executor(options) as http:
            await http.execute(run_of(server.url))
            assert [seen.headers["x-vault-token"] for seen in server.seen] == ["s3cret"] * 2

    asyncio.run(scenario())


def test_what_loses_its_body_on_the_way_is_not_signed_for_it() -> None:
    async def scenario() -> None:
        options: JsonObject = {"follow_redirects": True}
        async with target(answer(303, Location="/there"), answer()) as server, executor(options) as http:
            await http.execute(run_of(server.url))
            assert "x-port-signature" in server.seen[0].names
            assert not {"x-port-signature", "x-port-timestamp", "content-type"} & set(server.seen[1].names)

    asyncio.run(scenario())


def test_a_redirect_to_a_metadata_service_is_refused_and_not_tried_again() -> None:
    outcome, run = outcome_of(
        307,
        options={"follow_redirects": True, "method": "PUT"},
        answer_headers={"Location": "http://169.254.169.254/latest/meta-data"},
    )
    assert isinstance(outcome, Failed)
    assert "169.254.169.254 is a link-local" in outcome.reason
    assert "sending it again" not in run.log_text


@pytest.mark.parametrize("location", ["http:x@", "http://xn--/<ü"])
@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("status", [302, 300])
def test_a_location_that_is_no_url_is_an_answer_like_any_other(location: str, follows: bool, status: int) -> None:  # noqa: FBT001
    outcome, _ = outcome_of(status, options={"follow_redirects": follows}, answer_headers={"Location": location})
    if status == 300 and follows:
        assert outcome == Accepted()
    else:
        assert isinstance(outcome, Failed)
        assert outcome.kind is (FailureKind.CONNECTION if status == 302 and follows else FailureKind.HTTP_STATUS)


def test_an_answer_that_points_to_no_url_is_closed() -> None:
    reply = b"HTTP/1.1 302 Found\r\nLocation: http://xn--/<\r\nContent-Length: 100\r\n\r\nnot all of it"

    async def scenario() -> None:
        async with raw_server(keeps_answering(reply)) as server, executor({"follow_redirects": True}) as http:
            assert isinstance(await http.execute(run_of(server.url())), Failed)
            await until(lambda: server.open == 0)

    asyncio.run(scenario())


def test_what_names_a_place_and_asks_for_no_request_is_a_success_all_the_same() -> None:
    for status in (300, 304):
        options: JsonObject = {"follow_redirects": True}
        assert outcome_of(status, options=options, answer_headers={"Location": "/x"})[0] == Accepted()


def test_a_redirect_to_what_is_not_encrypted_is_followed_and_told() -> None:
    secure, plain = (
        Outgoing("POST", URL(f"{scheme}://here.test/"), (), None, Timeouts(None, None, None))
        for scheme in ("https", "http")
    )
    assert is_downgrade(secure, plain)
    assert not is_downgrade(secure, secure)
    assert not is_downgrade(plain, secure)


def test_what_was_taken_from_the_environment_is_masked_before_anything_is_said() -> None:
    async def scenario() -> None:
        async with executor({"headers": "{{ value }}"}) as http:
            run = run_of("http://unused.test/")
            run.view.secrets.append("taken-secret")
            run.view.notes.append("taken-secret: null is sent instead")
            outcome = await http.execute(run)
            assert isinstance(outcome, Failed)
            assert "taken-secret" not in run.log_text

    asyncio.run(scenario())
