"""Tells Port where this organisation's agent takes messages from, as the official agent does."""

from __future__ import annotations

import structlog

from agent.domain.settlement import Refused, Undelivered
from agent.runs_api.client import RunsClient

log = structlog.get_logger(__name__)

_GIVE_UP_S = 60.0
"""Nothing of ours depends on it: Port shows it, and the next start tells it again."""


async def introduce(client: RunsClient, streamer: str) -> None:
    """Says ``streamer`` (KAFKA or POLLING) once, with retries for a minute; a failure is one warning."""
    match await client.tell_streamer(streamer, _GIVE_UP_S):
        case None:
            log.info("told Port where messages come from", streamer=streamer)
            return
        case Refused(status_code, message):
            reason = f"Port refused it: HTTP {status_code}: {message}"
        case Undelivered(why):
            reason = why
    hint = "runs are not affected; Port's settings may show another streamer until the next start"
    log.warning("could not tell Port where messages come from", streamer=streamer, reason=reason, hint=hint)
