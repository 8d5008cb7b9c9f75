from __future__ import annotations

import asyncio
import json

import pytest

from tests.bench.floors import Order, _handler
from tests.bench.workload import Workload


def order(work: str) -> Order:
    return Order({}, "topic", "http://target", 1, work, "aiohttp", 8)


async def sent(work: str, record: bytes) -> list[tuple[str, str, bytes]]:
    requests = []

    async def send(method: str, url: str, body: bytes, headers: dict[str, str]) -> None:  # noqa: ARG001 - the loop's own call
        requests.append((method, url, body))

    await _handler(order(work), send)(record)
    return requests


def test_a_forwarded_run_costs_a_log_request_and_a_status_request() -> None:
    ((run_id, record),) = Workload("org_a").orders("quick", 1)
    forward, log, status = asyncio.run(sent("quick", record))
    assert forward[:2] == ("POST", "http://target/quick")
    message = json.loads(record)
    assert json.loads(forward[2]) == {**message, "headers": {}}
    assert log[:2] == ("POST", f"http://target/v1/actions/runs/{run_id}/logs")
    assert status == ("PATCH", f"http://target/v1/actions/runs/{run_id}", b'{"status": "SUCCESS"}')


@pytest.mark.parametrize("work", ["threads", "asyncio"])
def test_what_a_command_prints_is_logged(work: str) -> None:
    (record,) = Workload("org_a").records("echo", 1)
    log, status = asyncio.run(sent(work, record))
    assert json.loads(log[2]) == {"message": "done\n"}
    assert status[0] == "PATCH"


def test_where_nothing_is_said_there_is_only_a_status() -> None:
    (record,) = Workload("org_a").records("nothing", 1)
    assert [method for method, _, _ in asyncio.run(sent("nothing", record))] == ["PATCH"]


def test_a_signature_is_really_verified() -> None:
    (record,) = Workload("org_a").records("nothing", 1)
    with pytest.raises(ValueError, match="the signature is wrong"):
        asyncio.run(sent("nothing", record.replace(b"service", b"servica")))
