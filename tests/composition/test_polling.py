"""Port's API as the polling source sees it: over real HTTP, against the stand-in."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from agent.composition.polling import PortClaims, open_claims_file, polling_settings
from agent.domain.invocation import InvocationKind, RunId
from agent.domain.json import JsonObject
from agent.polling.api import Acknowledged, Claimed, NotClaimed, Verdict
from agent.polling.pace import Pace
from agent.polling.source import PollingSettings
from agent.sandbox.port_api import Effect, Fault
from agent.settings import Settings
from tests.runs_api.rig import Rig, with_rig

ACTION, NODE = InvocationKind.ACTION_RUN, InvocationKind.NODE_RUN
METHOD: JsonObject = {"type": "WEBHOOK", "agent": True, "url": "http://hook", "body": {}}
KINDS = pytest.mark.parametrize(("kind", "run_id"), [(ACTION, "r_1"), (NODE, "wfnr_1")])


async def claimed(rig: Rig, kind: InvocationKind, limit: int = 10, exclude: tuple[RunId, ...] = ()) -> list[str]:
    answer = await PortClaims(rig.client).claim(kind, limit, 60.0, exclude)
    assert isinstance(answer, Claimed), answer
    return [run.run_id for run in answer.runs]


async def refused(rig: Rig, kind: InvocationKind) -> NotClaimed:
    answer = await PortClaims(rig.client).claim(kind, 10, 60.0, ())
    assert isinstance(answer, NotClaimed), answer
    return answer


async def acknowledged(rig: Rig, kind: InvocationKind, run_id: str, timeout_s: float = 5.0) -> Acknowledged:
    return await PortClaims(rig.client).acknowledge(kind, RunId(run_id), timeout_s)


@KINDS
def test_a_claim_gives_what_is_pending_and_asks_for_what_is_documented(kind: InvocationKind, run_id: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.ledger.create_run("act", run_id=run_id, pending=METHOD)
        assert await claimed(rig, kind) == [run_id]
        assert await claimed(rig, kind) == []
        for request in rig.api.ledger.requests_to("*/claim-pending"):
            assert request.headers["x-port-reserved-usage"] == "true"
            body: JsonObject = request.body  # type: ignore[assignment]  # as it came
            expected = {"installationId": "_PORT_EXEC_AGENT", "limit": 10, "visibilityTimeoutMs": 60_000}
            assert body == (expected if kind is NODE else {**expected, "invocationMethod": "WEBHOOK"})

    with_rig(scenario)


def test_runs_can_be_left_out() -> None:
    async def scenario(rig: Rig) -> None:
        for run_id in ("r_1", "r_2", "r_3"):
            rig.api.ledger.create_run("act", run_id=run_id, pending=METHOD)
        assert await claimed(rig, ACTION, 1, (RunId("r_1"),)) == ["r_2"]

    with_rig(scenario)


def test_a_run_without_an_id_is_counted_and_not_given_out() -> None:
    async def scenario(rig: Rig) -> None:
        runs: list[JsonObject] = [{"payload": METHOD}, {"id": ""}, {"id": 7}, {"id": "../x"}, {"id": "r_1"}]
        rig.faults(Fault(path="*/claim-pending", status=200, body={"ok": True, "runs": runs}))
        answer = await PortClaims(rig.client).claim(ACTION, 10, 60.0, ())
        assert isinstance(answer, Claimed)
        assert ([run.run_id for run in answer.runs], answer.unnamed, answer.count) == (["r_1"], 4, 5)

    with_rig(scenario)


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_claim_is_sent_once_for_the_source_paces_itself(status: int) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/claim-pending", status=status, headers={"retry-after": "7"}))
        answer = await refused(rig, ACTION)
        assert (answer.wait_s, answer.is_absent) == (7.0, False)
        assert str(status) in answer.reason
        assert len(rig.api.ledger.requests_to("*/claim-pending")) == 1

    with_rig(scenario)


def test_a_token_that_expired_is_renewed_at_once() -> None:
    async def scenario(rig: Rig) -> None:
        await claimed(rig, ACTION)
        rig.api.credentials.expire_tokens()
        assert await claimed(rig, ACTION) == []
        assert [request.status for request in rig.api.ledger.requests_to("*/claim-pending")] == [200, 401, 200]

    with_rig(scenario)


def test_what_port_does_not_know_or_refuses_is_told_apart() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/claim-pending", status=404), Fault(path="*/claim-pending", status=403))
        assert (await refused(rig, NODE)).is_absent
        assert not (await refused(rig, NODE)).is_absent
        rig.faults(Fault(path="*/claim-pending", status=200, body={"ok": True}))
        assert "documented form" in (await refused(rig, ACTION)).reason

    with_rig(scenario)


@KINDS
def test_one_of_two_acknowledgements_is_taken(kind: InvocationKind, run_id: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.ledger.create_run("act", run_id=run_id, pending=METHOD)
        assert (await acknowledged(rig, kind, run_id)).verdict is Verdict.OURS
        assert (await acknowledged(rig, kind, run_id)).verdict is Verdict.TAKEN
        assert (await acknowledged(rig, kind, f"{run_id}0")).verdict is Verdict.TAKEN

    with_rig(scenario)


@pytest.mark.parametrize("body", [{"ok": True, "ackedCount": 0}, {"ok": True, "acked": False}])
def test_an_acknowledgement_that_took_nothing_was_somebody_elses(body: JsonObject) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/ack", status=200, body=body))
        answer = await acknowledged(rig, ACTION, "r_1")
        assert (answer.verdict, answer.detail) == (Verdict.TAKEN, "200: it took none")

    with_rig(scenario)


@pytest.mark.parametrize(
    ("second", "verdict"), [(None, Verdict.PERHAPS), (404, Verdict.PERHAPS), (403, Verdict.UNANSWERED)]
)
def test_after_a_lost_answer_a_refusal_proves_nothing(second: int | None, verdict: Verdict) -> None:
    async def scenario(rig: Rig) -> None:
        rig.api.ledger.create_run("act", run_id="r_1", pending=METHOD)
        rig.faults(Fault(path="*/ack", effect=Effect.DROP_REPLY))
        if second is not None:
            rig.faults(Fault(path="*/ack", status=second))
        assert (await acknowledged(rig, ACTION, "r_1")).verdict is verdict

    with_rig(scenario)


def test_a_refusal_and_a_silence_are_told_apart() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/ack", status=422), Fault(path="*/ack", status=503, times=None))
        refusal = await acknowledged(rig, ACTION, "r_1")
        assert (refusal.verdict, refusal.detail[:3]) == (Verdict.REFUSED, "422")
        assert (await acknowledged(rig, ACTION, "r_1", 0.2)).verdict is Verdict.UNANSWERED

    with_rig(scenario)


@pytest.mark.parametrize("body", [{"ok": True}, {}, {"ackedCount": "1"}])
def test_an_answer_that_says_nothing_leaves_it_in_doubt(body: JsonObject) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/ack", status=200, body=body))
        assert (await acknowledged(rig, ACTION, "r_1")).verdict is Verdict.UNANSWERED

    with_rig(scenario)


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_refused_of_the_agent_says_nothing_of_the_run(status: int) -> None:
    """It may have been acknowledged before the secret was renewed."""

    async def scenario(rig: Rig) -> None:
        rig.faults(Fault(path="*/ack", status=status, times=None))
        assert (await acknowledged(rig, ACTION, "r_1")).verdict is Verdict.UNANSWERED

    with_rig(scenario)


# ── from the settings ────────────────────────────────────────────────────────────────────────────────


def settings(**given: object) -> Settings:
    needed = {"PORT_ORG_ID": "org/1", "PORT_CLIENT_ID": "id", "PORT_CLIENT_SECRET": SecretStr("s")}
    return Settings.model_construct(**{**needed, **given})  # type: ignore[arg-type]  # as they are


def test_the_defaults_are_those_of_the_official_agent() -> None:
    made = polling_settings(settings())
    pace = Pace(interval_s=10, first_backoff_s=1, backoff_factor=2, max_backoff_s=300, jitter=0.1)
    assert made == PollingSettings(
        pace, batch_size=100, slots=50, visibility_s=60, max_failure_s=3600, agent_name=made.agent_name
    )
    assert made.agent_name


def test_each_setting_has_its_place() -> None:
    made = polling_settings(
        settings(
            POLLING_INTERVAL_SECONDS=1.5,
            POLLING_RUNS_BATCH_SIZE=7,
            POLLING_INITIAL_BACKOFF_SECONDS=2.5,
            POLLING_BACKOFF_FACTOR=3.0,
            POLLING_MAX_BACKOFF_SECONDS=40.0,
            POLLING_BACKOFF_JITTER_FACTOR=0.5,
            POLLING_MAX_FAILURE_DURATION_SECONDS=60.0,
            AGENT_MAX_CONCURRENT_RUNS=4,
        )
    )
    assert made.pace == Pace(1.5, 2.5, 3.0, 40.0, 0.5)
    assert (made.batch_size, made.slots, made.max_failure_s) == (7, 4, 60.0)


def test_a_batch_is_bounded_whatever_the_official_agent_was_told() -> None:
    assert polling_settings(settings(POLLING_RUNS_BATCH_SIZE=5_000)).batch_size == 1_000


def test_another_organisations_runs_are_not_taken_up(tmp_path: Path) -> None:
    file = open_claims_file(settings(AGENT_STATE_DIR=tmp_path))
    assert file.path.parent == tmp_path / "claims" / "org%2F1"
    file.close()
