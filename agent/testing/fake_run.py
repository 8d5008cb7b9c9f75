"""A run that records everything."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

from agent.domain.errors import EntityRefusedError
from agent.domain.invocation import Invocation, InvocationKind, InvocationMethod, RunId, Trigger, View
from agent.domain.json import Json, JsonObject, as_text
from agent.domain.outcome import CancelReason
from agent.domain.redaction import Redactor
from agent.domain.route import EntityVerb
from agent.executors.sync_run import SyncRun
from agent.executors.unawaited import Unawaited, complaint
from agent.ports import EntityChange, EntityParts, LogStream, entity_change
from agent.testing.fake_log import FakeLog, FakeStream, LogLine

T = TypeVar("T")


class FakeRun:
    """A `RunContext` that records everything it is told, masked.

    ``refuse_entities``: every catalogue change fails with this text. ``log_max_bytes``: log beyond it is counted
    in `dropped_bytes` and forgotten. ``traceparent``: as if traces were on. The workspace is removed by `close`, or
    at the end of a ``with``; the latter fails where a change of the catalogue was never awaited.
    """

    def __init__(
        self,
        inputs: JsonObject | None = None,
        *,
        invocation: Invocation | None = None,
        refuse_entities: str | None = None,
        timeout_s: float = 3600.0,
        log_max_bytes: int = 1024 * 1024,
        traceparent: str | None = None,
    ) -> None:
        self._invocation = invocation or fake_invocation(inputs)
        self._workspace: Path | None = None
        self._refuse_entities = refuse_entities
        self._deadline_s = time.monotonic() + timeout_s
        self._log = FakeLog(log_max_bytes)
        self._redactor = Redactor()
        self._unawaited = Unawaited()
        self.cancellation: CancelReason | None = None
        self.traceparent = traceparent
        self.links: list[str] = []
        self.summaries: list[str] = []
        self.status_labels: list[str] = []
        self.external_run_ids: list[str] = []
        self.outputs: dict[str, Json] = {}
        self.exchanges: list[tuple[JsonObject, JsonObject]] = []
        self.retries: list[str] = []
        self.tracebacks: list[str] = []
        self.entity_changes: list[EntityChange] = []

    def __enter__(self) -> Self:
        """The run itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exception: object) -> None:
        """Removes the workspace. Raises `AssertionError` where a change of the catalogue was never awaited."""
        forgotten = self._unawaited.take()
        self.close()
        if forgotten and kind is None:
            raise AssertionError(complaint(forgotten))

    def close(self) -> None:
        """Removes the workspace. Idempotent."""
        self._unawaited.take()
        if self._workspace is not None:
            shutil.rmtree(self._workspace, ignore_errors=True)
            self._workspace = None

    @property
    def sync(self) -> SyncRun:
        """The same run for a synchronous action, to be called in the test's own thread."""
        return SyncRun(self, _at_once)

    @property
    def lines(self) -> list[LogLine]:
        """The log, as far as it fitted."""
        return self._log.lines

    @property
    def dropped_bytes(self) -> int:
        """How much of the log did not fit."""
        return self._log.dropped_bytes

    @property
    def logged_bytes(self) -> int:
        """How much log there was, whether it fitted or not; without line ends."""
        return sum(len(line.text.encode(errors="replace")) for line in self.lines) + self.dropped_bytes

    @property
    def log_text(self) -> str:
        """All lines of the log, joined by line feeds."""
        return "\n".join(line.text for line in self.lines)

    # ── RunContext ───────────────────────────────────────────────────────────────────────────────────

    @property
    def run_id(self) -> RunId | None:
        """The run's id."""
        return self._invocation.run_id

    @property
    def route(self) -> str:
        """The route's name."""
        return "fake"

    @property
    def attempt(self) -> int:
        """Always the first."""
        return 1

    @property
    def invocation(self) -> Invocation:
        """The message."""
        return self._invocation

    @property
    def inputs(self) -> JsonObject:
        """The user's inputs."""
        return self._invocation.inputs

    @property
    def entity(self) -> JsonObject | None:
        """The entity of the invocation."""
        return self._invocation.entity

    @property
    def view(self) -> View:
        """What templates see."""
        return self._invocation.view

    @property
    def workspace(self) -> Path:
        """A temporary directory, made at first use."""
        if self._workspace is None:
            self._workspace = Path(tempfile.mkdtemp(prefix="fake-run-"))
        return self._workspace

    @property
    def deadline_s(self) -> float:
        """``timeout_s`` after the construction (monotonic)."""
        return self._deadline_s

    def log(self, message: str, *, level: str = "INFO") -> None:
        """Records lines; what is no text, such as an exception, as it prints."""
        for line in self.masked(str(message)).splitlines() or [""]:
            self._log.add(LogLine(line, level))

    def traceback(self, text: str) -> None:
        """Records a traceback."""
        self.tracebacks.append(self.masked(text))

    def stream(self, name: str) -> LogStream:
        """A stream whose complete lines are recorded."""
        return FakeStream(name, self._redactor.stream(), self._log)

    def mask(self, secret: str) -> None:
        """Masks ``secret`` from now on."""
        self._redactor.add(str(secret))

    def masked(self, text: str, *, is_cut: bool = False) -> str:
        """``text`` without the secrets that are known by now."""
        return self._redactor.mask_text(str(text), is_cut=is_cut)

    def link(self, url: str) -> None:
        """Records a link, once, or every link of a list; null is none."""
        given: Json = url
        for item in given if isinstance(given, list | tuple) else [given]:
            self._record(self.links, item)
        self.links[:] = filter(None, dict.fromkeys(link.strip() for link in self.links))

    def summary(self, text: str) -> None:
        """Records a summary."""
        self._record(self.summaries, text)

    def status_label(self, text: str) -> None:
        """Records a label."""
        self._record(self.status_labels, text)

    def external_run_id(self, value: str) -> None:
        """Records an external id."""
        self._record(self.external_run_ids, value)

    def output(self, name: str, value: Json) -> None:
        """Records an output."""
        self.outputs[str(name)] = self._redactor.mask_json(value)

    def response(self, request: JsonObject, response: JsonObject) -> None:
        """Records an exchange."""
        self.exchanges.append((request, response))

    def retried(self, reason: str) -> None:
        """Records a retry."""
        self.retries.append(reason)

    def upsert_entity(
        self, blueprint: str, *, identifier: str | None = None, **parts: Unpack[EntityParts]
    ) -> Coroutine[Any, Any, None]:
        """Records the change, or refuses it, once it is awaited."""
        change = self._change(EntityVerb.UPSERT, blueprint, identifier, **parts)
        return self._unawaited.note("upsert_entity", change)

    def patch_entity(
        self, blueprint: str, *, identifier: str, **parts: Unpack[EntityParts]
    ) -> Coroutine[Any, Any, None]:
        """Records the change, or refuses it, once it is awaited."""
        change = self._change(EntityVerb.PATCH, blueprint, identifier, **parts)
        return self._unawaited.note("patch_entity", change)

    def delete_entity(self, blueprint: str, *, identifier: str) -> Coroutine[Any, Any, None]:
        """Records the change, or refuses it, once it is awaited."""
        return self._unawaited.note("delete_entity", self._change(EntityVerb.DELETE, blueprint, identifier))

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _record(self, told: list[str], value: Json) -> None:
        """As the agent does: strings stay, null says nothing, everything else becomes text."""
        if value is not None:
            told.append(as_text(self._redactor.mask_json(value)))

    async def _change(
        self, verb: EntityVerb, blueprint: str, identifier: str | None, **parts: Unpack[EntityParts]
    ) -> None:
        if self._refuse_entities is not None:
            raise EntityRefusedError(self._refuse_entities)
        self.entity_changes.append(entity_change(verb, blueprint, identifier, parts))


def fake_invocation(
    inputs: JsonObject | None = None,
    *,
    action: str = "create_microservice",
    blueprint: str = "microservice",
    run_id: str | None = "r_0000000000000001",
    entity: JsonObject | None = None,
    method: InvocationMethod | None = None,
) -> Invocation:
    """An action run as a user would start it from Port's page."""
    return Invocation(
        kind=InvocationKind.ACTION_RUN,
        run_id=RunId(run_id) if run_id is not None else None,
        action=action,
        blueprint=blueprint,
        trigger=Trigger(user_email="ada@example.com", origin="UI"),
        entity=entity,
        entity_id=None,
        inputs=inputs or {},
        method=method or InvocationMethod(type="KAFKA"),
        document={"payload": {"properties": inputs or {}}},
    )


def _at_once(work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
    """An `Ask` without a loop: a fake run never waits."""
    try:
        work().send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("a fake run does not wait for anything")
