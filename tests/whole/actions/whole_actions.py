"""Python actions for the tests of the whole, found through AGENT_PYTHONPATH."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import threading
import time
from typing import Any

from agent import EntityRefusedError, Failed, Outcome, Run, Succeeded, SyncRun


async def create_microservice(run: Run) -> Succeeded:
    name = str(run.inputs["name"])
    run.log(f"creating {name}")
    await run.upsert_entity("microservice", identifier=name, properties={"region": run.inputs["region"]})
    run.link(f"https://git.example/{name}")
    return Succeeded("made by Python")


async def coroutine(run: Run) -> Succeeded:
    run.log(f"in {threading.current_thread().name}, run {run.run_id}, action {run.invocation.action}")
    run.status_label("half-way")
    run.external_run_id("job-7")
    await run.upsert_entity("service", identifier="from-python", title="From Python", properties={"tier": 1})
    await run.patch_entity("service", identifier="from-python", properties={"tier": 2})
    return Succeeded("all done")


def function(run: Run) -> Succeeded:
    """In a thread: the calls that the coroutine awaits are plain ones here."""
    run.log(f"in {threading.current_thread().name}")
    run.link("https://sync.example/")
    return Succeeded("done in a thread")


async def raising(run: Run) -> None:
    run.log("about to fail")
    raise LookupError("no such cluster: blue")


def raising_in_thread(run: Run) -> None:
    run.log("about to fail")
    raise LookupError("no such cluster: green")


async def failing(_run: Run) -> Failed:
    return Failed("the quota is used up")


async def loose(run: Any) -> Any:
    """Puts no texts where texts belong."""
    run.log(ValueError("an exception"))
    run.link(123)
    run.summary(None)
    return Failed({"code": 7})  # type: ignore[arg-type]  # as people write it


async def forgetful(run: Run) -> str:
    run.upsert_entity("service", identifier="forgotten")  # type: ignore[unused-coroutine]  # the mistake
    return "all done"


async def looking_up(run: Run) -> object:
    return run.inputs["b"]


async def holding_threads(run: Run) -> None:
    """Takes all threads that there are for actions, for longer than any test."""
    run.log("began")
    await asyncio.gather(*(asyncio.to_thread(time.sleep, 300) for _ in range(100)))


async def resisting(_run: Run) -> None:
    """Leaves a task that nothing ends."""

    async def resist() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    _resisting.add(asyncio.create_task(resist()))


_resisting = set[asyncio.Task[None]]()


async def blocking(_run: Run) -> None:
    time.sleep(1.5)  # noqa: ASYNC251 - the mistake


async def patching_nothing(run: Run) -> Outcome:
    try:
        await run.patch_entity("service", identifier="nobody-made-it", properties={})
    except EntityRefusedError as error:
        return Failed(f"refused: {error}")
    return Succeeded()


async def endless(run: Run) -> None:
    run.log("began")
    try:
        await asyncio.Event().wait()
    finally:
        run.log("cleaned up")


async def telling_the_agents_log(run: Run) -> Succeeded:
    """Has an input, and a secret that its route declares, logged by a library, and by a task nobody waits for."""
    texts = (str(run.inputs["password"]), os.environ["DECLARED_SECRET"])
    for text in texts:
        logging.getLogger("some.library").error("cannot log in with %s", text)

    async def broken() -> None:
        raise RuntimeError(" ".join(texts))

    await asyncio.wait([asyncio.create_task(broken())])
    gc.collect()
    return Succeeded()


async def leaving(run: Run) -> Succeeded:
    """Has a task that nobody waits for end the interpreter, as a library made for the command line does."""

    async def stray() -> None:
        sys.exit(0)

    task = asyncio.create_task(stray())
    run.log("somebody will end the interpreter")
    await asyncio.sleep(60)
    return Succeeded(str(task))


async def telling_secrets(run: Run) -> Succeeded:
    """Says an input in every way that a run can say anything."""
    secret = str(run.inputs["password"])
    run.log(f"the password is {secret}")
    run.link(f"https://target.example/?password={secret}")
    run.status_label(f"label {secret}")
    run.external_run_id(f"id {secret}")
    await run.upsert_entity("service", identifier="told", title=f"title {secret}", properties={"p": secret})
    return Succeeded(f"summary {secret}")


async def nothing(_run: Run) -> None:
    """Ends at once, and well."""


async def saying_it_everywhere(run: Run) -> Failed:
    """Says a text in every way that a run can say anything; ends as it is told to."""
    text = str(run.inputs["text"])
    run.log(text)
    run.link(f"https://target.example/{text}")
    run.status_label(text)
    run.external_run_id(text)
    run.output("mine", text)
    logging.getLogger("some.library").error("the library says %s", text)
    await run.upsert_entity("service", identifier="told", title=text, properties={"p": [text], text: 1})
    if run.inputs["end"] == "raised":
        raise ValueError(text)
    return Failed(text)


async def masking_late(run: Run) -> None:
    """Writes a value, then declares it secret, then writes it again."""
    value = str(run.inputs["value"])
    stream = run.stream("late")
    stream.write(f"{value}\nnow ".encode())
    run.mask(value)
    stream.write(f"{value}\n".encode())
    stream.close()
    run.log(value)


async def chatty(run: Run) -> None:
    for number in range(20_000):
        run.log(f"line {number} of a chatty tool")
    run.output("size", 3)


def chatty_in_thread(run: SyncRun) -> None:
    with contextlib.closing(run.stream("chatty")) as stream:
        for start in range(0, 20_000, 1_000):
            lines = (f"line {number} of a chatty tool\n" for number in range(start, start + 1_000))
            stream.write("".join(lines).encode())
    run.output("size", 3)


def endless_in_thread(run: SyncRun) -> None:
    run.log("began")
    while True:
        time.sleep(0.02)
        run.masked("still there?")


def failing_in_thread(_run: SyncRun) -> Failed:
    return Failed("the quota is used up")


async def trace_of(run: Run) -> Succeeded:
    return Succeeded(f"{run.traceparent}")


def trace_of_in_thread(run: SyncRun) -> Succeeded:
    return Succeeded(f"{run.traceparent}")


async def modules_of_traces(_run: Run) -> Succeeded:
    return Succeeded(" ".join(name for name in sys.modules if name.startswith(("opentelemetry", "google"))))
