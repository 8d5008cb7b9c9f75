"""Python actions, one per kind of work; the synchronous ones end in ``_sync``."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

from agent import Failed, Run, Succeeded
from agent.executors.sync_run import SyncRun
from tests.contract.executor_rig import FLOOD_BYTES, SECRET, SECRET_HALVES

_CHUNK = b"x" * (256 * 1024)

under_way: set[object] = set()
"""What hangs at the moment."""
released = threading.Event()
"""Lets a thread go that nothing else ends."""


@contextlib.contextmanager
def _under_way() -> Iterator[None]:
    token = object()
    under_way.add(token)
    try:
        yield
    finally:
        under_way.discard(token)


async def succeed(run: Run) -> None:
    run.log("done")


def succeed_sync(run: SyncRun) -> None:
    run.log("done")


async def fail(run: Run) -> None:
    run.log("trying")
    raise ValueError("all is broken")


def fail_sync(run: SyncRun) -> None:
    run.log("trying")
    raise ValueError("all is broken")


async def hang(run: Run) -> None:
    run.log("hanging")
    with _under_way():
        await asyncio.Event().wait()


def hang_sync(run: SyncRun) -> None:
    with _under_way():
        while True:
            run.log("hanging")
            time.sleep(0.01)


async def resist(run: Run) -> None:
    run.log("resisting")
    with _under_way():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


def resist_sync(run: SyncRun) -> None:
    run.log("resisting")
    with _under_way():
        released.wait()


async def flood(run: Run) -> None:
    stream = run.stream("flood")
    for _ in range(FLOOD_BYTES // len(_CHUNK)):
        stream.write(_CHUNK)
    stream.close()


def flood_sync(run: SyncRun) -> None:
    stream = run.stream("flood")
    for _ in range(FLOOD_BYTES // len(_CHUNK)):
        stream.write(_CHUNK)
    stream.close()


async def leak(run: Run) -> Failed:
    return leak_sync(run)


def leak_sync(run: Run | SyncRun) -> Failed:
    stream = run.stream("leak")
    for half in SECRET_HALVES:
        stream.write(half.encode())
    stream.close()
    run.log(SECRET)
    run.link(f"https://x/{SECRET}")
    run.summary(SECRET)
    run.status_label(SECRET)
    run.external_run_id(SECRET)
    run.output("mine", SECRET)
    return Failed(f"{SECRET} ".ljust(290, "x") + SECRET)


spill, spill_sync = leak, leak_sync  # of what Python says nothing is left out


async def tell(run: Run) -> str:
    run.link("https://example.com/1")
    run.status_label("half way")
    run.external_run_id("42")
    run.output("size", 3)
    await run.upsert_entity("service", identifier="billing", properties={"tier": 1})
    await run.patch_entity("service", identifier="billing", title="Billing")
    await run.delete_entity("service", identifier="old")
    return "told"


def tell_sync(run: SyncRun) -> Succeeded:
    run.link("https://example.com/1")
    run.status_label("half way")
    run.external_run_id("42")
    run.output("size", 3)
    run.upsert_entity("service", identifier="billing", properties={"tier": 1})
    run.patch_entity("service", identifier="billing", title="Billing")
    run.delete_entity("service", identifier="old")
    return Succeeded("told")
