"""The shapes that Port's messages have, read into one `Invocation`: one function per envelope.

What a shape leaves out, or has as another type than documented, counts as absent: nothing here raises. Where
shapes differ in where they keep a thing, the places are asked in the order in which they stand in the code, the
documented one first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from agent.domain.errors import TemplateError
from agent.domain.invocation import (
    NODE_RUN_PREFIX,
    Invocation,
    InvocationKind,
    InvocationMethod,
    RunId,
    Trigger,
)
from agent.domain.json import Json, JsonObject, as_flag, as_object

RunIdFinder: TypeAlias = Callable[[Json], Json]
"""Looks for the run's id where only the operator knows it; may raise `TemplateError`, which means: not there."""

_RUN_ID = re.compile(r"(?!wfr_)[A-Za-z0-9_-]{1,128}")
"""What can be a run's id in a URL. ``wfr_`` names a whole workflow run, which no agent may end."""

_NODE_RUN_ID_PLACE = ("context", "nodeRunId")
_RUN_ID_PLACES = (
    ("context", "runId"),
    _NODE_RUN_ID_PLACE,  # of a workflow's KAFKA node
    ("port_context", "runId"),
    ("port_context", "run_id"),
    ("headers", "RUN_ID"),
    ("runId",),
    ("run_id",),
    ("port_run_id",),
    ("run", "id"),  # where the payload is Port's whole template context, as automations like to have it
    ("port_context", "runID"),
    ("runID",),
)
_INPUT_PLACES = (("payload", "properties"), ("inputs",), ("payload", "inputs"), ("properties",))


def unwrapped(document: Json) -> Json | None:
    """The message inside the tutorial's outer ``payload``, or ``None`` if ``document`` is not wrapped so."""
    root = as_object(document)
    if "context" in root:
        return None
    payload = root.get("payload")
    has_run = read_run_id(as_object(as_object(payload).get("context")).get("runId")) is not None
    return payload if has_run else None


def invocation_method(document: Json) -> InvocationMethod:
    """How the action of a message from the runs channel is invoked.

    KAFKA where the message does not say: that is a message whose whole content the action's owner made up,
    while every other type has its method forced in.
    """
    method = as_object(as_object(as_object(document).get("payload")).get("action")).get("invocationMethod")
    return _method(as_object(method)) if method is not None else InvocationMethod("KAFKA")


def requested_run(document: Json, method: InvocationMethod, find_run_id: RunIdFinder | None = None) -> Invocation:
    """A message from the runs channel: an action run or a workflow's node, of any version and method.

    ``document`` is the message proper, `unwrapped`, and ``method`` its `invocation_method`. Payloads that the
    action's owner made up, arrays among them, yield what they share with the documented shapes.
    """
    parts = _Parts.of(document)
    context, action = parts.context, parts.payload_action
    run_id, kind = _run(document, find_run_id)
    return Invocation(
        kind=kind,
        run_id=run_id,
        action=_first_text(action.get("identifier"), parts.root.get("action"), parts.action.get("identifier")),
        blueprint=_first_text(
            context.get("blueprint"),
            parts.port_context.get("blueprint"),
            action.get("blueprint"),
            parts.action.get("blueprint"),
            parts.event_context.get("blueprintIdentifier"),
            parts.entity.get("blueprint"),
        ),
        trigger=_trigger(parts.root, action.get("trigger")),
        entity=parts.entity or None,
        entity_id=_first_text(
            context.get("entity"),
            parts.port_context.get("entity"),
            parts.entity.get("identifier"),
            parts.event_context.get("entityIdentifier"),
        ),
        inputs=_inputs(document),
        method=method,
        document=document,
        encrypted=_names(parts.payload.get("censoredProperties"))
        or _names(parts.action.get("encryptedProperties"))
        or _names(action.get("encryptedProperties")),
    )


def change_event(document: Json) -> Invocation:
    """A message from the change log. A run that it tells of is never ours, so it has no run id."""
    root = as_object(document)
    context, diff = as_object(root.get("context")), as_object(root.get("diff"))
    entity = as_object(diff.get("after")) or as_object(diff.get("before"))
    return Invocation(
        kind=InvocationKind.CHANGE_EVENT,
        run_id=None,
        action=_first_text(root.get("action")),
        blueprint=_first_text(context.get("blueprint"), entity.get("blueprint")),
        trigger=_trigger(root, None),
        entity=(entity or None) if root.get("resourceType") == "entity" else None,
        entity_id=_first_text(context.get("entity")),
        inputs={},
        method=_method(as_object(root.get("changelogDestination"))),
        document=document,
    )


