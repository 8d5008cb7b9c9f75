"""Example Python actions: a coroutine and a plain function. Found through AGENT_PYTHONPATH."""  # noqa: INP001 - a user's module, not a package of the product

from __future__ import annotations

import asyncio
import time

from agent import Run, Succeeded


async def scaffold(run: Run) -> Succeeded:
    """Creates a repository, step by step, and tells Port while it does."""
    name, language = str(run.inputs["repository"]), str(run.inputs["language"])
    for step in ("creating the repository", f"rendering the {language} template", "pushing the first commit"):
        run.status_label(step)
        run.log(step)
        await asyncio.sleep(0.5)
    await run.upsert_entity("repository", identifier=name, title=name, properties={"language": language})
    run.link(f"https://git.sandbox.example/{name}")
    run.status_label("scaffolded")
    return Succeeded(f"{name} is ready")


def rotate(run: Run) -> Succeeded:
    """Sets a password; the log shows that secret inputs stay secret. Runs in a thread, as it may block."""
    user, password = str(run.inputs["user"]), str(run.inputs["password"])
    run.log(f"setting the password of {user} to {password}")
    time.sleep(0.5)
    run.log(f"{user} can log in")
    return Succeeded(f"{user} has a new password")
