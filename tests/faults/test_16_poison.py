"""Fault 16: whatever lies on the topic is accounted for and passed, and the runs in between are done, each once.

What names a run of ours and cannot be executed ends it as FAILURE; a signature that is refused touches no run.
"""

from __future__ import annotations

import base64
import json
import os
import random
import stat
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from agent.sandbox import messages
from agent.sandbox.messages import Click
from tests.whole.commands import Commands
from tests.whole.one_agent import OneAgent
from tests.whole.world import CLIENT_SECRET, World, opened

ROUTES = """
routes:
  - name: good
    match: {action: good}
    env: [TARGET]
    http: {url: "{{ env.TARGET }}/good/{{ .run.id }}", body: "{{ .inputs }}", retry: 0}
"""
MAX_AGE_S = 600
MAX_BYTES = 2_000_000
LARGE = "A" * 2_200_000
"""More than the agent here reads; the embedded broker keeps no more than 5 MB of a partition."""
DEEP = "[" * 400 + "]" * 400
GOOD_RUNS = 40
SETTINGS = {"AGENT_SIGNATURE_MAX_AGE_S": str(MAX_AGE_S), "AGENT_MAX_MESSAGE_BYTES": str(MAX_BYTES)}


@dataclass(frozen=True)
class Poison:
    """One record. ``account`` is the metric that counts it, and that metric's reason."""

    name: str
    value: bytes | None
    account: tuple[str, str]


REJECTED, IGNORED, RECEIVED = (
    "agent_runs_rejected_total",
    "agent_messages_ignored_total",
    "agent_runs_received_total",
)
UNDECODABLE, FORGED, OLD = (REJECTED, "undecodable"), (REJECTED, "signature"), (REJECTED, "too_old")
SOMEBODY_ELSES = (IGNORED, "not_for_agents")
OURS = (RECEIVED, "")


def webhook(run_id: str, inputs: dict[str, Any] | None = None) -> dict[str, Any]:
    return messages.webhook(Click(run_id, "good", inputs or {"n": 1}, "service"), "http://127.0.0.1:9/")


def kafka(run_id: str, raw_input: str, action: str = "good") -> bytes:
    """A KAFKA message with ``raw_input`` as it stands for the value of an input."""
    text = messages.wire_text(messages.kafka_v1(Click(run_id, action, {"it": "HERE"}, "service")))
    return text.replace('"HERE"', raw_input).encode()


def signed(document: dict[str, Any], *, age_s: float = 0, secret: str = CLIENT_SECRET) -> bytes:
    return messages.signed_message(document, secret, timestamp=int(time.time() - age_s)).encode()


