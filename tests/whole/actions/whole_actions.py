"""Python actions for the tests of the whole, found through AGENT_PYTHONPATH."""

from __future__ import annotations

import asyncio
import threading

from agent import EntityRefusedError, Failed, Outcome, Run, Succeeded


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


async def telling_secrets(run: Run) -> Succeeded:
    """Says an input in every way that a run can say anything."""
    secret = str(run.inputs["password"])
    run.log(f"the password is {secret}")
    run.link(f"https://target.example/?password={secret}")
    run.status_label(f"label {secret}")
    run.external_run_id(f"id {secret}")
    await run.upsert_entity("service", identifier="told", title=f"title {secret}", properties={"p": secret})
    return Succeeded(f"summary {secret}")
