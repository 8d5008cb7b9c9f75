"""The quarantine that the settings want."""

from __future__ import annotations

from agent.observability.quarantine import NoQuarantine, QuarantineFile
from agent.ports import Clock, Observer
from agent.settings import Settings


def open_quarantine(settings: Settings, observer: Observer, clock: Clock) -> QuarantineFile | NoQuarantine:
    """A file under the state directory, or nothing where `AGENT_QUARANTINE_MAX_BYTES` is 0."""
    max_bytes = settings.AGENT_QUARANTINE_MAX_BYTES
    if not max_bytes:
        return NoQuarantine()
    return QuarantineFile(settings.AGENT_STATE_DIR / "quarantine.jsonl", max_bytes, observer, clock)
