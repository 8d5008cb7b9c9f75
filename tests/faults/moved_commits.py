"""Two lives of an agent, between which hands move what it has committed: a partition for each way of doing so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.delivery.offset_map import Mark, Note
from tests.broker.kafka_client import Committed
from tests.broker.real_kafka import RealKafka
from tests.broker.stage import Stage
from tests.broker.waiting import wait_until
from tests.faults.gated import Gated

EARLY, STUCK, ABOVE, NEW = ("early", 2), ("stuck", 1), ("above", 2), ("new", 2)
"""What a partition holds, from offset 0 on. In the first life all of it ended but for the stuck run, which was
stopped in order so that the next agent begins it anew; the new ones came after it."""

AT = 2
"""What is committed after the first life: the stuck run's offset, with a map of those above it."""

Move = Callable[[str], Committed | None]
"""From the metadata that the first life left, what somebody commits in its place; ``None``: it stays."""

MOVES: Mapping[str, Move] = {
    "untouched": lambda _: None,
    "up": lambda _: Committed(AT + 2, ""),
    "up, metadata kept": lambda text: Committed(AT + 2, text),
    "down": lambda _: Committed(0, ""),
    "down, metadata kept": lambda text: Committed(0, text),
    "past the end": lambda _: Committed(1_000_000, ""),
    "no metadata": lambda _: Committed(AT, ""),
    "foreign metadata": lambda _: Committed(AT, "host-17, pid 4711"),
    "damaged": lambda text: Committed(AT, f"{text[:-3]}x{text[-2:]}"),
    "cut off": lambda text: Committed(AT, text[: len(text) // 2]),
    "not base64": lambda text: Committed(AT, f"{text[:8]}!%{text[10:]}"),
    "older version": lambda text: Committed(AT, f"AM1{text[3:]}"),
    "cut within the map": lambda _: None,
    "cut to the end": lambda _: None,
}
"""By what is done to a partition; the last two lose their records as by retention."""

CUT = {"cut within the map": AT + 2, "cut to the end": AT + 3}
"""Below these offsets the records go: the stuck run goes with them."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one partition's runs, each list in the order of `EARLY`, `STUCK`, `ABOVE`, `NEW`.

    ``statuses``: what Port took of each; ``attempts``: those executed; ``looked_up``: how often the second agent
    asked Port about it. ``report`` tells how things stood.
    """

    statuses: list[list[str]]
    attempts: list[list[int]]
    looked_up: list[int]
    report: str


@dataclass(frozen=True, slots=True)
class Story:
    """How it all came out, and the log of the second agent."""

    fates: Mapping[str, Fate]
    log: str


def played(kafka: RealKafka, home: Path) -> Story:
    """Plays both lives to their end, at which all is committed and nothing remembered."""
    settings = {
        "AGENT_MAX_CONCURRENT_RUNS": "60",
        "AGENT_ON_SHUTDOWN": "redeliver",
        "AGENT_DRAIN_TIMEOUT_S": "1",
        "AGENT_CLOSE_CHECK_S": "0",  # it asks about runs as well
    }
    with Stage(kafka, home, "org_F4Moved") as stage:
        gated = Gated(stage, partitions=len(MOVES))
        for number in range(len(MOVES)):
            for name, _ in (EARLY, ABOVE, NEW):
                gated.open(f"{name}{number}-")
        run_ids = {move: _placed(gated, number, EARLY, STUCK, ABOVE) for number, move in enumerate(MOVES)}
        first = stage.start_agent("first", settings)
        wait_until(lambda: stage.port.unfinished() == len(MOVES), timeout_s=60, what=stage.report)
        wait_until(lambda: gated.worklog.begun() == 5 * len(MOVES), timeout_s=60, what=stage.report)
        assert first.stop(timeout_s=60) == 0, first.tail()
        left = [(known.base, known.marks, dict(known.notes)) for known in stage.offset_maps().values()]
        stopped_one = (AT, bytes([Mark.OPEN, Mark.DONE, Mark.DONE]), {AT: Note(1)})
        assert left == [stopped_one] * len(MOVES), stage.report()

        _move(stage)
        for number, move in enumerate(MOVES):
            run_ids[move] += _placed(gated, number, NEW)
        asked_before = len(stage.port.ledger()["requests"])
        for number in range(len(MOVES)):
            gated.open(f"{STUCK[0]}{number}-")
        second = stage.start_agent("second", settings)
        stage.wait_committed(timeout_s=90)
        assert second.stop(timeout_s=60) == 0, second.tail()
        assert {known.marks for known in stage.offset_maps().values()} == {b""}, stage.report()
        asked = stage.port.ledger()["requests"][asked_before:]
        return Story({move: _fate(stage, gated, ids, asked) for move, ids in run_ids.items()}, second.output())


def _placed(gated: Gated, partition: int, *parts: tuple[str, int]) -> list[str]:
    return [
        run_id for name, count in parts for run_id in gated.place(f"{name}{partition}-", count, partition=partition)
    ]


def _move(stage: Stage) -> None:
    found = stage.client.committed(stage.group, stage.topic)
    moved = {number: move(found[number].metadata) for number, move in enumerate(MOVES.values())}
    places = {number: place for number, place in moved.items() if place is not None}
    stage.client.set_committed(stage.group, stage.topic, places)
    stage.client.delete_before(stage.topic, {list(MOVES).index(name): offset for name, offset in CUT.items()})


def _fate(stage: Stage, gated: Gated, run_ids: Sequence[str], asked: Sequence[Mapping[str, Any]]) -> Fate:
    executed = gated.worklog.by_run()
    questions = [request["run_id"] for request in asked if request["method"] == "GET"]
    return Fate(
        [gated.statuses(run_id)[0] for run_id in run_ids],
        [[one.attempt for one in executed.get(run_id, [])] for run_id in run_ids],
        [questions.count(run_id) for run_id in run_ids],
        stage.report(),
    )
