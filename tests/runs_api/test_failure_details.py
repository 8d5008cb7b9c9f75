"""What is told of trouble with Port's API: host and reason for whoever reads the log, and never a secret."""

from __future__ import annotations

import socket
from base64 import b64encode

import pytest

from agent.domain.events import ApiRetried, TokenRefreshed
from agent.domain.invocation import RunId
from agent.domain.json import Json
from agent.domain.settlement import Undelivered
from agent.runs_api import wire
from agent.runs_api.client import Identity
from agent.runs_api.exchange import quoted
from agent.sandbox.port_api import Fault
from tests.runs_api.rig import Rig, with_rig

TOKEN = "/v1/auth/access_token"


def test_a_refused_connection_names_host_and_reason_and_no_password_of_the_address() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{held.getsockname()[1]}"

        async def scenario(rig: Rig) -> None:
            said = f"cannot connect to {place}: Connection refused"
            problem = await rig.client.sign_in()
            assert problem == f"no access token: {said}"
            assert isinstance(await rig.client.organization(timeout_s=0.2), Undelivered)
            assert {event.detail for event in rig.facts.of(TokenRefreshed)} == {
                f"POST http://{place}{TOKEN}: {said}"
            }
            retried = {event.detail for event in rig.facts.of(ApiRetried)}
            assert retried == {f"GET http://{place}/v1/organization: no access token: {said}"}

        with_rig(scenario, base=lambda _: f"http://somebody:passw0rd@{place}/?key=t0p-secret")


def test_names_in_a_path_are_not_told() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="/v1/actions/runs/*", status=503))
        run_id = rig.api.ledger.create_run("act")
        await rig.client.send(wire.patch_run(RunId(run_id), summary="an input of somebody"))
        (retried,) = rig.facts.of(ApiRetried)
        assert retried.detail == f"PATCH {rig.api.url}/v1/actions/runs/{{run_id}}: HTTP 503: scripted 503"

    with_rig(scenario)


@pytest.mark.parametrize("status", [400, 403, 503])
def test_an_answer_that_repeats_the_client_secret_is_masked(status: int) -> None:
    async def scenario(rig: Rig) -> None:
        secret = rig.api.client_secret
        encoded = b64encode(secret.encode()).decode().rstrip("=")
        body: Json = {"message": f"{secret} is wrong,\nand so is {encoded}"}
        rig.faults(Fault(path=TOKEN, status=status, body=body, times=None))
        problem = await rig.client.sign_in()
        assert problem == f"no access token: HTTP {status}: [masked] is wrong, and so is [masked]"
        answer = await rig.client.send(wire.organization()) if status == 503 else None
        assert secret not in repr((answer, rig.facts.events))
        assert encoded not in repr((answer, rig.facts.events))
        assert rig.facts.of(TokenRefreshed)[0].detail.endswith("[masked] is wrong, and so is [masked]")

    async def hurried(rig: Rig) -> None:
        rig.client.hurry(0.3)
        await scenario(rig)

    with_rig(hurried)


@pytest.mark.parametrize("status", [401, 502])
def test_an_answer_that_repeats_the_token_is_masked(status: int) -> None:
    async def scenario(rig: Rig) -> None:
        assert isinstance(await rig.client.organization(), Identity)
        bearer = rig.api.ledger.requests_to("/v1/organization")[0].headers["authorization"]
        token = bearer.removeprefix("Bearer ")
        body: Json = {"message": f"you sent {bearer}"}
        rig.faults(Fault(path="/v1/organization", status=status, body=body, times=None))
        answer = await rig.client.organization(timeout_s=0.3)
        assert token not in repr(rig.facts.events)
        assert rig.facts.of(ApiRetried)[0].detail.endswith(f"HTTP {status}: you sent Bearer [masked]")
        assert status == 401 or answer == Undelivered(f"HTTP {status}: you sent Bearer [masked]")

    with_rig(scenario)


@pytest.mark.parametrize("status", [200, 401, 500])
def test_an_answer_with_a_token_in_an_unknown_form_is_not_quoted(status: int) -> None:
    async def scenario(rig: Rig) -> None:
        body: Json = {"accessToken": "t0ken-of-another-form", "expiresIn": "10800"}
        rig.faults(Fault(path=TOKEN, status=status, body=body))
        problem = await rig.client.sign_in()
        assert problem == f"no access token: HTTP {status}: the answer does not have the documented form"
        assert "t0ken-of-another-form" not in repr(rig.facts.events)

    with_rig(scenario)


def test_what_is_quoted_is_one_line_of_bounded_length() -> None:
    assert quoted("<html>\n  <h1>502</h1>\r\n</html>\n") == "<html> <h1>502</h1> </html>"
    assert len(quoted("x " * 100_000)) < 1100
    assert quoted("x" * 995 + "a-long-s3cret", "a-long-s3cret") == "x" * 995 + "[mask …"
