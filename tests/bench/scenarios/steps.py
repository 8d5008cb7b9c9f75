"""What one forwarded run costs by step, in microseconds of CPU: each step by itself, again and again, right here.

The sum is less than a run: what holds the steps together (tasks, timers, turns of the loop, other threads) is in
none of them, and here a step finds its code and its data in the processor's cache.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any, TextIO

import httpx
import structlog
from yarl import URL

from agent.clock import SystemClock
from agent.delivery.ledger import Ledger
from agent.domain.earlier import Ending
from agent.domain.events import RunStarted
from agent.domain.invocation import Channel, Invocation, RunId
from agent.domain.outcome import Succeeded, conclude
from agent.domain.redaction import LOG_MASK, Redactor
from agent.domain.settlement import Settlement
from agent.domain.signature import signature_of
from agent.executors.http import HttpExecutor
from agent.executors.registry import ExecutorRegistry
from agent.intake.reader import MessageIntake
from agent.net.client import Client, open_client
from agent.net.outgoing import Outgoing, Timeouts
from agent.net.tls import tls_context
from agent.observability.log_observer import LogObserver
from agent.observability.logs import configure
from agent.ports import Decoded, Routed
from agent.routing.file import RoutesReader
from agent.runs_api.details import Details
from agent.runs_api.targets import ActionRun
from agent.testing import fake_services
from tests.bench.figures import Figure
from tests.bench.lab import Lab, Scenario
from tests.bench.routes import QUICK, routes
from tests.bench.workload import SECRET, Workload

Step = Callable[[], Awaitable[object]]

_TIMES = 3_000
_RUN = RunId("r_000000000001")
_BODY = b'{"inputs": "' + b"x" * 900 + b'"}'


def _steps(lab: Lab) -> Iterator[Figure]:
    with lab.site(routes(QUICK)) as site:
        yield from asyncio.run(_measured(lab, site.port.url, site.org))


async def _measured(lab: Lab, url: str, org: str) -> list[Figure]:
    times, rounds = lab.wanted.of(_TIMES), range(lab.wanted.rounds)
    client = open_client(
        tls=tls_context(), max_connections=1, timeout=httpx.Timeout(30), user_agent="the agent's steps"
    )
    with ExitStack() as stack:
        log = stack.enter_context(open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, ASYNC230 - no file
        steps = {**_of_the_message(stack, url, org), **_of_the_report(log), "one exchange": _exchange(client, url)}
        found = [Figure(name, "µs", [await _cost_us(step, times) for _ in rounds]) for name, step in steps.items()]
    await client.aclose()
    return found


async def _cost_us(step: Step, times: int) -> float:
    for _ in range(times // 10):
        await step()
    began_s = time.process_time()
    for _ in range(times):
        await step()
    return (time.process_time() - began_s) / times * 1e6


def _of_the_message(stack: ExitStack, url: str, org: str) -> dict[str, Step]:
    """From the record to the request that is to be sent, and the record's way through the ledger."""
    intake = MessageIntake(SECRET, SystemClock())
    record = next(iter(Workload(org).records("quick", 1)))
    reader = RoutesReader(ExecutorRegistry.load(fake_services()), {})
    stack.callback(reader.close)
    table = reader.parse(routes(QUICK).replace("{url}", url).encode(), "routes.yaml")
    verdict = intake.decode(record, Channel.RUNS)
    assert isinstance(verdict, Decoded)
    invocation: Invocation = verdict.invocation
    routed = table.resolve(invocation)
    assert isinstance(routed, Routed)
    executor = routed.executor
    assert isinstance(executor, HttpExecutor)

    async def decode() -> object:
        return intake.decode(record, Channel.RUNS)

    async def resolve() -> object:
        return table.resolve(invocation)

    async def render() -> object:
        return await executor.preview(invocation.view)

    async def sign() -> object:
        return signature_of(_BODY, "1700000000", SECRET)

    return {
        "a record through its ledger": _ledger(),
        "the message: read, verified, typed": decode,
        "its route": resolve,
        "the request: rendered": render,
        "the request: signed": sign,
    }


def _ledger() -> Step:
    ledger, offsets = Ledger(agent="agent"), itertools.count(1)

    async def step() -> object:
        offset = next(offsets)
        ledger.begin(offset)
        ledger.start(offset)
        ledger.end(offset, Ending.SUCCESS)
        ledger.settle(offset, Settlement.ACCEPT)
        return ledger.commit

    return step


def _of_the_report(log: TextIO) -> dict[str, Step]:
    configure("json", "INFO", [SECRET], stream=log)
    observer = LogObserver(SystemClock())
    redactor = Redactor([SECRET, "a-second-secret-of-the-route"])
    started = RunStarted("http", "quick", _RUN, "quick", 0.1, 1, None)
    target, details, end = ActionRun(_RUN), Details(), conclude(Succeeded())
    assert end is not None
    structlog.contextvars.bind_contextvars(run_id=_RUN, route="quick", **{LOG_MASK: redactor.mask_text})

    async def agents_line() -> object:
        observer.notify(started)
        return None

    async def runs_line() -> object:
        return redactor.mask_text("POST http://127.0.0.1:8080/quick (921 bytes): 200 OK (12 ms)")

    async def conclusion() -> object:
        return list(target.conclude(details, end))

    return {
        "a line of the agent's log; a run has two": agents_line,
        "a line of the run's log: masked": runs_line,
        "the end: worded": conclusion,
    }


def _exchange(client: Client, url: str) -> Step:
    request = Outgoing(
        "POST",
        URL(f"{url}/quick", encoded=True),
        [*client.own_headers, ("Content-Type", "application/json"), ("Authorization", "Bearer made-up")],
        _BODY,
        Timeouts(10, 60, 60),
    )

    async def step() -> Any:
        return await (await client.exchange(request)).read()

    return step


SCENARIOS = (Scenario("steps", "one forwarded run, step by step; a run has three exchanges", _steps),)
