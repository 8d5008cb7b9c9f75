from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trustme

from tests.bench.counterpart import Counterpart, Identity, Manners
from tests.broker.waiting import wait_until

RUN = "/v1/actions/runs/r_1"
ask = partial(httpx.request, trust_env=False)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Counterpart]:
    counterpart = Counterpart("org_a", {"brokers": ["a:1"]}, tmp_path, Manners(keeps_stamps=True))
    yield counterpart
    counterpart.end()


def test_it_counts_what_agents_and_bare_loops_send(port: Counterpart) -> None:
    ask("POST", f"{port.url}/v1/auth/access_token", json={})
    ask("POST", f"{port.url}/quick", json={}, headers={"Idempotency-Key": "r_1"})
    ask("POST", f"{port.url}{RUN}/logs", json={"message": "done"})
    ask("PATCH", f"{port.url}{RUN}", json={"link": "https://example.com"})
    ask("PATCH", f"{port.url}{RUN}", json={"status": "SUCCESS"})
    ask("PATCH", f"{port.url}/v1/actions/runs/r_2", json={"status": "FAILURE"})
    counts = port.counts()
    assert (counts.api, counts.token, counts.log, counts.target) == (5, 1, 1, 1)
    assert (counts.status, counts.failed) == (2, 1)
    assert 0 < counts.first_target_s < counts.first_status_s < counts.last_status_s


def test_it_tells_when_what_happened_to_a_run(port: Counterpart) -> None:
    ask("POST", f"{port.url}/quick", json={}, headers={"Idempotency-Key": "r_1"})
    ask("PATCH", f"{port.url}{RUN}", json={"status": "SUCCESS"})
    stamps = port.stamps()
    assert stamps.called["r_1"] <= stamps.answered["r_1"] < stamps.ended["r_1"]


def test_a_reset_forgets(port: Counterpart) -> None:
    ask("PATCH", f"{port.url}{RUN}", json={"status": "SUCCESS"})
    port.reset()
    assert port.counts().status == 0
    assert port.stamps().ended == {}


def test_what_is_held_is_answered_on_release(port: Counterpart) -> None:
    caller = threading.Thread(target=ask, args=("POST", f"{port.url}/held"))
    caller.start()
    wait_until(lambda: port.counts().held == 1, timeout_s=20, what="a request that is held")
    port.release()
    caller.join(20)
    assert not caller.is_alive()
    assert port.counts().held == 0


def test_agents_get_what_they_ask_for(port: Counterpart) -> None:
    assert ask("GET", f"{port.url}/v1/kafka-credentials").json()["credentials"] == {"brokers": ["a:1"]}
    assert ask("GET", f"{port.url}/v1/organization").json()["organization"]["id"] == "org_a"
    assert ask("GET", f"{port.url}{RUN}?version=v2").json()["run"] == {"id": "r_1", "status": "IN_PROGRESS"}
    ask("POST", f"{port.url}{RUN}/logs", json={"message": "begun"})
    assert [run["id"] for run in ask("GET", f"{port.url}/v1/actions/runs?active=true").json()["runs"]] == ["r_1"]


def test_a_budget_is_told_and_kept(tmp_path: Path) -> None:
    port = Counterpart("org_a", {}, tmp_path, Manners(limit=2, period_s=600))
    try:
        answers = [ask("PATCH", f"{port.url}{RUN}", json={"status": "SUCCESS"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
        assert [answer.json()["ok"] for answer in answers] == [True, True, False]
        counts = port.counts()
        assert (counts.status, counts.refused) == (2, 1)
    finally:
        port.end()


def test_a_budget_that_is_not_told_is_kept_all_the_same(tmp_path: Path) -> None:
    port = Counterpart("org_a", {}, tmp_path, Manners(limit=1, period_s=600, secretive=True))
    try:
        answers = [ask("PATCH", f"{port.url}{RUN}", json={"status": "SUCCESS"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert [answer.headers.get("retry-after") for answer in answers] == [None, "600"]
        assert not any(name.startswith("x-ratelimit") for answer in answers for name in answer.headers)
    finally:
        port.end()


def test_by_tls_it_is_whom_its_certificate_names(tmp_path: Path) -> None:
    authority = trustme.CA()
    identity = Identity(tmp_path / "key.pem", tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(identity.key_file))
    authority.cert_pem.write_to_path(str(identity.ca_file))
    counterpart = Counterpart("org_a", {}, tmp_path, Manners(tls=True), identity)
    try:
        assert counterpart.url.startswith("https://")
        assert counterpart.counts().api == 0
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            ask("POST", f"{counterpart.url}/quick")
    finally:
        counterpart.end()
