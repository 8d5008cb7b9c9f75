"""A claimed run as the message that the topic would carry, so that routes and mappings see one and the same."""

from __future__ import annotations

from agent.domain.invocation import InvocationKind
from agent.domain.json import Json, JsonObject, as_flag, as_object, compact
from agent.polling.api import ClaimedRun


def message_of(run: ClaimedRun) -> bytes:
    """The message: the rendered body, with headers, invocation method and run id forced in.

    A body that is no object cannot hold them, and is a message's member ``body``.
    """
    if run.kind is InvocationKind.NODE_RUN:
        return compact(_of_node(run)).encode()
    return compact(_of_action(run)).encode()


def _of_action(run: ClaimedRun) -> JsonObject:
    method = as_object(run.document.get("payload"))
    body = method.get("body")
    message = dict(as_object(body)) if isinstance(body, dict) or body is None else {"body": body}
    payload = as_object(message.get("payload"))
    action = {**as_object(payload.get("action")), "invocationMethod": _invocation_method(method)}
    return {
        **message,
        "headers": _headers(method),
        "payload": {**payload, "action": action},
        "context": {**as_object(message.get("context")), "runId": run.run_id},
    }


def _of_node(run: ClaimedRun) -> JsonObject:
    config = as_object(run.document.get("config"))
    return {
        "headers": _headers(config),
        "payload": {"action": {"invocationMethod": _invocation_method(config)}},
        "context": {"runId": run.run_id, "nodeConfig": config},
    }


def _invocation_method(method: JsonObject) -> JsonObject:
    """As the topic has it: with the flag that says for whom it is."""
    return {
        "type": _or(method.get("type"), "WEBHOOK"),
        "url": method.get("url"),
        "agent": as_flag(method.get("agent")),
        "synchronized": _or(method.get("synchronized"), other=False),
        "method": _or(method.get("method"), "POST"),
        "headers": _headers(method),
    }


def _headers(method: JsonObject) -> JsonObject:
    return as_object(method.get("headers"))


def _or(value: Json, other: Json) -> Json:
    return other if value is None else value
