"""The way to Port's API: token, retries, budget, deadline."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from agent.domain.events import ApiRequested, ApiRetried, RateBudget, TokenRefreshed
from agent.domain.invocation import RunId
from agent.domain.json import Json
from agent.domain.outcome import RunStatus
from agent.domain.route import EntityVerb
from agent.domain.settlement import Refused, Undelivered
from agent.ports import EntityChange
from agent.runs_api import wire
from agent.runs_api.auth import TokenUnavailableError
from agent.runs_api.client import Identity, NotProvisioned
from agent.runs_api.connection import Deadline, Unanswered
from agent.runs_api.exchange import Reply
from agent.sandbox.port_api import Credentials, Effect, Fault, RateLimit
from tests.runs_api.rig import HASTY, QUICK, Rig, until, with_rig

TOKEN = "/v1/auth/access_token"


async def _close_run(rig: Rig, run_id: str) -> Reply | Unanswered:
    return await rig.client.send(wire.patch_run(RunId(run_id), status=RunStatus.SUCCESS))


def _ok(answer: Reply | Unanswered) -> Reply:
    assert isinstance(answer, Reply)
    assert answer.ok, answer
    return answer


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_the_base_url_may_end_with_a_slash_or_with_v1(ending: str) -> None:
    async def scenario(rig: Rig) -> None:
        assert isinstance(await rig.client.organization(), Identity)

    with_rig(scenario, base=lambda url: url + ending)


# ── the token ────────────────────────────────────────────────────────────────────────────────────────


def test_a_hundred_requests_at_once_ask_for_one_token() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path=TOKEN, effect=Effect.DELAY, delay_s=0.1))
        answers = await asyncio.gather(*(rig.client.organization() for _ in range(100)))
        assert all(isinstance(answer, Identity) for answer in answers)
        assert len(rig.api.ledger.requests_to(TOKEN)) == 1
        assert rig.facts.of(TokenRefreshed) == [TokenRefreshed("ok")]

    with_rig(scenario, limits=replace(QUICK, attempt_timeout_s=30))


def test_401_in_the_middle_of_everything_is_met_by_one_new_token() -> None:
    async def scenario(rig: Rig) -> None:
        assert isinstance(await rig.client.organization(), Identity)
        rig.api.credentials.expire_tokens()
        answers = await asyncio.gather(*(rig.client.organization() for _ in range(100)))
        assert all(isinstance(answer, Identity) for answer in answers)
        assert len(rig.api.ledger.requests_to(TOKEN)) == 2
        said = "HTTP 401: The access token is missing, unknown or expired"
        told = ApiRetried("/v1/organization", "token", f"GET {rig.api.url}/v1/organization: {said}")
        assert set(rig.facts.of(ApiRetried)) == {told}

    with_rig(scenario, limits=replace(QUICK, attempt_timeout_s=30))


def test_the_token_is_renewed_before_it_ends() -> None:
    async def scenario(rig: Rig) -> None:
        for ahead_s, tokens in ((0, 1), (3600 - 70, 1), (3600 - 50, 2), (3600 - 40, 2)):
            rig.clock.ahead_s = ahead_s
            assert isinstance(await rig.client.organization(), Identity)
            assert len(rig.api.ledger.requests_to(TOKEN)) == tokens
        assert not [r for r in rig.api.ledger.requests if r.status == 401]

    with_rig(scenario, credentials=Credentials(token_lifetime_s=3600))


def test_while_no_new_token_is_to_be_had_the_old_one_serves_as_long_as_it_lasts() -> None:
    async def scenario(rig: Rig) -> None:
        assert isinstance(await rig.client.organization(), Identity)
        rig.faults(Fault(path=TOKEN, status=503, times=None))
        rig.clock.ahead_s = 3600 - 30
        assert isinstance(await rig.client.organization(), Identity)
        rig.clock.ahead_s = 3600 + 30
        assert isinstance(await rig.client.organization(timeout_s=0.2), Undelivered)

    with_rig(scenario, credentials=Credentials(token_lifetime_s=3600))


def test_cancelling_the_one_who_asked_first_does_not_hurt_the_others() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path=TOKEN, effect=Effect.DELAY, delay_s=0.1))
        first = asyncio.create_task(rig.client.organization())
        second = asyncio.create_task(rig.client.organization())
        await until(lambda: bool(rig.bodies(TOKEN)))
        first.cancel()
        assert isinstance(await second, Identity)
        with pytest.raises(asyncio.CancelledError):
            await first
        assert len(rig.api.ledger.requests_to(TOKEN)) == 1

    with_rig(scenario)


def test_closing_while_a_token_is_fetched_ends_those_who_wait_and_cancels_nobody() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path=TOKEN, effect=Effect.HANG, times=None))
        waiting = [asyncio.create_task(rig.client.organization()) for _ in range(3)]
        await until(lambda: bool(rig.bodies(TOKEN)))
        await rig.client.close()
        assert await asyncio.gather(*waiting) == [Undelivered("no answer in time")] * 3
        assert len(rig.api.ledger.requests_to(TOKEN)) == 1

    with_rig(scenario, limits=replace(QUICK, attempt_timeout_s=30))


def test_tokens_that_are_closed_tell_those_who_wait_that_there_is_none() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path=TOKEN, effect=Effect.HANG, times=None))
        tokens = rig.client._tokens
        waiting = asyncio.create_task(tokens.get())
        await until(lambda: bool(rig.bodies(TOKEN)))
        await tokens.close()
        with pytest.raises(TokenUnavailableError, match="no access token"):
            await waiting

    with_rig(scenario, limits=replace(QUICK, attempt_timeout_s=30))


def test_a_defect_in_fetching_a_token_comes_out() -> None:
    async def scenario(rig: Rig) -> None:
        rig.client._tokens._client_secret = lambda: str(1 // 0)
        with pytest.raises(ZeroDivisionError):
            await rig.client.organization()

    with_rig(scenario)


def test_a_failing_token_route_is_not_stormed_by_those_who_wait() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path=TOKEN, status=503, times=3))
        answers = await asyncio.gather(*(rig.client.organization() for _ in range(50)))
        assert all(isinstance(answer, Identity) for answer in answers)
        assert len(rig.api.ledger.requests_to(TOKEN)) == 4
        detail = f"POST {rig.api.url}{TOKEN}: HTTP 503: scripted 503"
        assert rig.facts.of(TokenRefreshed) == [TokenRefreshed("error", detail)] * 3 + [TokenRefreshed("ok")]

    with_rig(scenario)


def test_wrong_credentials_are_an_answer_to_look_ups_and_a_rotated_secret_ends_the_trouble_of_reports() -> None:
    async def scenario(rig: Rig) -> None:
        right, rig.api.credentials.client_secret = rig.api.client_secret, "another"
        secrets = iter(["wrong", "wrong"])
        rig.client._tokens._client_secret = lambda: next(secrets, "another")
        refused = await rig.client.organization()
        assert isinstance(refused, Refused)
        assert refused.status_code == 401
        run_id = rig.api.ledger.create_run("act")
        _ok(await _close_run(rig, run_id))
        detail = f"POST {rig.api.url}{TOKEN}: HTTP 401: Invalid client id or client secret"
        assert rig.facts.of(TokenRefreshed) == [TokenRefreshed("refused", detail)] * 2 + [TokenRefreshed("ok")]
        assert right not in repr(rig.facts.events)

    with_rig(scenario)


def test_a_secret_that_cannot_be_read_is_tried_again() -> None:
    async def scenario(rig: Rig) -> None:
        reads = iter([OSError("no such file")])

        def read() -> str:
            for error in reads:
                raise error
            return rig.api.client_secret

        rig.client._tokens._client_secret = read
        assert isinstance(await rig.client.organization(), Identity)

    with_rig(scenario)


# ── retries ──────────────────────────────────────────────────────────────────────────────────────────

PASSING = [
    Fault(path="/v1/organization", status=408),
    Fault(path="/v1/organization", status=429),
    Fault(path="/v1/organization", status=500),
    Fault(path="/v1/organization", status=503),
    Fault(path="/v1/organization", status=520),
    Fault(path="/v1/organization", status=302),
    Fault(path="/v1/organization", effect=Effect.RESET),
    Fault(path="/v1/organization", effect=Effect.HANG),
    Fault(path="/v1/organization", effect=Effect.DROP_REPLY),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda f: f"{f.effect}-{f.status}")
def test_what_may_pass_is_tried_again(fault: Fault) -> None:
    async def scenario(rig: Rig) -> None:
        fault.times = 2
        rig.faults(fault)
        assert isinstance(await rig.client.organization(), Identity)
        words = [event.reason for event in rig.facts.of(ApiRetried)]
        expected = {Effect.HANG: "timeout", Effect.ANSWER: f"status_{fault.status}"}
        assert words == [expected.get(fault.effect, "connection")] * 2

    with_rig(scenario, limits=HASTY)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422])
def test_any_other_4xx_is_final_and_is_a_value(status: int) -> None:
    async def scenario(rig: Rig) -> None:
        body: Json = {"ok": False, "error": "code", "message": "because"}
        rig.faults(Fault(path="/v1/organization", status=status, body=body))
        assert await rig.client.organization() == Refused(status, "because")
        assert rig.facts.of(ApiRetried) == []

    with_rig(scenario)


def test_a_proxys_page_is_not_taken_for_ports_yes() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="/v1/organization", status=200, body=None, headers={"content-encoding": "gzip"}))
        assert isinstance(await rig.client.organization(), Identity)
        (retried,) = rig.facts.of(ApiRetried)
        assert (retried.route, retried.reason) == ("/v1/organization", "unreadable")

    with_rig(scenario)


@pytest.mark.parametrize(
    "headers",
    [{"retry-after": "0.4"}, {"x-ratelimit-reset": "0.4", "x-ratelimit-remaining": "0"}],
    ids=["retry-after", "reset"],
)
def test_429_waits_as_long_as_the_server_says(headers: dict[str, str]) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="/v1/organization", status=429, headers=headers))
        began_s = time.monotonic()
        assert isinstance(await rig.client.organization(), Identity)
        assert time.monotonic() - began_s >= 0.4

    with_rig(scenario)


def test_the_reset_may_be_epoch_seconds_and_is_read_by_the_servers_clock() -> None:
    async def scenario(rig: Rig) -> None:
        headers = {
            "x-ratelimit-reset": "1700000001",
            "x-ratelimit-remaining": "0",
            "date": "Tue, 14 Nov 2023 22:13:20 GMT",
        }
        rig.faults(Fault(path="/v1/organization", status=429, headers=headers))
        began_s = time.monotonic()
        assert isinstance(await rig.client.organization(), Identity)
        assert 0.95 <= time.monotonic() - began_s < 10

    with_rig(scenario)


def test_the_servers_wish_is_honoured_up_to_a_limit() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="/v1/organization", status=503, headers={"retry-after": "86400"}))
        assert isinstance(await rig.client.organization(), Identity)

    with_rig(scenario, limits=replace(QUICK, max_server_wait_s=0.1))


def test_a_look_up_ends_after_its_time_and_says_what_was_wrong() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="/v1/organization", status=503, times=None))
        answer = await rig.client.organization(timeout_s=0.2)
        assert answer == Undelivered("HTTP 503: scripted 503")

    with_rig(scenario)


def test_an_answer_that_does_not_come_in_time_is_told_from_one_that_nobody_wants() -> None:
    def codes(rig: Rig) -> list[str]:
        return [event.code for event in rig.facts.of(ApiRequested) if event.route == "/v1/organization"]

    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="/v1/organization", effect=Effect.HANG, times=None))
        assert isinstance(await rig.client.organization(timeout_s=0.2), Undelivered)
        assert codes(rig) == ["timeout"]
        task = asyncio.create_task(rig.client.organization())
        await until(lambda: len(rig.bodies("/v1/organization")) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert codes(rig) == ["timeout", "cancelled"]

    with_rig(scenario)


@pytest.mark.parametrize(("status", "word"), [(401, "refused"), (403, "refused"), (404, "error"), (405, "error")])
def test_credentials_are_refused_where_that_is_what_was_said(status: int, word: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path=TOKEN, status=status, times=None))
        refused = await rig.client.organization()
        assert isinstance(refused, Refused), "a look-up does not wait for what does not pass by itself"
        assert refused.status_code == status
        assert [event.result for event in rig.facts.of(TokenRefreshed)] == [word]

    with_rig(scenario)


def test_nobody_listening_is_no_exception() -> None:
    async def scenario(rig: Rig) -> None:
        answer = await rig.client.organization(timeout_s=0.2)
        assert isinstance(answer, Undelivered)
        assert "no access token" in answer.reason

    with_rig(scenario, base=lambda _: "http://127.0.0.1:9")


def test_cancelling_a_request_cancels_it() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="/v1/organization", status=503, times=None))
        task = asyncio.create_task(rig.client.organization())
        await until(lambda: bool(rig.bodies("/v1/organization")))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with_rig(scenario)


# ── deadline and budget ──────────────────────────────────────────────────────────────────────────────


def test_hurry_shortens_what_is_under_way_and_what_comes_later_and_never_lengthens() -> None:
    async def scenario(rig: Rig) -> None:
        run_id = rig.api.ledger.create_run("act")
        rig.faults(Fault(path=f"*/{run_id}", effect=Effect.HANG, times=None))
        task = asyncio.create_task(_close_run(rig, run_id))
        await until(lambda: bool(rig.bodies(f"*/{run_id}")))
        assert rig.client.left_s() is None
        began_s = time.monotonic()
        rig.client.hurry(0.2)
        rig.client.hurry(60)
        assert isinstance(await task, Unanswered)
        assert isinstance(await _close_run(rig, run_id), Unanswered)
        assert time.monotonic() - began_s < 10
        assert rig.client.left_s() == 0

    with_rig(scenario)


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_a_deadline_knows_nothing_of_what_has_ended(error: type[Exception] | None) -> None:
    """Else it would grow by each request."""

    async def scenario() -> None:
        deadline = Deadline()
        with suppress(ZeroDivisionError), deadline.scope(60):
            assert len(deadline._scopes) == 1
            if error is not None:
                raise error
        with pytest.raises(TimeoutError), deadline.scope(0.001):
            await asyncio.sleep(60)
        assert not deadline._scopes

    asyncio.run(scenario())


def test_requests_that_can_wait_do_so_while_the_budget_is_low_and_others_go() -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.rate_limit = RateLimit(limit=20, period_s=60)
        run_id = RunId(rig.api.ledger.create_run("act"))
        for _ in range(12):
            await rig.client.organization()
        assert rig.client.budget_is_low()
        assert rig.facts.of(RateBudget)[-1].limit == 20
        patient = asyncio.create_task(rig.client.send(wire.add_run_log(run_id, "x"), can_wait=True))
        await asyncio.sleep(0)
        _ok(await rig.client.send(wire.patch_run(run_id, status_label="x")))
        _ok(await patient)
        assert [r.method for r in rig.api.ledger.requests[-2:]] == ["PATCH", "POST"]

    with_rig(scenario)


def test_a_log_lets_nobody_go_first_once_its_runs_status_waits_for_it() -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.rate_limit = RateLimit(limit=20, period_s=300)
        run_id = RunId(rig.api.ledger.create_run("act"))
        for _ in range(12):
            await rig.client.organization()
        run_ends = asyncio.Event()
        log = asyncio.create_task(rig.client.send(wire.add_run_log(run_id, "x"), can_wait=True, until=run_ends))
        await asyncio.sleep(0.05)
        assert not log.done()
        run_ends.set()
        _ok(await asyncio.wait_for(log, 30))
        _ok(await rig.client.send(wire.add_run_log(run_id, "y"), can_wait=True, until=run_ends))

    with_rig(scenario, limits=replace(QUICK, yield_s=300.0))


def test_word_of_a_low_budget_ends_with_its_window() -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.rate_limit = RateLimit(limit=1, period_s=0.1)
        await rig.client.organization()
        assert rig.client.budget_is_low()
        await asyncio.sleep(0.1)
        assert not rig.client.budget_is_low()

    with_rig(scenario)


def test_under_a_limit_logs_leave_room_for_statuses_and_port_refuses_nothing() -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.rate_limit = RateLimit(limit=100, period_s=2.0, enforced=True)
        run_id = RunId(rig.api.ledger.create_run("act"))
        took_s = []

        async def print_all_the_time() -> None:
            for _ in range(6):
                _ok(await rig.client.send(wire.add_run_log(run_id, "x"), can_wait=True))

        async def end_now_and_then() -> None:
            for number in range(30):
                began_s = time.monotonic()
                _ok(await rig.client.send(wire.patch_run(run_id, status_label=f"{number}")))
                took_s.append(time.monotonic() - began_s)
                await asyncio.sleep(0.1)

        await rig.client.organization()
        await asyncio.gather(end_now_and_then(), *(print_all_the_time() for _ in range(20)))
        assert {event.code for event in rig.facts.of(ApiRequested)} <= {"200", "201"}
        assert sorted(took_s)[-2] < 1, "a window lasts two seconds"
        assert len(rig.bodies("*/logs")) == 120

    with_rig(scenario)


def test_while_port_refuses_only_what_it_counts_apart_goes_on() -> None:
    async def scenario(rig: Rig) -> None:
        run_id = RunId(rig.api.ledger.create_run("act"))
        rig.faults(Fault(path="/v1/organization", status=429, headers={"retry-after": "3"}))
        asked = asyncio.create_task(rig.client.organization())
        await until(lambda: bool(rig.facts.of(ApiRetried)))
        began_s = time.monotonic()
        answer = await rig.client.send(wire.patch_run(run_id, status_label="x"), timeout_s=0.1)
        assert isinstance(answer, Unanswered)
        assert "HTTP 429" in answer.reason
        assert not rig.requests_of(run_id)
        await rig.client.claim_runs(1, 60, [])
        await rig.client.acknowledge_run(run_id, 5.0)
        await rig.client.send(wire.change_entity(EntityChange(EntityVerb.UPSERT, "service", "api"), RunId(run_id)))
        assert time.monotonic() - began_s < 2
        _ok(await rig.client.send(wire.patch_run(run_id, status_label="y")))
        assert time.monotonic() - began_s > 2.5
        assert isinstance(await asked, Identity)

    with_rig(scenario)


def test_a_refusal_of_what_port_counts_apart_holds_up_nothing_else() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/claim-pending", status=429, headers={"retry-after": "300"}, times=None))
        answer = await rig.client.claim_runs(1, 60, [])
        assert isinstance(answer, Unanswered)
        assert answer.wait_s == 300
        assert isinstance(await rig.client.organization(timeout_s=5), Identity)

    with_rig(scenario)


def test_what_is_left_of_a_budget_apart_says_nothing_of_the_one_that_all_others_share() -> None:
    async def scenario(rig: Rig) -> None:
        told = {"x-ratelimit-remaining": "0", "x-ratelimit-limit": "100", "x-ratelimit-reset": "300"}
        rig.faults(Fault(path="*/claim-pending", status=200, body={"runs": []}, headers=told))
        assert await rig.client.claim_runs(1, 60, []) == []
        assert not rig.client.budget_is_low()
        assert not rig.facts.of(RateBudget)

    with_rig(scenario)


# ── look-ups and facts ───────────────────────────────────────────────────────────────────────────────


def test_a_run_is_looked_up_whatever_its_id_is_made_of() -> None:
    async def scenario(rig: Rig) -> None:
        run_id = rig.api.ledger.create_run("act", run_id="r_/../+:\\ü")
        assert await rig.client.get_run(RunId(run_id)) == wire.RunState(RunId(run_id), "IN_PROGRESS")
        _ok(await _close_run(rig, run_id))
        state = await rig.client.get_run(RunId(run_id))
        assert isinstance(state, wire.RunState)
        assert state.is_over
        unknown = await rig.client.get_run(RunId("r_unknown"))
        assert isinstance(unknown, Refused)
        assert unknown.status_code == 404

    with_rig(scenario)


def test_an_object_without_a_run_says_that_there_is_none_but_a_page_says_nothing() -> None:
    async def scenario(rig: Rig) -> None:
        answers = []
        for body in ({"ok": True}, "<html>please log in</html>"):
            rig.faults(Fault(path="/v1/actions/runs/*", status=200, body=body))
            answers.append(await rig.client.get_run(RunId("r_1")))
        assert answers[0] == Refused(404, "the answer holds no run")
        assert answers[1] == Undelivered("Port's answer does not have the documented form")

    with_rig(scenario)


def test_a_run_of_an_id_that_port_never_gives_is_unknown_without_a_request() -> None:
    async def scenario(rig: Rig) -> None:
        unknown = await rig.client.get_run(RunId(".."))
        assert isinstance(unknown, Refused)
        assert unknown.status_code == 404
        assert rig.api.ledger.requests == []

    with_rig(scenario)


def test_kafka_credentials_or_their_typed_absence() -> None:
    async def scenario(rig: Rig) -> None:
        assert await rig.client.kafka_credentials() == wire.KafkaCredentials(("a:1", "b:2"), "me", "pw")

    async def none(rig: Rig) -> None:
        assert await rig.client.kafka_credentials() == NotProvisioned()

    with_rig(scenario, kafka={"brokers": ["a:1", "b:2"], "username": "me", "password": "pw"})
    with_rig(none)


def test_the_organisation_comes_with_ports_clock() -> None:
    async def scenario(rig: Rig) -> None:
        identity = await rig.client.organization()
        assert isinstance(identity, Identity)
        assert identity.organization.organization_id == "org_sandbox"
        assert identity.server_epoch_s is not None
        assert abs(identity.server_epoch_s - time.time()) < 60

    with_rig(scenario)


def test_an_answer_without_the_documented_form_is_no_answer() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="/v1/organization", status=200, body={"ok": True}))
        assert await rig.client.organization() == Undelivered("Port's answer does not have the documented form")

    with_rig(scenario)


def test_every_request_is_told_with_its_pattern_and_without_ids() -> None:
    async def scenario(rig: Rig) -> None:
        run_id = rig.api.ledger.create_run("act")
        _ok(await rig.client.send(wire.add_run_log(RunId(run_id), "x")))
        assert [(e.method, e.route, e.code) for e in rig.facts.of(ApiRequested)] == [
            ("POST", TOKEN, "200"),
            ("POST", "/v1/actions/runs/{run_id}/logs", "201"),
        ]
        assert run_id not in repr(rig.facts.events)

    with_rig(scenario)
