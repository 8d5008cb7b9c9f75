"""The run as its executor sees it: the one implementation of `RunContext` in the agent itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Unpack

from agent.dispatch.workspace import Workspace
from agent.domain.events import RunRetried
from agent.domain.invocation import Invocation, RunId, View
from agent.domain.json import Json, JsonObject, as_object
from agent.domain.outcome import CancelReason
from agent.domain.route import EntityVerb, Route
from agent.ports import EntityParts, LogStream, Observer, RunReport, entity_change


class ActiveRun:
    """One execution. What it is told goes to the run's report, which masks it; see `agent.ports.RunContext`."""

    def __init__(
        self,
        invocation: Invocation,
        route: Route,
        report: RunReport,
        workspace: Workspace,
        observer: Observer,
        deadline_s: float,
        attempt: int = 1,
        traceparent: str | None = None,
    ) -> None:
        self._invocation = invocation
        self._route = route
        self._report = report
        self._workspace = workspace
        self._observer = observer
        self._deadline_s = deadline_s
        self._attempt = attempt
        self._traceparent = traceparent
        self._view: View | None = None
        self._stopped: asyncio.Future[CancelReason] = asyncio.get_running_loop().create_future()
        self._outputs: dict[str, Json] = {}
        self._exchange: dict[str, Json] = {}

    @property
    def run_id(self) -> RunId | None:
        """Port's id of the run."""
        return self._invocation.run_id

    @property
    def route(self) -> str:
        """The route's name."""
        return self._route.name

    @property
    def attempt(self) -> int:
        """Which execution of the run this is."""
        return self._attempt

    @property
    def invocation(self) -> Invocation:
        """The message, with opened inputs."""
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
        """What templates see before the execution; made when first asked for."""
        if self._view is None:
            self._view = _view(self._invocation, self._attempt)
        return self._view

    @property
    def view_after(self) -> View:
        """What report and entity templates see after it: also ``.outputs``, ``.request`` and ``.response``."""
        exchange = {"request": None, "response": None, **self._exchange}
        return self.view.extended(outputs=dict(self._outputs), **exchange)

    @property
    def workspace(self) -> Path:
        """The run's private directory."""
        return self._workspace.path

    @property
    def deadline_s(self) -> float:
        """When the run is timed out (monotonic)."""
        return self._deadline_s

    @property
    def cancellation(self) -> CancelReason | None:
        """Why the run is being stopped."""
        return self._stopped.result() if self._stopped.done() else None

    @property
    def traceparent(self) -> str | None:
        """The execution's place in the run's trace."""
        return self._traceparent

    @property
    def stopped(self) -> asyncio.Future[CancelReason]:
        """Done once the run is to be stopped; for whoever supervises the executor."""
        return self._stopped

    def stop(self, reason: CancelReason) -> None:
        """Asks for the run's end; the first reason wins. Of one that was closed in Port nothing more is told."""
        if not self._stopped.done():
            self._stopped.set_result(reason)
            if reason is CancelReason.CLOSED_IN_PORT:
                self._report.abandon()

    def log(self, message: str, *, level: str = "INFO") -> None:
        """Adds to the run's log; what is no text, such as an exception, is made one."""
        self._report.log(str(message), level)

    def traceback(self, text: str) -> None:
        """Adds it to the run's log where the route says ``traceback: true``."""
        if self._route.traceback:
            self.log(text, level="ERROR")

    def stream(self, name: str) -> LogStream:
        """Opens a stream into the run's log."""
        return self._report.stream(name)

    def mask(self, secret: str) -> None:
        """Masks a further secret."""
        self._report.mask(str(secret))

    def masked(self, text: str, *, is_cut: bool = False) -> str:
        """The text without secrets."""
        return self._report.masked(str(text), is_cut=is_cut)

    def link(self, url: str) -> None:
        """Adds a link."""
        self._report.link(url)

    def summary(self, text: str) -> None:
        """Sets the summary."""
        self._report.summary(text)

    def status_label(self, text: str) -> None:
        """Sets the label."""
        self._report.status_label(text)

    def external_run_id(self, value: str) -> None:
        """Sets the external id."""
        self._report.external_run_id(value)

    def output(self, name: str, value: Json) -> None:
        """Adds a named result."""
        self._outputs[str(name)] = value
        self._report.output(str(name), value)

    def response(self, request: JsonObject, response: JsonObject) -> None:
        """Keeps an exchange for the report templates, and the response for Port if somebody waits for it there."""
        self._exchange = {"request": request, "response": response}
        if self._invocation.method.synchronized:
            self._report.response(response)

    def retried(self, reason: str) -> None:
        """States a retry."""
        self._observer.notify(RunRetried(self._route.executor, reason))

    async def upsert_entity(
        self, blueprint: str, *, identifier: str | None = None, **parts: Unpack[EntityParts]
    ) -> None:
        """Creates or merges an entity."""
        await self._change(EntityVerb.UPSERT, blueprint, identifier, parts)

    async def patch_entity(self, blueprint: str, *, identifier: str, **parts: Unpack[EntityParts]) -> None:
        """Changes parts of an entity."""
        await self._change(EntityVerb.PATCH, blueprint, identifier, parts)

    async def delete_entity(self, blueprint: str, *, identifier: str) -> None:
        """Deletes an entity."""
        await self._change(EntityVerb.DELETE, blueprint, identifier, {})

    async def _change(self, verb: EntityVerb, blueprint: str, identifier: str | None, parts: EntityParts) -> None:
        await self._report.change_entity(entity_change(verb, blueprint, identifier, parts))


def _view(invocation: Invocation, attempt: int) -> View:
    view = invocation.view
    return view if attempt == 1 else view.extended(run={**as_object(view.value["run"]), "attempt": attempt})