def reread(invocation: Invocation, document: Json) -> Invocation:
    """``invocation`` with everything read again from ``document``, in which secrets were opened.

    What was decided on the closed message, its kind and run, stays, and so does what its expressions have cost.
    """
    if invocation.kind is InvocationKind.CHANGE_EVENT:
        return replace(change_event(document), effort=invocation.effort)
    opened = requested_run(document, invocation_method(document))
    return replace(opened, kind=invocation.kind, run_id=invocation.run_id, effort=invocation.effort)


def inputs_place(document: Json) -> tuple[str, ...]:
    """The path of the object that holds the user's inputs; empty if there is none."""
    root = as_object(document)
    for place in _INPUT_PLACES:
        if isinstance(_at(root, place), dict):
            return place
    return ()


def declared_type(document: Json, name: str) -> str | None:
    """The type that the message's own copy of the action declares for an input; newer messages have no copy."""
    path = ("payload", "action", "userInputs", "properties", name, "type")
    return _first_text(_at(as_object(document), path))


@dataclass(slots=True)  # a frozen one takes twice as long to make
class _Parts:
    """The objects inside a message that more than one field is read from; empty where absent."""

    root: JsonObject
    context: JsonObject
    port_context: JsonObject
    payload: JsonObject
    payload_action: JsonObject
    action: JsonObject
    entity: JsonObject
    event_context: JsonObject

    @classmethod
    def of(cls, document: Json) -> _Parts:
        root = as_object(document)
        payload = as_object(root.get("payload"))
        return cls(
            root=root,
            context=as_object(root.get("context")),
            port_context=as_object(root.get("port_context")),
            payload=payload,
            payload_action=as_object(payload.get("action")),
            action=as_object(root.get("action")),
            entity=as_object(payload.get("entity")) or as_object(root.get("entity")),
            event_context=as_object(as_object(root.get("event")).get("context")),
        )


def _run(document: Json, find: RunIdFinder | None) -> tuple[RunId | None, InvocationKind]:
    root = as_object(document)
    for place in _RUN_ID_PLACES:
        run_id = read_run_id(_at(root, place))
        if run_id is not None:
            is_node = place == _NODE_RUN_ID_PLACE or run_id.startswith(NODE_RUN_PREFIX)
            return run_id, InvocationKind.NODE_RUN if is_node else InvocationKind.ACTION_RUN
    run_id = _found_run_id(document, find) if find is not None else None
    is_node = run_id is not None and run_id.startswith(NODE_RUN_PREFIX)
    return run_id, InvocationKind.NODE_RUN if is_node else InvocationKind.ACTION_RUN


def _found_run_id(document: Json, find: RunIdFinder) -> RunId | None:
    try:
        return read_run_id(find(document))
    except TemplateError:
        return None


def read_run_id(value: Json) -> RunId | None:
    """``value`` if it can be a run's id, as it stands in messages; a whole workflow's is none."""
    return RunId(value) if isinstance(value, str) and _RUN_ID.fullmatch(value) else None


def _method(raw: JsonObject) -> InvocationMethod:
    return InvocationMethod(
        type=(_first_text(raw.get("type")) or "").upper(),
        agent=as_flag(raw.get("agent")),
        synchronized=as_flag(raw.get("synchronized")),
        url=_first_text(raw.get("url")),
        http_method=_first_text(raw.get("method")),
        raw=raw,
    )


def _trigger(root: JsonObject, operation: Json) -> Trigger:
    trigger = as_object(root.get("trigger"))
    by = as_object(trigger.get("by"))
    user = as_object(by.get("user"))
    return Trigger(
        user_id=_first_text(by.get("userId"), user.get("id")),
        user_email=_first_text(user.get("email")),
        origin=_first_text(trigger.get("origin")),
        at=_first_text(trigger.get("at")),
        operation=_first_text(trigger.get("operation"), operation),
    )


def _inputs(document: Json) -> JsonObject:
    place = inputs_place(document)
    return as_object(_at(as_object(document), place)) if place else {}


def _names(value: Json) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def _first_text(*values: Json) -> str | None:
    for value in values:
        if isinstance(value, str) and value:
            return value
    return None


def _at(root: JsonObject, path: tuple[str, ...]) -> Json:
    value: Json = root
    for name in path:
        value = as_object(value).get(name)
    return value
