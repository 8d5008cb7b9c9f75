from __future__ import annotations

import json

from agent.domain.json import as_object
from agent.sandbox import messages
from tests.bench.workload import SECRET, Workload


def test_records_are_what_port_would_sign() -> None:
    for record in Workload("org_a").records("deploy", 3):
        text = record.decode()
        document = json.loads(text)
        at_s = document["headers"].pop("X-Port-Timestamp")
        del document["headers"]["X-Port-Signature"]
        assert messages.signed_message(document, SECRET, timestamp=at_s) == text


def test_every_record_is_about_a_run_of_its_own_and_names_its_action() -> None:
    workload = Workload("org_a")
    orders = [*workload.orders("deploy", 2), *workload.orders("restart", 1)]
    assert len({run_id for run_id, _ in orders}) == 3
    for run_id, record in orders:
        assert as_object(json.loads(record)["context"])["runId"] == run_id
    assert [json.loads(record)["action"] for _, record in orders] == ["deploy", "deploy", "restart"]


def test_records_have_the_size_of_ports_unless_they_are_told() -> None:
    workload = Workload("org_a")
    (usual,), (large,) = workload.records("deploy", 1), workload.records("deploy", 1, "x" * 100_000)
    assert 1400 < len(usual) < 1700
    assert len(large) > 100_000