class Deck:
    """All the poison, in an order that the seed decides; the runs that it names stand in the ledger."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self.untouched: dict[str, str] = {}
        """Runs that nobody may touch."""
        self.failing: dict[str, tuple[str, str]] = {}
        """Runs that must fail, by their id: what it is, and words of the reason."""
        self.ending: dict[str, str] = {}
        """Runs that must end once, one way or the other."""
        self.records = [*self._undecodable(), *self._refused(), *self._strange(), *self._ours()]
        chance.shuffle(self.records)

    def _spared(self, name: str) -> str:
        run_id = self._world.begin_run("good")
        self.untouched[run_id] = name
        return run_id

    def _failing(self, name: str, reason: str) -> str:
        run_id = self._world.begin_run("good")
        self.failing[run_id] = name, reason
        return run_id

    def _ending(self, name: str) -> str:
        run_id = self._world.begin_run("good")
        self.ending[run_id] = name
        return run_id

    def _undecodable(self) -> Iterator[Poison]:
        chance = self._chance
        whole = signed(webhook(self._spared("truncated")))
        for name, value in {
            "tombstone": None,
            "empty": b"",
            "blanks": b" \n\t ",
            "NUL": b"\0" * 100,
            "binary": chance.randbytes(1000),
            "2 MB of binary": b"\xff" + chance.randbytes(len(LARGE)),
            "2 MB of text": b'"' + LARGE.encode() + b'"',
            "2 MB of brackets": b"[" * len(LARGE),
            "2 MB of quotes": b'\\"' * (len(LARGE) // 2),
            "2 MB without a run": b'{"a":"' + LARGE.encode() + b'"}',
            "many values": b'{"context":{"runId":"r_1"},"a":[' + b"[]," * 700_000 + b"1]}",
            "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
            "UTF-16": '{"a":1}'.encode("utf-16"),
            "byte order mark": b"\xef\xbb\xbf{}",
            "raw surrogate": b'{"a":"\xed\xa0\x80"}',
            "scalar": chance.choice([b"null", b"true", b"42", b'"text"']),
            "not JSON": b"{'context': {'runId': 'r_1'}}",
            "two documents": b"{}{}",
            "truncated": whole[: chance.randrange(10, len(whole) - 1)],
            "huge number": b'{"a":1e999}',
        }.items():
            yield Poison(name, value, UNDECODABLE)

    def _refused(self) -> Iterator[Poison]:
        unsigned = messages.wire_text(webhook(self._spared("unsigned"))).encode()
        genuine = signed(webhook(self._ending("genuine, whose signature is replayed"), {"n": 1}))
        other = json.loads(signed(webhook(self._spared("replayed signature"), {"n": 2})))
        other["headers"] = json.loads(genuine)["headers"]
        yield Poison("genuine", genuine, OURS)
        yield Poison("unsigned", unsigned, FORGED)
        yield Poison("replayed signature", messages.wire_text(other).encode(), FORGED)
        yield Poison("another secret", signed(webhook(self._spared("forged")), secret="another"), FORGED)
        large = signed(webhook(self._spared("large, forged"), {"file": LARGE}), secret="another")
        yield Poison("large, forged", large, FORGED)
        deep = messages.wire_text(webhook(self._spared("deep, unsigned"), {"it": "HERE"}))
        yield Poison("deep, unsigned", deep.replace('"HERE"', DEEP).encode(), FORGED)
        changed = signed(webhook(self._spared("changed after it was signed"), {"name": "alice"}))
        yield Poison("changed", changed.replace(b"alice", b"mallory"), FORGED)
        malformed = webhook(self._spared("malformed headers"))
        malformed["headers"] = {"X-Port-Signature": {"a": []}, "X-Port-Timestamp": [1]}
        yield Poison("malformed headers", messages.wire_text(malformed).encode(), FORGED)
        yield Poison("old", signed(webhook(self._spared("old")), age_s=MAX_AGE_S + 60), OLD)
        yield Poison("from the future", signed(webhook(self._spared("from the future")), age_s=-3600), OLD)

    def _strange(self) -> Iterator[Poison]:
        """JSON of somebody else, or of nobody, with every known key holding what it should not."""
        keys = ["action", "context", "payload", "headers", "trigger", "inputs", "port_context", "event", "run"]
        for number in range(20):
            wrong: list[object] = [
                None,
                True,
                10**300,
                -0.0,
                "\ud800",
                "\0",
                [],
                {},
                [[]],
                {"": {}},
                {"runId": [1]},
            ]
            document = {key: self._chance.choice(wrong) for key in self._chance.sample(keys, 5)}
            yield Poison(f"wrong types {number}", json.dumps(document).encode(), SOMEBODY_ELSES)
        yield Poison("list", b'[1, {"a": null}]', SOMEBODY_ELSES)
        elsewhere = kafka(self._spared("somebody else's"), "1", action="no_route_of_ours")
        yield Poison("somebody else's", elsewhere, SOMEBODY_ELSES)
        yield Poison("somebody else's, large", kafka(self._spared("e, large"), f'"{LARGE}"', "other"), UNDECODABLE)

    def _ours(self) -> Iterator[Poison]:
        too_large = "more than AGENT_MAX_MESSAGE_BYTES=2000000"
        large = signed(webhook(self._failing("signed, large", too_large), {"file": LARGE}))
        yield Poison("signed, large", large, OURS)
        deep: Any = 1
        for _ in range(400):
            deep = [deep]
        deep_run = self._failing("signed, deep", "nested deeper than 128 levels")
        yield Poison("signed, deep", signed(webhook(deep_run, {"it": deep})), OURS)
        for name, raw_input, reason in (
            ("large", f'"{LARGE}"', too_large),
            ("deep", DEEP, "nested deeper"),
            ("infinite", "1e999", "a number that is too large"),
            ("NaN", "NaN", "holds NaN"),
            ("many digits", "9" * 5000, "too many digits"),
        ):
            yield Poison(name, kafka(self._failing(f"KAFKA, {name}", reason), raw_input), OURS)
        for name, raw_input in {
            "lone surrogates": r'"\ud83d x \ude00"',
            "NUL": r'"a\u0000b"',
            "duplicate keys": '{"a":1,"a":{"a":2},"a":3}',
            "nested 100 deep": "[" * 100 + "]" * 100,
            "large integer": "9" * 300,
            "text of 1 MB": '"' + "ä" * 500_000 + '"',
        }.items():
            yield Poison(name, kafka(self._ending(f"KAFKA, {name}"), raw_input), OURS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with opened(tmp_path_factory.mktemp("poison")) as world:
        yield world
        world.check_nothing_ended_twice()


@pytest.fixture(scope="module")
def agent(world: World) -> Iterator[OneAgent]:
    agent = OneAgent(world, "poison", SETTINGS, ROUTES)
    agent.start()
    try:
        agent.wait_ready()
        yield agent
    finally:
        agent.kill()


@dataclass(frozen=True)
class Served:
    """What was put on the topic."""

    deck: Deck
    good: list[str]


def put(agent: OneAgent, records: list[bytes | None]) -> None:
    """Puts the records on the topic; fails if the agent is ever not ready or not alive meanwhile.

    The embedded broker keeps 5 MB of a partition: large records are put when all before them is read.
    """
    producer = Producer(
        {"bootstrap.servers": agent.world.broker.bootstrap_servers, "message.max.bytes": 30_000_000, "log_level": 0}
    )
    answers: list[object] = []
    large_before = False
    for count, value in enumerate(records):
        large = len(value or b"") > 100_000
        if large or large_before:
            agent.wait_metric("agent_kafka_messages_consumed_total", count, topic=agent.topic)
            assert agent.get("/readyz")[0] == agent.get("/livez")[0] == 200
        large_before = large
        producer.produce(agent.topic, value, on_delivery=lambda error, _record: answers.append(error))
        assert producer.flush(30) == 0
    assert answers == [None] * len(records)


@pytest.fixture(scope="module")
def served(world: World, agent: OneAgent) -> Served:
    """All poison, with good runs in between; returns once the agent has passed it all, and was ready throughout."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FAULT_SEED={seed}")  # noqa: T201 - pytest shows it for failed tests only
    chance = random.Random(seed)  # noqa: S311 - it makes test data
    deck = Deck(world, chance)
    good = [world.begin_run("good") for _ in range(GOOD_RUNS)]
    records = [poison.value for poison in deck.records]
    for run_id in good:
        records.insert(chance.randrange(len(records) + 1), kafka(run_id, '"fine"'))
    put(agent, records)
    accounted = Counter(poison.account for poison in deck.records)
    for (metric, reason), count in accounted.items():
        if metric != RECEIVED:
            agent.wait_metric(metric, count, reason=reason)
    agent.wait_metric(RECEIVED, accounted[OURS] + len(good))
    return Served(deck, good)


