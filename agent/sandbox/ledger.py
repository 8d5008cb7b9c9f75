"""The stand-in's memory and rules: which change to which run, entity or log Port would take. No network here."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from agent.domain.invocation import NODE_RUN_PREFIX
from agent.domain.json import Json, JsonObject
from agent.sandbox.pending import PendingRuns
from agent.sandbox.records import IN_PROGRESS, EntityWrite, LogLine, RequestRecord, RunRecord


class Refusal(Exception):  # noqa: N818 - Port's answer, not a failure of the stand-in
    """Port's no: HTTP ``status``, the ``code`` of its error body, and a message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Ledger:
    """Everything that reached the stand-in, for assertions. Belongs to one event loop's thread.

    ``create_on_first_touch``: a run nobody created begins when it is first named, in place of a 404.
    ``closed_status`` is the HTTP status for touching a finished run; Port's own is not documented.
    """

    def __init__(self, *, create_on_first_touch: bool = False, closed_status: int = 409) -> None:
        self.runs: dict[str, RunRecord] = {}
        self.requests: list[RequestRecord] = []
        self.strays: list[str] = []
        """Method and path of the requests to routes that Port does not have: whoever sent them went astray."""
        self.pending = PendingRuns()
        self.catalogue: dict[tuple[str, str], dict[str, Json]] = {}
        self.create_on_first_touch = create_on_first_touch
        self.closed_status = closed_status
        self._requests_by_run: Counter[str] = Counter()
        self.version = 0
        self._changed = asyncio.Event()

    # ── for tests and for the page ───────────────────────────────────────────────────────────────────

    def create_run(
        self,
        action: str,
        inputs: JsonObject | None = None,
        *,
        run_id: str | None = None,
        blueprint: str | None = None,
        entity: str | None = None,
        status: str = IN_PROGRESS,
        pending: JsonObject | None = None,
    ) -> str:
        """Begins a run, as a click in Port's page would, and returns its id (``wfnr_…`` makes it a node run).

        ``pending`` is its rendered invocation method: then it may be claimed by agents that poll.
        """
        run_id = run_id or new_run_id()
        self.runs[run_id] = RunRecord(
            run_id, action, dict(inputs or {}), blueprint, entity, status, created_at=_timestamp()
        )
        if pending is not None:
            self.pending.add(run_id, pending)
        self.touch()
        return run_id

    def unfinished(self) -> list[str]:
        """Ids of the runs without a terminal status."""
        return [run.id for run in self.runs.values() if not run.terminal_statuses]

    def counts(self) -> dict[str, Any]:
        """How many runs there are by terminal status, and how many have none or several: cheap to ask often.

        ``strays`` are the requests that nobody should have sent.
        """
        statuses = Counter(run.terminal_statuses[-1] for run in self.runs.values() if run.terminal_statuses)
        return {
            "runs": len(self.runs),
            "requests": len(self.requests),
            "strays": self.strays,
            "terminal": dict(statuses),
            "unfinished": len(self.unfinished()),
            "finished_twice": [run.id for run in self.runs.values() if len(run.terminal_statuses) > 1],
        }

    def requests_to(self, path: str, method: str = "*") -> list[RequestRecord]:
        """The requests whose path fits the glob, in order of arrival."""
        return [r for r in self.requests if method in ("*", r.method) and fnmatchcase(r.path, path)]

    def record(self, request: RequestRecord) -> None:
        """Takes a request into the list as it comes in."""
        self.requests.append(request)
        if request.stray:
            self.strays.append(f"{request.method} {request.path}")
        if request.run_id is not None:
            self._requests_by_run[request.run_id] += 1

    def requests_of(self, run_id: str) -> int:
        """How many requests named this run, whatever became of them."""
        return self._requests_by_run[run_id]

    async def wait_until(self, condition: Callable[[Ledger], bool], timeout_s: float = 10.0) -> None:
        """Returns as soon as ``condition`` holds; looks again after each change. Raises `TimeoutError`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not condition(self):
                    await self.changed(self.version)
        except TimeoutError:
            raise TimeoutError(
                f"the condition did not come true in {timeout_s:g} s: {self.counts()}, "
                f"unfinished: {self.unfinished()[:20]}"
            ) from None

    async def changed(self, since: int) -> None:
        """Waits until `version` is no longer ``since``: something here has changed."""
        while self.version == since:
            await self._changed.wait()

    def touch(self) -> None:
        """States a change: `version` goes up and everybody who waits for a change wakes."""
        self.version += 1
        before, self._changed = self._changed, asyncio.Event()
        before.set()

    def to_json(self) -> dict[str, Any]:
        """Everything, for tests in other processes."""
        return {
            "counts": self.counts(),
            "runs": {run.id: run.to_json() | {"requests": self.requests_of(run.id)} for run in self.runs.values()},
            "requests": [request.to_json() for request in self.requests],
            "catalogue": [
                {"blueprint": blueprint, "identifier": identifier, "body": body}
                for (blueprint, identifier), body in self.catalogue.items()
            ],
        }

    # ── rules ────────────────────────────────────────────────────────────────────────────────────────

    def run(self, run_id: str, *, node: bool = False) -> RunRecord:
        """The run, if it exists under this kind of route. Raises `Refusal` 404."""
        right_kind = run_id.startswith(NODE_RUN_PREFIX) == node
        if right_kind and run_id not in self.runs and self.create_on_first_touch:
            self.create_run("unknown", run_id=run_id)
        if not right_kind or run_id not in self.runs:
            raise Refusal(404, "not_found", f'Run with identifier "{run_id}" was not found')
        return self.runs[run_id]

    def claim(
        self, limit: int, visibility_s: float, *, nodes: bool = False, exclude: Collection[str] = ()
    ) -> list[dict[str, Any]]:
        """Pending runs of one kind that have not ended."""

        def is_open(run_id: str) -> bool:
            return self.runs[run_id].status == IN_PROGRESS

        return self.pending.claim(limit, visibility_s, is_open, nodes=nodes, exclude=exclude)

    def acknowledge(self, run_id: str, *, node: bool = False) -> None:
        """Takes a pending run for good. Raises `Refusal`: 404 for an unknown run, 409 if somebody has."""
        self.run(run_id, node=node)
        is_taken = self.pending.acknowledge(run_id)
        if is_taken is None:
            raise Refusal(404, "not_found", f'Run with identifier "{run_id}" is not pending')
        if not is_taken:
            raise Refusal(409, "already_acknowledged", f'Run "{run_id}" was acknowledged by another worker')

    def open_run(self, run_id: str, *, node: bool = False, status: str | None = None) -> RunRecord:
        """The run, if it may still be changed. Raises `Refusal`; a refused terminal ``status`` is noted."""
        run = self.run(run_id, node=node)
        if run.status != IN_PROGRESS:
            if status is not None:
                run.refused_statuses.append(status)
            raise Refusal(
                self.closed_status,
                "run_not_in_progress",
                f'Run "{run_id}" is {run.status} and can no longer be modified',
            )
        return run

    def patch_run(self, run_id: str, body: JsonObject) -> RunRecord:
        """Overwrites what ``body`` names; a status ends the run."""
        status = body.get("status")
        run = self.open_run(run_id, status=None if status is None else str(status))
        if "link" in body:
            link = body["link"]
            run.links = [link] if isinstance(link, str) else _strings(link)
        if "summary" in body:
            run.summary = str(body["summary"])
        if "externalRunId" in body:
            run.external_run_id = str(body["externalRunId"])
        self._label_and_end(run, body.get("statusLabel"), status)
        return run

    def add_log(self, run_id: str, body: JsonObject) -> LogLine:
        """Adds a message; a termination status ends the run."""
        status = body.get("terminationStatus")
        run = self.open_run(run_id, status=None if status is None else str(status))
        line = LogLine(_identifier("rl"), str(body["message"]), _timestamp())
        run.logs.append(line)
        self._label_and_end(run, body.get("statusLabel"), status)
        return line

    def set_response(self, run_id: str, response: Json) -> RunRecord:
        """Keeps the other side's answer with the run."""
        run = self.open_run(run_id)
        run.response = response
        return run

    def patch_node_run(self, run_id: str, body: JsonObject) -> RunRecord:
        """Overwrites what ``body`` names; COMPLETED ends the node run with its result."""
        result = str(body["result"]) if body.get("status") == "COMPLETED" else None
        run = self.open_run(run_id, node=True, status=result)
        self.add_node_logs(run_id, body.get("logs", []))
        if "output" in body and isinstance(output := body["output"], dict):
            run.output = output
        if "links" in body:
            run.links = _strings(body["links"])
        if "externalRunId" in body:
            run.external_run_id = str(body["externalRunId"])
        if result is not None:
            run.status, run.result, run.ended_at = "COMPLETED", result, _timestamp()
            run.terminal_statuses.append(result)
        return run

    def add_node_logs(self, run_id: str, lines: Json) -> RunRecord:
        """Adds lines with levels."""
        run = self.open_run(run_id, node=True)
        for line in lines if isinstance(lines, list) else []:
            run.logs.append(LogLine(_identifier("rl"), line["message"], _timestamp(), line["level"]))
        return run

    def write_entity(
        self, verb: str, blueprint: str, identifier: str | None, body: JsonObject, run_id: str | None
    ) -> JsonObject:
        """Applies one change to the catalogue, tied to a run in progress if ``run_id`` is given."""
        run = self.open_run(run_id) if run_id is not None else None
        key = (blueprint, identifier or _identifier("e"))
        self._check_existence(verb, key)
        before = self.catalogue.get(key, {})
        match verb:
            case "delete":
                del self.catalogue[key]
            case "create" | "upsert":
                self.catalogue[key] = {**body}
            case _:
                self.catalogue[key] = _merged(before, body)
        if run is not None:
            run.entities.append(EntityWrite(verb, key[0], key[1], dict(body), run_id))
        return {**self.catalogue.get(key, {}), "identifier": key[1], "blueprint": blueprint}

    def _check_existence(self, verb: str, key: tuple[str, str]) -> None:
        if verb in ("patch", "delete") and key not in self.catalogue:
            raise Refusal(404, "not_found", f'Entity with identifier "{key[1]}" was not found')
        if verb == "create" and key in self.catalogue:
            raise Refusal(409, "identifier_taken", f'An entity with identifier "{key[1]}" already exists')

    @staticmethod
    def _label_and_end(run: RunRecord, label: Json, status: Json) -> None:
        if label is not None:
            run.status_label = str(label)
        if status is not None:
            run.status, run.ended_at = str(status), _timestamp()
            run.terminal_statuses.append(run.status)


def new_run_id(prefix: str = "r_") -> str:
    """An id of the form that Port gives to runs."""
    return f"{prefix}{secrets.token_hex(8)}"


def _identifier(kind: str) -> str:
    return f"{kind}_{secrets.token_hex(8)}"


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _strings(values: Json) -> list[str]:
    return [str(value) for value in values] if isinstance(values, Iterable) else []


def _merged(before: JsonObject, change: JsonObject) -> dict[str, Json]:
    """``change`` over ``before``; properties and relations key by key."""
    merged = {**before, **change}
    for part in ("properties", "relations"):
        old, new = before.get(part), change.get(part)
        if isinstance(old, dict) and isinstance(new, dict):
            merged[part] = {**old, **new}
    return merged
