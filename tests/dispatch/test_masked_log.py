"""What a run masks is masked in the agent's own log from its work to its end, and in no other run's lines."""

from __future__ import annotations

import asyncio
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from agent.dispatch.dispatcher import DispatchSettings
from agent.domain.events import Event, RunStarted
from agent.domain.outcome import Outcome, Succeeded
from agent.domain.redaction import MASK
from agent.domain.route import Match, Route
from agent.domain.settlement import Reported
from agent.observability.logs import configure
from agent.ports import RunContext
from tests.dispatch.fakes import Events, House, Report, Work
from tests.observability.helpers import logging_as_before

SECRET = "hunter2hunter2"
log = structlog.get_logger()


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with logging_as_before():
        stream = io.StringIO()
        configure("json", "INFO", stream=stream)
        yield stream


@pytest.fixture
def each_run_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run says the secret as it starts, before it can mask anything, and as Port is told of its end.

    The first one's end waits for the second's: the third cannot start before that.
    """
    second_ends = asyncio.Event()
    notify, finish = Events.notify, Report.finish

    def noted(events: Events, event: Event) -> None:
        notify(events, event)
        if isinstance(event, RunStarted):
            log.info("starts", said=SECRET)

    async def finished(report: Report, outcome: Outcome) -> Reported:
        log.info("ends", said=SECRET)
        if report.run_id == "r_deploy-1":
            await asyncio.wait_for(second_ends.wait(), 20)
        else:
            second_ends.set()
        return await finish(report, outcome)

    monkeypatch.setattr(Events, "notify", noted)
    monkeypatch.setattr(Report, "finish", finished)


@pytest.mark.usefixtures("each_run_speaks")
def test_each_run_masks_its_own_lines_alone(tmp_path: Path, stream: io.StringIO) -> None:
    async def scene() -> None:
        async def work(run: RunContext) -> Outcome:
            await house.until(house.source.queue.empty)  # the others wait
            run.mask(SECRET)
            log.info("works", said=SECRET)
            return Succeeded()

        # One at a time, and no third while Port is told of two: so each starts as one before it goes on.
        settings = DispatchSettings(max_concurrent_runs=1, max_pending_reports=1)
        route = Route(name="all", match=Match(), executor="work")
        house = House([(route, Work(work))], tmp_path, settings)
        for number in (1, 2, 3):
            house.source.put(f"deploy-{number}")
        await house.settle(3)

    asyncio.run(scene())
    told: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in map(json.loads, stream.getvalue().splitlines()):
        if "said" in line:
            told[line["run_id"]].append((line["event"], line["said"]))
    lines = [("starts", SECRET), ("works", MASK), ("ends", MASK)]
    assert told == {f"r_deploy-{number}": lines for number in (1, 2, 3)}