def test_the_runs_in_between_are_done_each_once(world: World, served: Served) -> None:
    for run_id in served.good:
        assert world.ended(run_id).terminal_statuses == ["SUCCESS"]
        assert len(world.target.requests(f"/good/{run_id}")) == 1


def test_every_record_is_accounted_for(agent: OneAgent, served: Served) -> None:
    total = sum(agent.metric(name) for name in (REJECTED, IGNORED, RECEIVED))
    consumed = agent.metric("agent_kafka_messages_consumed_total", topic=agent.topic)
    assert total == consumed == len(served.deck.records) + len(served.good)


def test_the_agent_is_ready_and_alive_and_its_log_is_short(agent: OneAgent, served: Served) -> None:
    assert served.good
    assert agent.get("/readyz")[0] == agent.get("/livez")[0] == 200
    rejected = Counter(line["reason"] for line in agent.lines("message rejected"))
    assert set(rejected) == {"undecodable", "signature", "too_old"}
    assert max(rejected.values()) <= 30
    assert "AAAAAAAA" not in agent.output()


def test_what_is_ours_and_cannot_be_executed_fails_with_the_reason(world: World, served: Served) -> None:
    for run_id, (name, reason) in served.deck.failing.items():
        run = world.ended(run_id)
        assert run.terminal_statuses == ["FAILURE"], name
        assert reason in str(run.summary), name
        assert not world.target.requests(f"/good/{run_id}"), name


def test_what_is_strange_and_can_be_executed_ends_once(world: World, served: Served) -> None:
    for run_id, name in served.deck.ending.items():
        assert len(world.ended(run_id).terminal_statuses) == 1, name
        assert len(world.target.requests(f"/good/{run_id}")) <= 1, name


def test_no_run_of_a_refused_message_is_touched(world: World, served: Served) -> None:
    touched = {name: world.requests_of(run_id) for run_id, name in served.deck.untouched.items()}
    assert not any(touched.values()), touched


def test_what_could_not_be_acted_on_is_kept_and_can_be_explained(
    world: World, agent: OneAgent, served: Served, tmp_path: Path
) -> None:
    kept = Counter(p.account[1] for p in served.deck.records if p.account[0] == REJECTED)
    kept["unexecutable"] = len(served.deck.failing)
    for reason, count in kept.items():
        agent.wait_metric("agent_quarantined_messages_total", count, reason=reason)
    file = Path(agent.settings["AGENT_STATE_DIR"]) / "quarantine.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {line["file"] for line in agent.lines("message kept in quarantine")} == {str(file)}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert Counter(line["reason"] for line in lines) == kept
    old = next(line for line in lines if line["reason"] == "too_old")
    message = tmp_path / "message.json"
    message.write_bytes(base64.b64decode(old["body"]))
    explained = Commands(world, tmp_path)(
        "explain", str(message), AGENT_ROUTES_PATH=str(agent.routes_file), **SETTINGS
    )
    assert "REFUSED (too_old)" in explained.stdout
    assert "good: MATCHES" in explained.stdout
