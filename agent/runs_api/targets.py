"""What is said about a run, in the two dialects of Port's API: action runs and nodes of workflows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from agent.domain.invocation import InvocationKind, RunId
from agent.domain.json import Json, as_text
from agent.domain.outcome import Conclusion, RunStatus
from agent.runs_api import wire
from agent.runs_api.details import Details
from agent.runs_api.log_buffer import Batch

_REST_REFUSED = "(Port refused links, outputs or other details of this report; all of them are left out.)"


class Target(Protocol):
    """Makes the requests of one run."""

    @property
    def entity_tie(self) -> RunId | None:
        """What a catalogue change names as its run."""

    def log(self, batch: Batch) -> wire.Request:
        """Adds lines."""

    def update(self, details: Details) -> wire.Request | None:
        """Tells details while the run goes on; ``None`` if there is nothing that could be told."""

    def response(self, data: Json) -> wire.Request | None:
        """Gives the answer of a synchronous call before the end; ``None`` where it goes with the end."""

    def response_output(self, status_code: Json, data: Json) -> Json:
        """The same as the output ``response``; ``None`` where it is none."""

    def conclude(self, details: Details, conclusion: Conclusion) -> list[wire.Request]:
        """Tells the end, with the details: requests to try in turn while Port refuses their form.

        Empty if there is nothing to tell. Each says less than the one before, the last one no more than the
        status: a link that Port does not like must not leave the run open for ever.
        """


class ActionRun:
    """An action's run, which has a label and a summary, and whose outputs stay with us."""

    def __init__(self, run_id: RunId) -> None:
        self._run_id = run_id

    @property
    def entity_tie(self) -> RunId | None:
        """The run: its page lists what it changed."""
        return self._run_id

    def log(self, batch: Batch) -> wire.Request:
        """One message of many lines; levels are not shown."""
        return wire.add_run_log(self._run_id, batch.text)

    def update(self, details: Details) -> wire.Request | None:
        """All details but outputs."""
        request = self._patch(details, None)
        return request if request.body else None

    def response(self, data: Json) -> wire.Request | None:
        """What Port keeps with the run: an object, an array or a text, if there is anything."""
        if not data:
            return None
        return wire.set_run_response(self._run_id, data if isinstance(data, dict | list) else as_text(data))

    def response_output(self, status_code: Json, data: Json) -> Json:  # noqa: ARG002 - nodes have outputs
        """None."""
        return None

    def conclude(self, details: Details, conclusion: Conclusion) -> list[wire.Request]:
        """The status with everything, with the summary, alone."""
        return _less_and_less(lambda told: self._patch(told, conclusion.status), details)

    def _patch(self, details: Details, status: RunStatus | None) -> wire.Request:
        return wire.patch_run(
            self._run_id,
            status=status,
            status_label=details.status_label,
            links=details.links,
            summary=details.summary,
            external_run_id=details.external_run_id,
        )


class NodeRun:
    """A workflow node's run, which has outputs, and in place of a summary a last log entry. It has no label."""

    def __init__(self, run_id: RunId) -> None:
        self._run_id = run_id

    @property
    def entity_tie(self) -> RunId | None:
        """None: Port ties catalogue changes to action runs only."""
        return None

    def log(self, batch: Batch) -> wire.Request:
        """One entry per stretch of lines with the same level."""
        return wire.add_node_run_logs(self._run_id, [wire.NodeLog(b.level, b.text) for b in batch.blocks])

    def update(self, details: Details) -> wire.Request | None:
        """Links and the external id."""
        if not details.links and details.external_run_id is None:
            return None
        return wire.patch_node_run(self._run_id, links=details.links, external_run_id=details.external_run_id)

    def response(self, data: Json) -> wire.Request | None:  # noqa: ARG002 - it is an output here
        """None."""
        return None

    def response_output(self, status_code: Json, data: Json) -> Json:
        """What later nodes of the workflow read."""
        return {"status": status_code, "data": data or {}}

    def conclude(self, details: Details, conclusion: Conclusion) -> list[wire.Request]:
        """The result with everything, with the summary, alone.

        Where the run has no external id, its own becomes it: that is how `agent.runs_api.lookup` finds it again.
        """
        result = _node_result(conclusion)
        if result is not None and details.external_run_id is None:
            details = replace(details, external_run_id=self._run_id)
        return _less_and_less(lambda told: self._patch(told, result), details)

    def _patch(self, details: Details, result: wire.NodeResult | None) -> wire.Request:
        level = "INFO" if result in (None, wire.NodeResult.SUCCESS) else "ERROR"
        return wire.patch_node_run(
            self._run_id,
            result=result,
            output=details.outputs,
            logs=[wire.NodeLog(level, details.summary)] if details.summary else (),
            links=details.links,
            external_run_id=details.external_run_id,
        )


def target_of(run_id: RunId | None, kind: InvocationKind) -> Target | None:
    """The run's dialect; ``None`` where there is no run, nor can be one of this id."""
    if run_id is None or not wire.is_identifier(run_id):
        return None
    return NodeRun(run_id) if kind is InvocationKind.NODE_RUN else ActionRun(run_id)


def _less_and_less(patch: Callable[[Details], wire.Request], details: Details) -> list[wire.Request]:
    """``patch`` of all details, of the summary and a word on the rest, of none; nothing twice, nothing empty."""
    everything = patch(details)
    requests = [everything]
    summary, nothing = Details(summary=details.summary), Details()
    if details != summary and everything != patch(summary):  # most runs have no more than a summary to tell
        words = f"{details.summary or ''}\n\n{_REST_REFUSED}".strip()
        requests.append(patch(Details(summary=words)))
    if details != nothing and everything != (least := patch(nothing)):
        requests.append(least)
    return [request for request in requests if request.body]


def _node_result(conclusion: Conclusion) -> wire.NodeResult | None:
    if conclusion.status is None:
        return None
    if conclusion.cancelled:
        return wire.NodeResult.CANCELLED
    return wire.NodeResult.SUCCESS if conclusion.status is RunStatus.SUCCESS else wire.NodeResult.FAILED
