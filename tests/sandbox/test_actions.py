"""The examples are sent as their shapes say, and judged by what Port was told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from agent.sandbox.actions import ACTIONS, Expected, Invoker, SandboxAction, Shape
from agent.sandbox.broker import EmbeddedBroker
from agent.sandbox.ledger import Ledger, Refusal
from agent.sandbox.records import RequestRecord
from agent.sandbox.verdict import table, verdict

SECRET = "a client secret of more than thirty-two characters"
ACTION = next(action for action in ACTIONS if action.identifier == "rotate_credentials")
EXPECTED = Expected(summary="done", links=1, entities=("e",), log_lines=2)


def _invoked(action: SandboxAction) -> tuple[Ledger, str, dict[str, Any]]:
    """The ledger, the run's id and the message of one invocation."""

    async def run() -> tuple[Ledger, str, dict[str, Any]]:
        with EmbeddedBroker() as broker:
            ledger = Ledger()
            invoker = Invoker(ledger, broker, topic="t", client_secret=SECRET, target_url="http://target")
            run_id = invoker.invoke(action)
            partition = next(number for number, end in broker.end_offsets("t").items() if end)
            consumer = Consumer({"bootstrap.servers": broker.bootstrap_servers, "group.id": "g"})
            consumer.assign([TopicPartition("t", partition, 0)])
            try:
                message = consumer.poll(20)
            finally:
                consumer.close()
            assert message is not None
            return ledger, run_id, json.loads(message.value() or b"")

    return asyncio.run(run())


@pytest.mark.parametrize("action", ACTIONS, ids=[action.identifier for action in ACTIONS])
def test_every_example_begins_a_run_and_names_it_in_its_message(action: SandboxAction) -> None:
    ledger, run_id, message = _invoked(action)
    assert ledger.runs[run_id].is_node_run == (action.shape is Shape.NODE_RUN)
    signed = action.shape in (Shape.WEBHOOK, Shape.NODE_RUN)
    assert ("X-Port-Signature" in message.get("headers", {})) == signed
    places = {Shape.TUTORIAL: ("payload", "context"), Shape.TEMPLATE: ("port_context",)}
    for key in places.get(action.shape, ("context",)):
        message = message[key]
    assert message["runId"] == run_id


def test_secret_inputs_stand_neither_in_the_message_nor_on_the_page() -> None:
    ledger, run_id, message = _invoked(ACTION)
    assert "correct horse" not in json.dumps([message, dict(ledger.runs[run_id].inputs)])


def _spoil_status(ledger: Ledger, run_id: str) -> None:
    ledger.runs[run_id].terminal_statuses.append("FAILURE")


def _second_status(ledger: Ledger, run_id: str) -> None:
    with pytest.raises(Refusal):
        ledger.patch_run(run_id, {"status": "SUCCESS"})


def _tell_secret(ledger: Ledger, run_id: str) -> None:
    ledger.runs[run_id].logs[0].message += "correct horse"


def _ask_about(ledger: Ledger, run_id: str) -> None:
    ledger.record(RequestRecord("GET", f"/v1/actions/runs/{run_id}", {}, {}, None, 0.0, run_id))


SPOILED: dict[str, Callable[[Ledger, str], None]] = {
    "terminal statuses": _spoil_status,
    "after the end": _second_status,
    "summary": lambda ledger, run_id: setattr(ledger.runs[run_id], "summary", None),
    "links": lambda ledger, run_id: ledger.runs[run_id].links.clear(),
    "entities": lambda ledger, run_id: ledger.runs[run_id].entities.clear(),
    "log": lambda ledger, run_id: ledger.runs[run_id].logs.clear(),
    "secret": _tell_secret,
    "asked about": _ask_about,
}


def _ended(action: SandboxAction) -> tuple[Ledger, str]:
    ledger = Ledger()
    run_id = ledger.create_run(action.identifier)
    for number in range(2):
        ledger.add_log(run_id, {"message": f"line {number}"})
    ledger.write_entity("upsert", "b", "e", {}, run_id)
    ledger.patch_run(run_id, {"status": "SUCCESS", "link": "https://a.example", "summary": "all is\ndone"})
    return ledger, run_id


def test_a_run_that_ended_as_its_example_says_has_no_complaints() -> None:
    async def scenario() -> None:
        ledger, run_id = _ended(ACTION)
        judged = verdict(replace(ACTION, expected=EXPECTED), run_id, ledger)
        assert judged.complaints == ()
        assert table([judged]).splitlines()[-1].startswith("✓")
        assert "all is done" in table([judged])

    asyncio.run(scenario())


@pytest.mark.parametrize(("complaint", "spoil"), SPOILED.items(), ids=SPOILED.keys())
def test_everything_that_is_not_as_the_example_says_is_complained_of(
    complaint: str, spoil: Callable[[Ledger, str], None]
) -> None:
    async def scenario() -> None:
        ledger, run_id = _ended(ACTION)
        spoil(ledger, run_id)
        judged = verdict(replace(ACTION, expected=EXPECTED), run_id, ledger)
        assert len(judged.complaints) == 1
        assert complaint in judged.complaints[0]
        assert table([judged]).splitlines()[2].startswith("✗")

    asyncio.run(scenario())
