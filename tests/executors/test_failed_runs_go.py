"""A run that failed is gone as it ends: the collector of cycles comes seldom, and messages may be large."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable, Iterator

import pytest

from agent.domain.outcome import Failed, FailureKind
from agent.executors.process import ProcessFactory
from agent.ports import Executor, ExecutorSettings
from agent.testing import FakeRun, FakeTemplates, fake_services
from tests.executors.http_server import executor, run_of
from tests.executors.process_helpers import until

_RUNS = 5


@pytest.fixture(autouse=True)
def collector_of_cycles_at_rest() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


async def _failed(work: Executor, make: Callable[[], FakeRun], kind: FailureKind) -> weakref.ref[FakeRun]:
    with make() as run:
        outcome = await asyncio.create_task(work.execute(run))
    assert isinstance(outcome, Failed)
    assert outcome.kind is kind
    return weakref.ref(run)


async def _are_gone(work: Executor, make: Callable[[], FakeRun], kind: FailureKind) -> None:
    seen = [await _failed(work, make, kind) for _ in range(_RUNS)]
    await until(lambda: all(run() is None for run in seen), "the runs to be gone")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"command": ["/nonexistent/program"]}, FailureKind.NOT_STARTED),
        ({"command": ["true"], "cwd": "/nonexistent"}, FailureKind.NOT_STARTED),
        ({"command": ["false"]}, FailureKind.EXIT_CODE),
    ],
)
def test_of_a_command(options: dict[str, str | list[str]], kind: FailureKind) -> None:
    async def scene() -> None:
        factory = ProcessFactory(fake_services(ExecutorSettings(kill_grace_s=0.3)))
        try:
            work = factory.prepare({**options}, "routes[0].process", FakeTemplates())
            await _are_gone(work, FakeRun, kind)
        finally:
            await factory.close()

    asyncio.run(scene())


def test_of_a_request_whose_connection_is_refused() -> None:
    async def scene(port: int) -> None:
        async with executor({"retry": 0}, http_breaker_failures=0) as work:
            await _are_gone(work, lambda: run_of(f"http://127.0.0.1:{port}/"), FailureKind.CONNECTION)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        asyncio.run(scene(taken.getsockname()[1]))
