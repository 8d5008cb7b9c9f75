"""Takes what a command wrote into ``$AGENT_OUTPUT`` and tells it to the run."""

from __future__ import annotations

import os
import stat
from io import FileIO
from pathlib import Path
from typing import assert_never

from agent.domain.errors import EntityRefusedError
from agent.domain.route import EntityVerb
from agent.executors.outputs import Complaint, EntityRequest, Outputs, parse_outputs
from agent.ports import RunContext

MAX_BYTES = 1024 * 1024


def read_outputs(path: Path) -> Outputs:
    """What stands in the file at ``path``, which a command may have replaced by anything. Never raises.

    Follows no link and waits for nobody; a file that is gone says nothing.
    """
    try:
        with FileIO(path, opener=_open_unfollowed) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return _unusable("is not a regular file")
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Outputs()
    except OSError as error:
        return _unusable(f"cannot be read: {error.strerror}")
    if len(content) > MAX_BYTES:
        return _unusable(f"is larger than {MAX_BYTES // 1024} KiB")
    return parse_outputs(content)


def tell(outputs: Outputs, run: RunContext) -> None:
    """Tells ``run`` all but the entities, and logs what could not be used."""
    for complaint in outputs.complaints:
        run.log(str(complaint), level="WARN")
    if outputs.more_complaints:
        run.log(f"$AGENT_OUTPUT: {outputs.more_complaints} more lines could not be used", level="WARN")
    for link in outputs.links:
        run.link(link)
    if outputs.summary is not None:
        run.summary(outputs.summary)
    if outputs.status_label is not None:
        run.status_label(outputs.status_label)
    if outputs.external_run_id is not None:
        run.external_run_id(outputs.external_run_id)
    for name, value in outputs.values.items():
        run.output(name, value)


async def write_entities(outputs: Outputs, run: RunContext) -> str | None:
    """Writes all entities, in their order; what is wrong with the first that is not there, or ``None``."""
    wrong = [str(complaint) for complaint in outputs.complaints if complaint.grave]
    for request in outputs.entities:
        try:
            await _write(request, run)
        except EntityRefusedError as error:
            wrong.append(f"entity {request.identifier or '(new)'} of {request.blueprint}: {error}")
            run.log(wrong[-1], level="ERROR")
    return wrong[0] if wrong else None


async def _write(request: EntityRequest, run: RunContext) -> None:
    match request.verb:
        case EntityVerb.UPSERT:
            await run.upsert_entity(request.blueprint, identifier=request.identifier, **request.parts)
        case EntityVerb.PATCH:
            await run.patch_entity(request.blueprint, identifier=request.identifier or "", **request.parts)
        case EntityVerb.DELETE:
            await run.delete_entity(request.blueprint, identifier=request.identifier or "")
        case _:
            assert_never(request.verb)


def _unusable(what: str) -> Outputs:
    """An entity may be lost with the file."""
    return Outputs(complaints=[Complaint(None, what, grave=True)])


def _open_unfollowed(path: str, flags: int) -> int:
    """Neither through a link nor waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
