"""What the stand-in remembers: runs, log lines, writes to the catalogue, requests. Plain values for assertions."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from agent.domain.invocation import NODE_RUN_PREFIX
from agent.domain.json import Json, JsonObject

IN_PROGRESS = "IN_PROGRESS"


@dataclass(slots=True)
class LogLine:
    """One accepted log request's message. ``level`` is ``None`` for action runs, which know no levels."""

    id: str
    message: str
    created_at: str
    level: str | None = None


@dataclass(slots=True)
class EntityWrite:
    """One accepted change to the catalogue. ``verb``: create, upsert, merge, patch or delete."""

    verb: str
    blueprint: str
    identifier: str
    body: JsonObject
    run_id: str | None


@dataclass(slots=True)
class RunRecord:
    """One run as Port would know it.

    ``terminal_statuses`` holds every terminal status that was accepted, in order (one, if all is well);
    ``refused_statuses`` those that came when the run was already over. For node runs ``status`` is
    IN_PROGRESS or COMPLETED, the terminal status is ``result``, and ``output`` what the node gave.
    """

    id: str
    action: str | None = None
    inputs: JsonObject = field(default_factory=dict)
    blueprint: str | None = None
    entity: str | None = None
    status: str = IN_PROGRESS
    status_label: str | None = None
    summary: str | None = None
    external_run_id: str | None = None
    links: list[str] = field(default_factory=list)
    response: Json = None
    result: str | None = None
    output: JsonObject | None = None
    created_at: str = ""
    ended_at: str | None = None
    terminal_statuses: list[str] = field(default_factory=list)
    refused_statuses: list[str] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    entities: list[EntityWrite] = field(default_factory=list)

    @property
    def is_node_run(self) -> bool:
        """Whether this is a node of a workflow, with routes of its own."""
        return self.id.startswith(NODE_RUN_PREFIX)

    @property
    def duration_s(self) -> float | None:
        """Seconds from the run's begin to its end; ``None`` while it goes on."""
        if self.ended_at is None:
            return None
        return (datetime.fromisoformat(self.ended_at) - datetime.fromisoformat(self.created_at)).total_seconds()

    @property
    def log_text(self) -> str:
        """All messages, one after another, each on its own line."""
        return "\n".join(line.message for line in self.logs)

    @property
    def log_line_count(self) -> int:
        """How many lines all messages have together."""
        return sum(len(line.message.splitlines()) for line in self.logs)

    def to_json(self) -> dict[str, Any]:
        """Everything, under the attributes' names."""
        return asdict(self)

    def to_api(self, version: str = "v2") -> dict[str, Any]:
        """The run as ``GET /v1/actions/runs/{id}`` shows it; v1 gives names where v2 gives objects."""
        shown: dict[str, Any] = {
            "id": self.id,
            "status": self.status,
            "statusLabel": self.status_label,
            "action": self._named(self.action or "unknown", version),
            "properties": dict(self.inputs),
            "source": "UI",
            "requiredApproval": False,
            "link": list(self.links),
            "createdAt": self.created_at,
            "createdBy": "sandbox",
            "updatedBy": "sandbox",
        }
        optional = {
            "summary": self.summary,
            "externalRunId": self.external_run_id,
            "response": self.response,
            "endedAt": self.ended_at,
            "blueprint": self._named(self.blueprint, version),
            "entity": self._named(self.entity, version),
        }
        return shown | {key: value for key, value in optional.items() if value is not None}

    def to_node_api(self) -> dict[str, Any]:
        """The node run as the workflow routes show it."""
        return {
            "identifier": self.id,
            "status": self.status,
            "result": self.result,
            "output": self.output,
            "externalRunId": self.external_run_id,
            "links": list(self.links),
        }

    @staticmethod
    def _named(identifier: str | None, version: str) -> Json:
        if identifier is None or version == "v1":
            return identifier
        return {"identifier": identifier, "title": identifier, "icon": None, "deleted": False}


@dataclass(slots=True)
class RequestRecord:
    """One request as it came. ``status`` is ``None`` where no answer was given: hung, reset or dropped.

    ``path`` is without the query; ``headers`` have lower-case names; ``body`` is parsed JSON, or the text where
    it is none; ``at_s`` is epoch seconds; ``applied`` says whether it reached the ledger's rules at all,
    ``oversized`` that its body was over the limit and was not kept, ``stray`` that there is no such route.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Json
    at_s: float
    run_id: str | None = None
    status: int | None = None
    applied: bool = False
    oversized: bool = False
    stray: bool = False

    def to_json(self) -> dict[str, Any]:
        """Everything, under the attributes' names."""
        return asdict(self)
